//! On a GPU: CUDA kernels, and what each of them is given.
//!
//! [`SOURCE`] is compiled when it is first needed. Who runs it is a [`Launch`]: the GPU's driver, or in tests a program that does on the
//! processor what a GPU would.

mod codec;

pub use codec::{Bases, Encoded, Sent, Target};

use crate::KernelError;
use std::{ffi::c_void, fmt::Debug, sync::Arc};

/// The kernels, in CUDA C.
pub const SOURCE: &str = concat!(include_str!("device/llama.cu"), include_str!("device/codec.cu"));
/// Their names.
pub const KERNELS: [&str; 25] = [
    "accumulate",
    "adamw",
    "aggregate_chunks",
    "column_sums",
    "cross_entropy_bf16",
    "cross_entropy_f32",
    "embed",
    "encode_chunks",
    "rms_norm_again_bf16",
    "rms_norm_again_f32",
    "rms_norm_backward_bf16",
    "rms_norm_backward_f32",
    "rms_norm_bf16",
    "rms_norm_f32",
    "rotate_bf16",
    "rotate_f32",
    "sign_step",
    "sketch",
    "squares",
    "swiglu_backward_bf16",
    "swiglu_backward_f32",
    "swiglu_bf16",
    "swiglu_f32",
    "take_off",
    "to_bf16",
];
/// Threads of a block, of all kernels.
pub const THREADS: u32 = 256;
/// Neighbours that a thread takes at once: every width and every count is a multiple of it.
pub const TOGETHER: usize = 8;
/// Blocks of kernels that go over all elements or rows: several for each processor of a large GPU. It is part of the order of sums.
pub const BLOCKS: usize = 1056;

/// Runs kernels, one after the other.
pub trait Launch: Debug + Send + Sync {
    /// Runs one in `grid` blocks of [`THREADS`].
    ///
    /// # Safety
    /// The arguments are pointers to the kernel's, in number and kind; the spans that they name are there, of the length that the
    /// kernel works on, and stay until it has ended.
    ///
    /// # Errors
    /// What the driver says.
    #[allow(unsafe_code, reason = "arguments are C's")]
    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), KernelError>;
}

/// What products read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32 bits.
    F32,
    /// The upper 16 of them.
    Bf16,
}

/// Elements of a tensor in the memory of the device.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    address: u64,
    length: usize,
}

impl Span {
    /// Elements from an address on.
    ///
    /// # Safety
    /// So many elements of the kind that a kernel takes them for are there, in memory that is aligned to 16 bytes, nobody else
    /// writes to them meanwhile, and they stay until every kernel that is given them has ended.
    #[allow(unsafe_code, reason = "the caller vouches for the memory")]
    pub unsafe fn new(address: u64, length: usize) -> Self {
        Self { address, length }
    }

    /// Elements.
    pub fn length(self) -> usize {
        self.length
    }
}

/// One argument of a kernel.
#[derive(Clone, Copy)]
enum Argument {
    Span(u64),
    Number(i32),
    Count(i64),
    Float(f32),
    Double(f64),
    Bits(u64),
}

/// The kernels for activations of one kind.
#[derive(Debug, Clone)]
pub struct Device {
    launch: Arc<dyn Launch>,
    kind: Kind,
}

/// What AdamW does in a step; see `docs/protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// What gradients are multiplied by.
    pub scale: f32,
    /// The learning rate.
    pub rate: f32,
    /// Weight decay.
    pub decay: f32,
    /// Of the mean of gradients.
    pub beta1: f32,
    /// Of the mean of their squares.
    pub beta2: f32,
    /// What is added to the root.
    pub epsilon: f32,
    /// The step's number, from 1 on.
    pub step: i32,
}

impl Device {
    /// Kernels that somebody runs.
    pub fn new(launch: Arc<dyn Launch>, kind: Kind) -> Self {
        Self { launch, kind }
    }

    /// What products read and write.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// See [`Host::rms_norm`](crate::Host::rms_norm).
    ///
    /// # Errors
    /// Spans that do not fit, and what the driver says; so do all of these.
    pub fn rms_norm(
        &self,
        x: Span,
        added: Option<(Span, Span)>,
        weight: Span,
        epsilon: f32,
        out: Span,
        scales: Span,
    ) -> Result<(), KernelError> {
        let (rows, width) = self.rows(x, weight.length)?;
        let none = Span { address: 0, length: x.length };
        let (add, sum) = added.unwrap_or((none, none));
        fit(&[out, add, sum], x.length)?;
        fit(&[scales], rows)?;
        let arguments = [
            span(x),
            span(add),
            span(sum),
            span(weight),
            Argument::Float(epsilon),
            span(out),
            span(scales),
            number(width),
        ];
        self.run(self.named("rms_norm_f32", "rms_norm_bf16"), rows, &arguments)
    }

    /// See [`Host::rms_norm_again`](crate::Host::rms_norm_again).
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn rms_norm_again(&self, x: Span, scales: Span, weight: Span, out: Span) -> Result<(), KernelError> {
        let (rows, width) = self.rows(x, weight.length)?;
        fit(&[out], x.length)?;
        fit(&[scales], rows)?;
        let arguments = [span(x), span(scales), span(weight), span(out), number(width)];
        self.run(self.named("rms_norm_again_f32", "rms_norm_again_bf16"), rows, &arguments)
    }

    /// See [`Host::rms_norm_backward`](crate::Host::rms_norm_backward). `copy` gets the gradient as products read it, where that is
    /// another kind; `room` is for [`Self::norm_room`] numbers.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn rms_norm_backward(
        &self,
        (x, scales, weight): (Span, Span, Span),
        change: Span,
        (gradient, new): (Span, bool),
        copy: Option<Span>,
        (of_weight, room): (Span, Span),
    ) -> Result<(), KernelError> {
        let (rows, width) = self.rows(x, weight.length)?;
        let none = Span { address: 0, length: x.length };
        fit(&[change, gradient, copy.unwrap_or(none)], x.length)?;
        fit(&[scales], rows)?;
        fit(&[of_weight], width)?;
        let blocks = rows.min(BLOCKS);
        if room.length < blocks * width {
            return Err(KernelError::Shape(format!("{} numbers are too few to sum in", room.length)));
        }
        let arguments = [
            span(x),
            span(scales),
            span(weight),
            span(change),
            span(gradient),
            Argument::Number(i32::from(new)),
            span(copy.unwrap_or(none)),
            span(room),
            number(rows),
            number(width),
        ];
        self.run(self.named("rms_norm_backward_f32", "rms_norm_backward_bf16"), blocks, &arguments)?;
        let arguments = [span(room), span(of_weight), number(blocks), number(width)];
        self.run("column_sums", width.div_ceil(THREADS as usize), &arguments)
    }

    /// Numbers that [`Self::rms_norm_backward`] sums in.
    pub fn norm_room(rows: usize, width: usize) -> usize {
        rows.min(BLOCKS) * width
    }

    /// See [`Host::rotate`](crate::Host::rotate); `cos` and `sin` are `[length, half]`.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn rotate(
        &self,
        x: Span,
        width: usize,
        (cos, sin): (Span, Span),
        half: usize,
        back: bool,
    ) -> Result<(), KernelError> {
        fit(&[sin], cos.length)?;
        if half == 0
            || width == 0
            || !width.is_multiple_of(2 * half)
            || !x.length.is_multiple_of(width)
            || !cos.length.is_multiple_of(half)
        {
            return Err(KernelError::Shape(format!("rows of {width} are not heads of {}", 2 * half)));
        }
        let pairs = x.length / 2;
        let arguments = [
            span(x),
            span(cos),
            span(sin),
            Argument::Float(if back { -1.0 } else { 1.0 }),
            count(pairs),
            number(width),
            number(half),
            number(cos.length / half),
        ];
        let blocks = pairs.div_ceil(THREADS as usize).min(16 * BLOCKS);
        self.run(self.named("rotate_f32", "rotate_bf16"), blocks, &arguments)
    }

    /// See [`Host::swiglu`](crate::Host::swiglu).
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn swiglu(&self, gate: Span, up: Span, out: Span) -> Result<(), KernelError> {
        fit(&[up, out], gate.length)?;
        let arguments = [span(gate), span(up), span(out)];
        self.all(self.named("swiglu_f32", "swiglu_bf16"), gate.length, &arguments, &[])
    }

    /// See [`Host::swiglu_backward`](crate::Host::swiglu_backward).
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn swiglu_backward(&self, gate: Span, up: Span, change: Span) -> Result<(), KernelError> {
        fit(&[up, change], gate.length)?;
        let arguments = [span(gate), span(up), span(change)];
        self.all(self.named("swiglu_backward_f32", "swiglu_backward_bf16"), gate.length, &arguments, &[])
    }

    /// See [`Host::cross_entropy`](crate::Host::cross_entropy); targets are whole numbers of 64 bits.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn cross_entropy(
        &self,
        logits: Span,
        width: usize,
        targets: Span,
        weight: Option<f32>,
        losses: Span,
    ) -> Result<(), KernelError> {
        let (rows, width) = self.rows(logits, width)?;
        fit(&[targets, losses], rows)?;
        let arguments = [
            span(logits),
            span(targets),
            Argument::Number(i32::from(weight.is_some())),
            Argument::Float(weight.unwrap_or(0.0)),
            span(losses),
            number(width),
        ];
        self.run(self.named("cross_entropy_f32", "cross_entropy_bf16"), rows, &arguments)
    }

    /// Rows of a table (`[.., width]`, float32) by their numbers, whole ones of 64 bits; of one that the table does not have the row is
    /// not a number.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn embed(&self, table: Span, rows: Span, out: Span, width: usize) -> Result<(), KernelError> {
        let (known, width) = self.rows(table, width)?;
        fit(&[out], rows.length * width)?;
        let arguments = [span(table), span(rows), span(out), count(known), number(width)];
        self.run("embed", rows.length, &arguments)
    }

    /// `sum += part`, float32 and bf16.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn accumulate(&self, sum: Span, part: Span) -> Result<(), KernelError> {
        fit(&[part], sum.length)?;
        self.all("accumulate", sum.length, &[span(sum), span(part)], &[])
    }

    /// Float32 as bf16.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn to_bf16(&self, from: Span, to: Span) -> Result<(), KernelError> {
        fit(&[to], from.length)?;
        self.all("to_bf16", from.length, &[span(from), span(to)], &[])
    }

    /// The sum of squares of float32, in as many parts as `parts` is long, [`BLOCKS`] at most.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn squares(&self, x: Span, parts: Span) -> Result<(), KernelError> {
        multiple(x.length)?;
        self.run("squares", parts.length.min(BLOCKS), &[span(x), span(parts), count(x.length)])
    }

    /// A step of AdamW on one tensor, all float32; `copy` gets the weights in bf16.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn adamw(
        &self,
        weight: Span,
        (first, second): (Span, Span),
        gradient: Span,
        copy: Option<Span>,
        step: AdamW,
    ) -> Result<(), KernelError> {
        let none = Span { address: 0, length: weight.length };
        let copy = copy.unwrap_or(none);
        fit(&[first, second, gradient, copy], weight.length)?;
        let corrected = |beta: f32| Argument::Float((1.0 - f64::from(beta).powi(step.step)) as f32);
        let floats =
            [step.scale, step.rate, step.decay, step.beta1, step.beta2, step.epsilon].map(Argument::Float);
        let mut after = floats.to_vec();
        after.extend([corrected(step.beta1), corrected(step.beta2)]);
        let before = [weight, first, second, gradient, copy].map(span);
        self.all("adamw", weight.length, &before, &after)
    }

    /// `weight -= step * sign`, with the bits of the processor; `copy` gets the weights in bf16.
    ///
    /// # Errors
    /// See [`Self::rms_norm`].
    pub fn sign_step(
        &self,
        weight: Span,
        signs: Span,
        copy: Option<Span>,
        step: f32,
    ) -> Result<(), KernelError> {
        let none = Span { address: 0, length: weight.length };
        let copy = copy.unwrap_or(none);
        fit(&[signs, copy], weight.length)?;
        self.all("sign_step", weight.length, &[weight, signs, copy].map(span), &[Argument::Float(step)])
    }

    fn named(&self, float: &'static str, bf16: &'static str) -> &'static str {
        match self.kind {
            Kind::F32 => float,
            Kind::Bf16 => bf16,
        }
    }

    /// Rows of a width that threads can share.
    fn rows(&self, x: Span, width: usize) -> Result<(usize, usize), KernelError> {
        multiple(width)?;
        if width == 0 || !x.length.is_multiple_of(width) {
            return Err(KernelError::Shape(format!("{} numbers are not rows of {width}", x.length)));
        }
        Ok((x.length / width, width))
    }

    /// Runs a kernel over all elements; it takes their count between its other arguments.
    fn all(
        &self,
        kernel: &'static str,
        elements: usize,
        before: &[Argument],
        after: &[Argument],
    ) -> Result<(), KernelError> {
        multiple(elements)?;
        let arguments = [before, &[count(elements)], after].concat();
        let blocks = elements.div_ceil(TOGETHER * THREADS as usize).min(16 * BLOCKS);
        self.run(kernel, blocks, &arguments)
    }

    #[allow(unsafe_code, reason = "whoever made the spans has vouched for them, and lengths were compared")]
    fn run(&self, kernel: &'static str, blocks: usize, arguments: &[Argument]) -> Result<(), KernelError> {
        let grid =
            u32::try_from(blocks).map_err(|_| KernelError::Shape(format!("{blocks} blocks are too many")))?;
        if grid == 0 {
            return Ok(());
        }
        let mut arguments = arguments.to_vec();
        let mut pointers: Vec<*mut c_void> = arguments
            .iter_mut()
            .map(|argument| match argument {
                Argument::Span(value) => (&raw mut *value).cast(),
                Argument::Number(value) => (&raw mut *value).cast(),
                Argument::Count(value) => (&raw mut *value).cast(),
                Argument::Float(value) => (&raw mut *value).cast(),
                Argument::Double(value) => (&raw mut *value).cast(),
                Argument::Bits(value) => (&raw mut *value).cast(),
            })
            .collect();
        // SAFETY: the functions above give each kernel what its signature in `SOURCE` has (the tests run all of them), and spans
        // are what `Span::new` asks for.
        unsafe { self.launch.launch(kernel, grid, &mut pointers) }
    }
}

fn span(span: Span) -> Argument {
    Argument::Span(span.address)
}

/// Widths and rows are those of a model, far below 2^31.
fn number(value: usize) -> Argument {
    Argument::Number(i32::try_from(value).unwrap_or(i32::MAX))
}

fn count(value: usize) -> Argument {
    Argument::Count(i64::try_from(value).unwrap_or(i64::MAX))
}

fn multiple(length: usize) -> Result<(), KernelError> {
    match length % TOGETHER {
        0 => Ok(()),
        _ => Err(KernelError::Shape(format!("{length} is not a multiple of {TOGETHER}"))),
    }
}

fn fit(spans: &[Span], length: usize) -> Result<(), KernelError> {
    match spans.iter().find(|span| span.length != length) {
        None => Ok(()),
        Some(span) => Err(KernelError::Shape(format!("{} elements were given for {length}", span.length))),
    }
}

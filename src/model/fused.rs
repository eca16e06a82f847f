//! What a pass does between its products, on tensors: loops on a processor, kernels on a GPU.

use super::{
    floats,
    memory::{floats_in_place, floats_in_place_mut, span},
};
use std::sync::Arc;
use tch::{Kind, TchError, Tensor};
use templar_kernels::{Device, Host, KernelError, Launch, Turns, device::BLOCKS};

/// Who does it, with what it needs of a model and of a length.
#[derive(Debug)]
pub(super) enum Fused {
    /// This processor, in float32.
    Host { host: Host, turns: Turns },
    /// A GPU. `sums` is room for those of a norm's weight.
    Device { device: Device, cos: Tensor, sin: Tensor, sums: Tensor },
}

/// A norm's input, what its rows were multiplied by, and its weight.
pub(super) type Norm<'a> = (&'a Tensor, &'a Tensor, &'a Tensor);

impl Fused {
    /// The loops, for rotary angles `[length, head width]` of which each half is the same.
    pub(super) fn host(cos: &Tensor, sin: &Tensor) -> Self {
        let half = |t: &Tensor| floats(&half(t));
        let length = cos.size().first().map_or(0, |length| *length as usize);
        Self::Host { host: Host::default(), turns: Turns { cos: half(cos), sin: half(sin), length } }
    }

    /// The kernels, for norms of this width.
    pub(super) fn device(
        launch: Arc<dyn Launch>,
        kind: templar_kernels::Kind,
        (cos, sin): (&Tensor, &Tensor),
        width: i64,
    ) -> Result<Self, KernelError> {
        let sums = torch(Tensor::f_empty([BLOCKS as i64, width], (Kind::Float, cos.device())))?;
        let half = |t: &Tensor| half(t).contiguous();
        Ok(Self::Device { device: Device::new(launch, kind), cos: half(cos), sin: half(sin), sums })
    }

    /// What products read and write.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Device { device, .. } if device.kind() == templar_kernels::Kind::Bf16 => Kind::BFloat16,
            _ => Kind::Float,
        }
    }

    /// See [`Host::rms_norm`].
    pub(super) fn norm(
        &self,
        x: &Tensor,
        added: Option<(&Tensor, &mut Tensor)>,
        (weight, epsilon): (&Tensor, f32),
        out: &mut Tensor,
        scales: &mut Tensor,
    ) -> Result<(), KernelError> {
        match self {
            Self::Host { host, .. } => {
                let added = added.map(|(add, sum)| (read(add), write(sum)));
                host.rms_norm(read(x), added, read(weight), epsilon, write(out), write(scales));
                Ok(())
            }
            Self::Device { device, .. } => {
                let added = added.map(|(add, sum)| (span(add), span(sum)));
                device.rms_norm(span(x), added, span(weight), epsilon, span(out), span(scales))
            }
        }
    }

    /// See [`Host::rms_norm_again`].
    pub(super) fn norm_again(
        &self,
        (x, scales, weight): Norm<'_>,
        out: &mut Tensor,
    ) -> Result<(), KernelError> {
        match self {
            Self::Host { host, .. } => {
                host.rms_norm_again(read(x), read(scales), read(weight), write(out));
                Ok(())
            }
            Self::Device { device, .. } => {
                device.rms_norm_again(span(x), span(scales), span(weight), span(out))
            }
        }
    }

    /// See [`Host::rms_norm_backward`]; `copy` becomes the gradient as products read it, if they do not read float32.
    pub(super) fn norm_backward(
        &self,
        (x, scales, weight): Norm<'_>,
        change: &Tensor,
        (gradient, new): (&mut Tensor, bool),
        copy: &mut Tensor,
        of_weight: &mut Tensor,
    ) -> Result<(), KernelError> {
        match self {
            Self::Host { host, .. } => {
                let (x, scales, weight) = (read(x), read(scales), read(weight));
                let (change, gradient, of_weight) = (read(change), write(gradient), write(of_weight));
                host.rms_norm_backward(x, scales, weight, change, gradient, new, of_weight);
                Ok(())
            }
            Self::Device { device, sums, .. } => {
                let copy = (self.kind() != Kind::Float).then(|| span(copy));
                let norm = (span(x), span(scales), span(weight));
                let gradient = (span(gradient), new);
                device.rms_norm_backward(norm, span(change), gradient, copy, (span(of_weight), span(sums)))
            }
        }
    }

    /// See [`Host::rotate`].
    pub(super) fn rotate(&self, x: &mut Tensor, back: bool) -> Result<(), KernelError> {
        let width = x.size().last().map_or(0, |width| *width as usize);
        match self {
            Self::Host { host, turns } => {
                host.rotate(write(x), width, turns, back);
                Ok(())
            }
            Self::Device { device, cos, sin, .. } => {
                let half = cos.size().last().map_or(0, |half| *half as usize);
                device.rotate(span(x), width, (span(cos), span(sin)), half, back)
            }
        }
    }

    /// See [`Host::swiglu`].
    pub(super) fn swiglu(&self, gate: &Tensor, up: &Tensor, out: &mut Tensor) -> Result<(), KernelError> {
        match self {
            Self::Host { host, .. } => {
                host.swiglu(read(gate), read(up), write(out));
                Ok(())
            }
            Self::Device { device, .. } => device.swiglu(span(gate), span(up), span(out)),
        }
    }

    /// See [`Host::swiglu_backward`].
    pub(super) fn swiglu_backward(
        &self,
        gate: &mut Tensor,
        up: &mut Tensor,
        change: &mut Tensor,
    ) -> Result<(), KernelError> {
        match self {
            Self::Host { host, .. } => {
                host.swiglu_backward(write(gate), write(up), write(change));
                Ok(())
            }
            Self::Device { device, .. } => device.swiglu_backward(span(gate), span(up), span(change)),
        }
    }

    /// See [`Host::cross_entropy`]; targets are int64.
    pub(super) fn cross_entropy(
        &self,
        logits: &mut Tensor,
        targets: &Tensor,
        weight: Option<f32>,
        losses: &mut Tensor,
    ) -> Result<(), KernelError> {
        let width = logits.size().last().map_or(0, |width| *width as usize);
        match self {
            Self::Host { host, .. } => {
                let targets = Vec::<i64>::try_from(targets).unwrap_or_default();
                host.cross_entropy(write(logits), width, &targets, weight, write(losses));
                Ok(())
            }
            Self::Device { device, .. } => {
                device.cross_entropy(span(logits), width, span(targets), weight, span(losses))
            }
        }
    }

    /// Rows of the embedding.
    pub(super) fn embed(&self, table: &Tensor, tokens: &Tensor, out: &mut Tensor) -> Result<(), KernelError> {
        let width = table.size().last().map_or(0, |width| *width as usize);
        match self {
            Self::Host { .. } => torch(table.f_index_select_out(out, 0, tokens)).map(drop),
            Self::Device { device, .. } => device.embed(span(table), span(tokens), span(out), width),
        }
    }

    /// Adds the rows of `gradient` to those of `sum` that the tokens name, in an order of its own that is the same each time.
    pub(super) fn embed_backward(
        &self,
        sum: &mut Tensor,
        tokens: &Tensor,
        gradient: &Tensor,
    ) -> Result<(), KernelError> {
        match self {
            Self::Host { .. } => torch(sum.f_index_add_(0, tokens, gradient)).map(drop),
            // Adding row by row would be in whatever order the GPU's threads come.
            Self::Device { .. } => {
                let rows = sum.size().first().copied().unwrap_or(0);
                let part = torch(Tensor::f_embedding_dense_backward(gradient, tokens, rows, -1, false))?;
                torch(sum.f_add_(&part)).map(drop)
            }
        }
    }

    /// `sum += a b`, where the sum is float32 and the product what products are.
    pub(super) fn add_product(&self, sum: &mut Tensor, a: &Tensor, b: &Tensor) -> Result<(), KernelError> {
        match self {
            Self::Device { device, .. } if self.kind() != Kind::Float => {
                let part = torch(a.f_mm(b))?;
                device.accumulate(span(sum), span(&part))
            }
            _ => torch(sum.f_addmm_(a, b)).map(drop),
        }
    }

    /// Matrices as products read them, into tensors that are there for it.
    pub(super) fn round(&self, from: &Tensor, to: &Tensor) -> Result<(), KernelError> {
        match self {
            Self::Device { device, .. } => device.to_bf16(span(from), span(to)),
            Self::Host { .. } => Ok(()),
        }
    }
}

/// What libtorch says, in a sentence.
pub(crate) fn torch<T>(result: Result<T, TchError>) -> Result<T, KernelError> {
    result.map_err(|error| {
        let text = error.to_string();
        match text.contains("out of memory") {
            true => KernelError::OutOfMemory,
            // The rest are addresses of functions.
            false => KernelError::Torch(text.lines().next().unwrap_or_default().to_owned()),
        }
    })
}

/// The first of the two equal halves of rotary angles.
fn half(angles: &Tensor) -> Tensor {
    angles.narrow(1, 0, angles.size().last().map_or(0, |width| width / 2))
}

fn read(tensor: &Tensor) -> &[f32] {
    floats_in_place(tensor).unwrap_or(&[])
}

fn write(tensor: &mut Tensor) -> &mut [f32] {
    floats_in_place_mut(tensor).unwrap_or(&mut [])
}

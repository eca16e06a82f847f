//! The kernels of a GPU on libtorch's tensors: what is done with whole models there, so that nothing per element goes through the host.

use super::{
    fused::torch,
    memory::{filled, span, with_bytes},
};
use crate::{
    codec::{
        Aggregate, Codec, PeerWeight, Rule, SparseTensor, TensorLayout, Transform, Values,
        sketch::{self, BUCKETS, Sums},
    },
    device,
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tch::{Device, Kind, Tensor};
use templar_kernels::{
    KernelError, Launch, Span,
    device::{AdamW, BLOCKS, Bases, Encoded, Sent, Target},
};

/// Kernels on tensors of one device.
#[derive(Debug)]
pub(crate) struct Kernels {
    kernels: templar_kernels::Device,
    device: Device,
    /// Bases of an aggregate by their chunks' sides, where they are already on the device.
    bases: Mutex<BTreeMap<[usize; 2], [Tensor; 2]>>,
}

/// What an aggregate becomes.
pub(crate) enum Outcome<'a> {
    /// Signs of 8 bits under [`Rule::Sign`], float32 under [`Rule::Mean`].
    Update(&'a Tensor),
    /// The step from the first, which may be the second itself.
    Step(&'a Tensor, &'a Tensor, f32),
}

impl Kernels {
    /// Those of a device, where it has some.
    pub(crate) fn of(device: Device) -> Option<Self> {
        // Why there are none is logged where they are loaded.
        let launch = device::kernels(device).unwrap_or_default()?;
        Some(Self::new(launch, device))
    }

    /// Those that somebody runs, on tensors of a device.
    pub(crate) fn new(launch: Arc<dyn Launch>, device: Device) -> Self {
        let kernels = templar_kernels::Device::new(launch, templar_kernels::Kind::F32);
        Self { kernels, device, bases: Mutex::default() }
    }

    /// The sketches of a gradient's tensors: [`sketch::of_gradient`] but for the order of sums.
    ///
    /// # Errors
    /// Tensors that do not lie in one piece, and what the driver says.
    pub(crate) fn sketches(&self, tensors: &[Tensor], seed: u64) -> Result<Vec<Sums>, KernelError> {
        // A block of threads goes over 4 rows of 64 at a time, and should have some to go over.
        let parts = |tensor: &Tensor| (tensor.numel() / (64 * BUCKETS)).clamp(1, BLOCKS);
        let total: usize = tensors.iter().map(parts).sum();
        let room = self.room(&[total as i64, BUCKETS as i64], Kind::Double)?;
        let mut from = 0;
        for (at, tensor) in tensors.iter().enumerate() {
            let parts = parts(tensor);
            let own = room.narrow(0, from as i64, parts as i64);
            self.kernels.sketch(sketch::tensor_seed(seed, at), whole(tensor)?, span(&own))?;
            from += parts;
        }
        let sums = numbers(&room)?;
        let mut rows = sums.chunks(BUCKETS);
        let summed = tensors.iter().map(|tensor| {
            let mut sums = [0.0; BUCKETS];
            for row in rows.by_ref().take(parts(tensor)) {
                sums.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
            }
            sums
        });
        Ok(summed.collect())
    }

    /// The length of all tensors together.
    ///
    /// # Errors
    /// Tensors that do not lie in one piece, and what the driver says.
    pub(crate) fn length(&self, tensors: &[Tensor]) -> Result<f64, KernelError> {
        // A thread takes eight at a time.
        let parts = |tensor: &Tensor| (tensor.numel() / (8 * 256)).clamp(1, BLOCKS) as i64;
        let room = self.room(&[tensors.iter().map(parts).sum()], Kind::Float)?;
        let mut from = 0;
        for tensor in tensors {
            self.kernels.squares(whole(tensor)?, span(&room.narrow(0, from, parts(tensor))))?;
            from += parts(tensor);
        }
        Ok(numbers(&room.to_kind(Kind::Double))?.iter().sum::<f64>().sqrt())
    }

    /// A step of AdamW on one tensor.
    ///
    /// # Errors
    /// Tensors that do not fit each other, and what the driver says.
    pub(crate) fn adamw(
        &self,
        weight: &Tensor,
        (first, second): (&Tensor, &Tensor),
        gradient: &Tensor,
        step: AdamW,
    ) -> Result<(), KernelError> {
        let moments = (whole(first)?, whole(second)?);
        self.kernels.adamw(whole(weight)?, moments, whole(gradient)?, None, step)
    }

    /// Float32 on the device.
    ///
    /// # Errors
    /// No memory there.
    pub(crate) fn take(&self, values: &[f32]) -> Result<Tensor, KernelError> {
        torch(Tensor::from_slice(values).f_to_device(self.device))
    }

    /// What a miner sends of its gradients, which are finite and the codec's in number and lengths; its state is there.
    ///
    /// # Errors
    /// No memory for what is to be sent: then nothing was changed. What the driver says: then the state is not to be used.
    pub(crate) fn encode(
        &self,
        codec: &Codec,
        gradients: &[Tensor],
        state: &[Tensor],
    ) -> Result<Vec<SparseTensor>, KernelError> {
        let layouts = codec.tensors();
        let gradients = gradients.iter().map(|g| torch(g.detach().f_contiguous()));
        let gradients: Vec<Tensor> = gradients.collect::<Result<_, _>>()?;
        // The kept values of one tensor at a time.
        let most = layouts.iter().map(TensorLayout::kept_values).max().unwrap_or(0) as i64;
        let values = self.room(&[most], Kind::Float)?;
        let outs: Vec<Out> = layouts.iter().map(|layout| Out::new(self, layout)).collect::<Result<_, _>>()?;
        let beta = codec.settings().momentum as f32;
        let mut bases = BTreeMap::new();
        for layout in layouts.iter().filter(|layout| layout.transform == Transform::Dct) {
            for side in [layout.chunk_rows, layout.chunk_cols] {
                if let Entry::Vacant(new) = bases.entry(side) {
                    let basis: Vec<f32> = templar_codec::basis(side).iter().map(|x| *x as f32).collect();
                    new.insert(self.take(&basis)?);
                }
            }
        }
        for (((layout, gradient), state), out) in layouts.iter().zip(&gradients).zip(state).zip(&outs) {
            let side = |side: usize| bases.get(&side).map(span);
            let bases = side(layout.chunk_rows).zip(side(layout.chunk_cols));
            let bases = bases.map(|(down, along)| Bases { down, along });
            let values = values.narrow(0, 0, layout.kept_values() as i64);
            self.kernels.encode(layout, whole(gradient)?, whole(state)?, bases, beta, out.spans(&values))?;
        }
        outs.iter().map(|out| out.read()).collect()
    }

    /// `weight -= step * sign` of one tensor.
    ///
    /// # Errors
    /// Tensors that do not fit each other, and what the driver says.
    pub(crate) fn sign_step(&self, weight: &Tensor, signs: &Tensor, step: f32) -> Result<(), KernelError> {
        self.kernels.sign_step(whole(weight)?, whole(signs)?, None, step)
    }

    /// One tensor of an aggregate, with the processor's bits. What peers sent goes to the device as it came.
    ///
    /// # Errors
    /// Tensors that do not fit the aggregate's, and what the driver says; then nothing was written.
    pub(crate) fn aggregate(
        &self,
        aggregate: &Aggregate<'_>,
        index: usize,
        outcome: Outcome<'_>,
    ) -> Result<(), KernelError> {
        let parts = aggregate.parts(index);
        let layout = parts.layout;
        let words = |of: fn(&SparseTensor) -> &[u16]| {
            let slices: Vec<&[u16]> = parts.peers.iter().map(|(tensor, _)| of(tensor)).collect();
            self.sent(&slices, Kind::Int16, |word, bytes| bytes.copy_from_slice(&word.to_le_bytes()))
        };
        let positions = words(|tensor| &tensor.positions)?;
        let levels = words(|tensor| &tensor.levels)?;
        let codes: Vec<&[u8]> = parts.peers.iter().map(|(tensor, _)| tensor.codes.as_slice()).collect();
        let codes = self.sent(&codes, Kind::Uint8, |code, byte| byte.copy_from_slice(&[*code]))?;
        let (mut tables, mut factors) = (Vec::new(), Vec::new());
        for (_, weight) in &parts.peers {
            match weight {
                PeerWeight::Codes(table) => tables.extend_from_slice(table.as_slice()),
                PeerWeight::Levels(factor) => factors.push(*factor),
            }
        }
        let weights = match layout.values {
            Values::Eight => Tensor::from_slice(&tables),
            _ => Tensor::from_slice(&factors),
        };
        let weights = torch(weights.f_to_device(self.device))?;
        let sent = Sent {
            peers: parts.peers.len(),
            positions: span(&positions),
            codes: span(&codes),
            levels: span(&levels),
            weights: span(&weights),
            unit: parts.unit,
        };
        let bases = match layout.transform {
            Transform::Dct => Some(self.bases(layout)?),
            Transform::None => None,
        };
        let target = match (outcome, aggregate.rule()) {
            (Outcome::Update(out), Rule::Sign) => Target::Signs(whole(out)?),
            (Outcome::Update(out), Rule::Mean) => Target::Floats(whole(out)?),
            (Outcome::Step(before, parameters, size), _) => {
                Target::Step { before: whole(before)?, parameters: whole(parameters)?, copy: None, size }
            }
        };
        self.kernels.aggregate(layout, aggregate.rule(), sent, bases, target)
    }

    /// What several peers sent, one after the other, on the device.
    fn sent<T: Sync>(
        &self,
        slices: &[&[T]],
        kind: Kind,
        write: impl Fn(&T, &mut [u8]) + Sync,
    ) -> Result<Tensor, KernelError> {
        let size = kind.elt_size_in_bytes();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let here = filled(&[length as i64], kind, |bytes| {
            let mut left = bytes;
            for slice in slices {
                let (own, rest) = left.split_at_mut(slice.len() * size);
                own.chunks_exact_mut(size).zip(*slice).for_each(|(bytes, value)| write(value, bytes));
                left = rest;
            }
            Ok::<(), KernelError>(())
        })?;
        torch(here.f_to_device(self.device))
    }

    /// The whole numbers that chunks of this tensor are turned with.
    fn bases(&self, layout: &TensorLayout) -> Result<Bases, KernelError> {
        let sides = [layout.chunk_rows, layout.chunk_cols];
        let mut known = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        let [down, along] = match known.entry(sides) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (down, along) = layout.whole_bases();
                let there = |basis: &[i16]| torch(Tensor::from_slice(basis).f_to_device(self.device));
                new.insert([there(&down)?, there(&along)?])
            }
        };
        Ok(Bases { down: span(down), along: span(along) })
    }

    fn room(&self, shape: &[i64], kind: Kind) -> Result<Tensor, KernelError> {
        torch(Tensor::f_zeros(shape, (kind, self.device)))
    }
}

/// Where what is sent of one tensor is written.
struct Out {
    positions: Tensor,
    codes: Tensor,
    levels: Tensor,
    most: Tensor,
    exponent: Tensor,
}

impl Out {
    fn new(kernels: &Kernels, layout: &TensorLayout) -> Result<Self, KernelError> {
        let kept = layout.kept_values() as i64;
        Ok(Self {
            positions: kernels.room(&[kept], Kind::Int16)?,
            codes: kernels.room(&[kept], Kind::Uint8)?,
            levels: kernels.room(&[layout.levels() as i64], Kind::Int16)?,
            most: kernels.room(&[1], Kind::Float)?,
            exponent: kernels.room(&[1], Kind::Int8)?,
        })
    }

    fn spans(&self, values: &Tensor) -> Encoded {
        Encoded {
            positions: span(&self.positions),
            codes: span(&self.codes),
            levels: span(&self.levels),
            values: span(values),
            most: span(&self.most),
            exponent: span(&self.exponent),
        }
    }

    fn read(&self) -> Result<SparseTensor, KernelError> {
        let bytes = |tensor: &Tensor| {
            Ok::<Vec<u8>, KernelError>(with_bytes(&torch(tensor.f_to_device(Device::Cpu))?, <[u8]>::to_vec))
        };
        let words = |tensor: &Tensor| {
            let word = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes);
            Ok::<Vec<u16>, KernelError>(bytes(tensor)?.as_chunks().0.iter().map(word).collect())
        };
        let exponent = bytes(&self.exponent)?.first().map_or(0, |byte| byte.cast_signed());
        let (positions, codes, levels) = (words(&self.positions)?, bytes(&self.codes)?, words(&self.levels)?);
        Ok(SparseTensor { exponent, levels, positions, codes })
    }
}

/// What kernels make, where there are some that can: if not the caller has another way.
pub(crate) fn on_device<T>(
    kernels: Option<&Kernels>,
    work: impl FnOnce(&Kernels) -> Result<T, KernelError>,
) -> Option<T> {
    /// A model has hundreds of tensors: it is said once.
    static SAID: AtomicBool = AtomicBool::new(false);
    let say = |error: KernelError| match SAID.swap(true, Ordering::Relaxed) {
        false => tracing::warn!(%error, "kernels of our own did not do this on the GPU, which is slower"),
        true => tracing::debug!(%error, "kernels of our own did not do this on the GPU"),
    };
    work(kernels?).map_err(say).ok()
}

/// The elements of a tensor that lies in one piece.
fn whole(tensor: &Tensor) -> Result<Span, KernelError> {
    if tensor.is_contiguous() {
        Ok(span(tensor))
    } else {
        Err(KernelError::Shape("a tensor does not lie in one piece".to_owned()))
    }
}

/// Float64 of a device, read back; libtorch waits for what was to write them.
fn numbers(tensor: &Tensor) -> Result<Vec<f64>, KernelError> {
    let here = torch(tensor.f_to_device(Device::Cpu))?;
    torch(Vec::<f64>::try_from(here.reshape([-1])))
}

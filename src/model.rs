//! The Llama that is trained: parameters, forward pass, hash, files.
//!
//! Names, shapes and arithmetic are those of Hugging Face's `LlamaForCausalLM` (RMSNorm, rotary positions
//! by `rotate_half`, grouped-query attention, SwiGLU, no biases), so that a saved model opens there as it is.
//! Weights are float32.

mod few;
mod files;
mod forward;
mod fused;
pub mod generate;
mod hash;
pub mod hugging_face;
mod initial;
mod kernels;
mod lent;
pub mod likelihood;
mod memory;
mod pass;
mod shapes;

pub use files::ModelError;
pub(crate) use files::{header, read_metadata, read_tensors, write_tensors, write_tensors_shown};
pub(crate) use fused::torch;
pub(crate) use hash::ModelHasher;
pub use initial::initial_values;
pub(crate) use kernels::{Kernels, Outcome, on_device};
pub use lent::{Lender, Lent};
pub(crate) use memory::{floats_in_place, floats_in_place_mut, made, with_bytes, with_floats};
pub use shapes::{parameter_count, parameter_shapes};

use crate::{
    device,
    gradient::model_samples,
    manifest::{ModelConfig, Precision},
    window::Window,
};
use forward::Rope;
use fused::Fused;
use pass::{Asked, Gradients, Pass};
use rayon::prelude::*;
use sp_core::crypto::AccountId32;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tch::{Device, Kind, Tensor};
use templar_kernels::{KernelError, Launch};

/// A Llama with its weights on one device.
#[derive(Debug)]
pub struct Llama {
    config: ModelConfig,
    parameters: Vec<(String, Tensor)>,
    rope: Rope,
    device: Device,
    /// Who runs kernels of our own on that device, where somebody does.
    launch: Option<Arc<dyn Launch>>,
    /// The memory of passes over batches of the sizes that were used last.
    passes: Mutex<Vec<Pass>>,
    /// Whether passes with gradients keep little, and compute it again.
    again: AtomicBool,
}

/// Bytes of a pass's memory that are kept for the next; more is given back.
const KEPT: usize = 256 << 20;

/// A copy of all weights, for [`Llama::restore`].
#[derive(Debug)]
pub struct Snapshot(Vec<Tensor>);

impl Snapshot {
    /// The weights, in the model's order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }
}

impl Llama {
    /// A model with the initial weights of a seed: the same bits on every platform ([`initial_values`]).
    pub fn new(config: &ModelConfig, seed: u64, device: Device) -> Self {
        let make = |(name, shape): (String, Vec<usize>)| {
            let values = initial_values(&name, &shape, seed, config.initial_std);
            let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
            let tensor = Tensor::from_slice(&values).to_device(device).reshape(&shape);
            (name, tensor)
        };
        Self::with(config, parameter_shapes(config).into_iter().map(make).collect(), device)
    }

    fn with(config: &ModelConfig, parameters: Vec<(String, Tensor)>, device: Device) -> Self {
        let parameters = parameters.into_iter().map(|(n, t)| (n, t.set_requires_grad(true))).collect();
        let rope = Rope::new(config, config.sequence_length, device);
        // Why there are none is logged where they are loaded.
        let launch = device::kernels(device).unwrap_or_default();
        Self {
            config: config.clone(),
            parameters,
            rope,
            device,
            launch,
            passes: Mutex::default(),
            again: AtomicBool::new(false),
        }
    }

    /// The shape that it was made for.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Names and weights, in the fixed order of [`parameter_shapes`].
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// Logits `[batch, length, vocabulary]` for token ids `[batch, length]` (int64).
    pub fn logits(&self, tokens: &Tensor) -> Tensor {
        forward::logits(&self.config, &self.parameters, &self.rope, tokens)
    }

    /// Logits of what follows each token of a text, without gradients: one list for each token.
    pub fn next_logits(&self, tokens: &[i64]) -> Vec<Vec<f32>> {
        if tokens.is_empty() {
            return Vec::new();
        }
        let tokens = Tensor::from_slice(tokens).view([1, -1]).to_device(self.device);
        let logits = tch::no_grad(|| self.logits(&tokens));
        floats(&logits).chunks(self.config.vocab_size as usize).map(<[f32]>::to_vec).collect()
    }

    /// Mean cross-entropy in nats of each sequence, `[batch]`, for token ids `[batch, length + 1]` (int64):
    /// every token but the first is predicted from those before it.
    pub fn losses(&self, tokens: &Tensor) -> Tensor {
        self.losses_in(tokens, Precision::F32)
    }

    /// [`Self::losses`], computed in `precision` from weights that are rounded to it; the losses themselves are float32, and
    /// so are gradients, for the weights stay what they are.
    pub(crate) fn losses_in(&self, tokens: &Tensor, precision: Precision) -> Tensor {
        let length = tokens.size().get(1).copied().unwrap_or(1) - 1;
        let read = tokens.narrow(1, 0, length);
        let logits = match precision {
            Precision::F32 => self.logits(&read),
            Precision::Bf16 => {
                let round =
                    |(name, weight): &(String, Tensor)| (name.clone(), weight.to_kind(Kind::BFloat16));
                let rounded: Vec<_> = self.parameters.iter().map(round).collect();
                forward::logits(&self.config, &rounded, &self.rope, &read).to_kind(Kind::Float)
            }
        };
        let targets = tokens.narrow(1, 1, length).reshape([-1]);
        let flat = logits.view([-1, self.config.vocab_size]);
        let losses = flat.cross_entropy_loss::<Tensor>(&targets, None, tch::Reduction::None, -100, 0.0);
        losses.view([-1, length]).mean_dim(1, false, Kind::Float)
    }

    /// What passes compute in unless told otherwise: float32 on a CPU, bf16 with kernels of our own on a GPU.
    pub fn precision(&self) -> Precision {
        if self.device.is_cuda() && self.has_passes(Precision::Bf16) {
            Precision::Bf16
        } else {
            Precision::F32
        }
    }

    /// Has somebody run kernels for it, whatever its device.
    #[cfg(test)]
    pub(crate) fn run_kernels(&mut self, launch: Arc<dyn Launch>) {
        self.launch = Some(launch);
    }

    /// What else is done with the model on its device.
    pub(crate) fn kernels(&self) -> Option<Kernels> {
        self.launch.clone().map(|launch| Kernels::new(launch, self.device))
    }

    /// [`Self::losses`] without gradients in [`Self::precision`], `micro_batch` sequences at a time.
    ///
    /// # Errors
    /// What a GPU, its driver and libtorch say.
    pub fn sequence_losses(&self, tokens: &Tensor, micro_batch: usize) -> Result<Vec<f32>, KernelError> {
        let precision = self.precision();
        let mut losses = Vec::new();
        for part in tokens.split(micro_batch.max(1) as i64, 0) {
            losses.extend(match self.has_passes(precision) {
                true => {
                    self.with_pass(&part, precision, false, |pass| pass.run(&self.parameters, &part, None))?
                }
                false => tch::no_grad(|| floats(&self.losses_in(&part, precision))),
            });
        }
        Ok(losses)
    }

    /// Losses of the sequences of `tokens` (`[batch, length + 1]`), and the gradient of their sum times `weight`, added to `sums`: a
    /// float32 tensor for each parameter, in the model's order.
    ///
    /// # Errors
    /// What a GPU, its driver and libtorch say; sums may then have some of the gradient.
    pub(crate) fn accumulate(
        &self,
        tokens: &Tensor,
        precision: Precision,
        weight: f64,
        sums: &mut [Tensor],
    ) -> Result<Vec<f32>, KernelError> {
        if self.has_passes(precision) {
            let gradients = Gradients { sums, weight };
            let run = |pass: &mut Pass| pass.run(&self.parameters, tokens, Some(gradients));
            return self.with_pass(tokens, precision, true, run);
        }
        Ok(self.accumulate_by_autograd(tokens, precision, weight, sums))
    }

    /// [`Self::accumulate`], as libtorch does it by itself.
    fn accumulate_by_autograd(
        &self,
        tokens: &Tensor,
        precision: Precision,
        weight: f64,
        sums: &mut [Tensor],
    ) -> Vec<f32> {
        let losses = self.losses_in(tokens, precision);
        (losses.sum(Kind::Float) * weight).backward();
        tch::no_grad(|| {
            for ((_, parameter), sum) in self.parameters.iter().zip(sums) {
                let _ = sum.g_add_(&parameter.grad());
                parameter.shallow_clone().zero_grad();
            }
        });
        floats(&losses)
    }

    /// Whether passes of this precision are our own.
    fn has_passes(&self, precision: Precision) -> bool {
        match &self.launch {
            Some(_) => {
                let config = &self.config;
                let narrow = config.hidden_size / config.heads * config.kv_heads;
                let widths = [config.hidden_size, config.intermediate_size, config.vocab_size, narrow];
                widths.into_iter().all(|width| width % templar_kernels::device::TOGETHER as i64 == 0)
            }
            None => self.device == Device::Cpu && precision == Precision::F32,
        }
    }

    /// Runs a pass over a batch of this size, in memory that is left from the last one where there is some.
    fn with_pass<T>(
        &self,
        tokens: &Tensor,
        precision: Precision,
        gradients: bool,
        work: impl FnOnce(&mut Pass) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let size = match tokens.size().as_slice() {
            [batch, length, ..] => (*batch, length - 1),
            _ => (0, 0),
        };
        let kind = match precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        let asked = match (gradients, self.again.load(Ordering::Relaxed)) {
            (false, _) => Asked::Losses,
            (true, false) => Asked::Gradients,
            (true, true) => Asked::GradientsAgain,
        };
        let mut kept = std::mem::take(&mut *self.passes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut pass = match kept.iter().position(|pass| pass.fits(size, asked, kind)) {
            Some(at) => kept.remove(at),
            None => {
                let made = self.new_pass(size, precision, asked);
                match made {
                    Err(KernelError::OutOfMemory) if asked == Asked::Gradients => {
                        tracing::warn!(
                            "the GPU's memory is too small for this micro-batch: blocks are computed twice, which takes a third longer"
                        );
                        self.again.store(true, Ordering::Relaxed);
                        kept.clear();
                        self.new_pass(size, precision, Asked::GradientsAgain)?
                    }
                    made => made?,
                }
            }
        };
        let result = work(&mut pass)?;
        kept.truncate(1);
        // A GPU's memory is nobody else's; that of a processor may be needed for other work.
        if self.device.is_cuda() || pass.bytes() <= KEPT {
            kept.insert(0, pass);
        }
        *self.passes.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(result)
    }

    fn new_pass(&self, size: (i64, i64), precision: Precision, asked: Asked) -> Result<Pass, KernelError> {
        let own = (size.1 > self.rope.length()).then(|| Rope::new(&self.config, size.1, self.device));
        let angles = own.as_ref().unwrap_or(&self.rope).range(0, size.1);
        let angles = (&angles.cos, &angles.sin);
        let fused = match &self.launch {
            None => Fused::host(angles.0, angles.1),
            Some(launch) => {
                let kind = match precision {
                    Precision::F32 => templar_kernels::Kind::F32,
                    Precision::Bf16 => templar_kernels::Kind::Bf16,
                };
                Fused::device(launch.clone(), kind, angles, self.config.hidden_size)?
            }
        };
        Pass::new(&self.config, fused, self.device, size, asked)
    }

    /// Says whether passes with gradients keep only what goes into each block and compute the block a second time: the same bits, in the
    /// memory of one block instead of all of them, and a third more time. Where a GPU has too little memory it happens by itself.
    pub fn recompute(&mut self, again: bool) {
        *self.again.get_mut() = again;
    }

    /// The hash that docs/protocol.md defines: a tree of BLAKE3 over names, shapes and float32 weights. Equal hashes mean
    /// equal models, bit for bit. All cores work on it; nothing on the CPU is copied, and from a device one tensor at a time.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = ModelHasher::default();
        self.parameters.iter().for_each(|(name, tensor)| hasher.add(name, tensor));
        hasher.finish()
    }

    /// The values that `hotkey` must show of this model in `window`: for each tensor `per_tensor` of them, at
    /// the positions of [`model_samples`].
    pub fn samples(
        &self,
        run: &[u8; 32],
        hotkey: &AccountId32,
        window: Window,
        per_tensor: usize,
    ) -> Vec<f32> {
        let draw = |(index, (_, tensor)): (usize, &(String, Tensor))| {
            let positions = model_samples(run, hotkey, window, index, tensor.numel(), per_tensor);
            let positions: Vec<i64> = positions.iter().map(|p| *p as i64).collect();
            let positions = Tensor::from_slice(&positions).to_device(self.device);
            floats(&tensor.detach().reshape([-1]).index_select(0, &positions))
        };
        self.parameters.iter().enumerate().flat_map(draw).collect()
    }

    /// A copy of the weights as they are.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.parameters.iter().map(|(_, t)| t.detach().copy()).collect())
    }

    /// Puts the weights of a snapshot of this model back, bit for bit.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.parameters.iter_mut().zip(&snapshot.0).for_each(|((_, tensor), saved)| copy(tensor, saved));
    }

    /// Takes the weights of another model of this shape.
    pub fn take(&mut self, other: &Self) {
        let pairs = self.parameters.iter_mut().zip(&other.parameters);
        pairs.for_each(|((_, tensor), (_, other))| copy(tensor, other));
    }

    /// Writes the weights as a safetensors file with `metadata`; the file appears whole or not at all.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<(), ModelError> {
        let tensors: Vec<_> = self.parameters.iter().map(|(n, t)| (n.as_str(), t)).collect();
        write_tensors(path, &tensors, metadata)
    }

    /// Takes the weights of files, each of which holds exactly the parameters that come next: file by file, so that no more than
    /// one is in memory beside the model. After an error some weights are the old ones and some the new ones.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn read_parts<'a>(
        &mut self,
        parts: impl Iterator<Item = (PathBuf, &'a [(String, Vec<usize>)])>,
    ) -> Result<(), ModelError> {
        let mut parameters = self.parameters.iter_mut();
        for (path, shapes) in parts {
            let (tensors, _) = read_tensors(&path, shapes, Device::Cpu)?;
            for (name, tensor) in tensors {
                let fits =
                    parameters.next().filter(|(known, here)| *known == name && here.size() == tensor.size());
                let Some((_, here)) = fits else {
                    let problem = format!("its {name} is not the parameter that comes next");
                    return Err(ModelError::OtherModel { path: path.display().to_string(), problem });
                };
                copy(here, &tensor);
            }
        }
        Ok(())
    }

    /// A model of the weights of files, as [`Self::read_parts`] reads them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn of_parts<'a>(
        config: &ModelConfig,
        parts: impl Iterator<Item = (PathBuf, &'a [(String, Vec<usize>)])>,
        device: Device,
    ) -> Result<Self, ModelError> {
        let mut parameters = Vec::new();
        for (path, shapes) in parts {
            parameters.extend(read_tensors(&path, shapes, device)?.0);
        }
        Ok(Self::with(config, parameters, device))
    }

    /// Opens a safetensors file that holds exactly this model's parameters, and returns its metadata too.
    ///
    /// # Errors
    /// A file that cannot be read, is not safetensors, or holds other tensors than the model's.
    pub fn load(
        config: &ModelConfig,
        path: &Path,
        device: Device,
    ) -> Result<(Self, BTreeMap<String, String>), ModelError> {
        let (tensors, metadata) = read_tensors(path, &parameter_shapes(config), device)?;
        Ok((Self::with(config, tensors, device), metadata))
    }
}

/// Copies the elements of a tensor, with all cores where that is possible: one alone does not reach the memory's speed.
fn copy(to: &mut Tensor, from: &Tensor) {
    const PART: usize = 1 << 18;
    let (mut here, from) = (to.detach(), from.detach());
    match (floats_in_place_mut(&mut here), floats_in_place(&from)) {
        (Some(to), Some(from)) => {
            to.par_chunks_mut(PART)
                .zip(from.par_chunks(PART))
                .for_each(|(to, from)| to.copy_from_slice(from));
        }
        _ => tch::no_grad(|| here.copy_(&from)),
    }
}

/// The elements of a float tensor, in row-major order.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut values = vec![0f32; flat.numel()];
    let count = values.len();
    flat.copy_data(&mut values, count);
    values
}

#[cfg(test)]
mod tests;

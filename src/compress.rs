//! What a miner sends of what it learned, and what it keeps for later: the run's [`crate::codec`] over tensors, and its state on
//! disk.

use crate::{
    codec::{self, EncodeError, TensorLayout},
    gradient::{Layout, SparseTensor},
    model::{
        Kernels, ModelError, floats, on_device, read_metadata, read_tensors, with_floats, write_tensors,
    },
};
use std::{collections::BTreeMap, path::Path};
use tch::{Device, Kind, Tensor};
use templar_kernels::KernelError;

/// What the file says it is: coefficients, chunk after chunk.
const FORMAT: &str = "templar error feedback 2";
/// Metadata of ours, which a caller's cannot replace.
const FORMAT_KEY: &str = "format";

/// Why nothing can be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// Gradients that do not fit, or are not finite.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The GPU, its driver or libtorch.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// All that one miner has learned and not yet sent.
///
/// It is where gradients are: on a GPU with kernels of our own the state goes there with the first gradients, and only what is to be sent
/// comes back. What it sends is then as good as what a processor would send, and not the same: sums of a transform have another order.
#[derive(Debug)]
pub struct ErrorFeedback {
    /// The state, or, while it is there, zeros.
    state: codec::ErrorFeedback,
    there: Option<There>,
}

/// A state on a GPU, tensor by tensor.
#[derive(Debug)]
struct There {
    kernels: Kernels,
    tensors: Vec<Tensor>,
}

impl ErrorFeedback {
    /// A miner's state at its first window: nothing.
    pub fn new(layout: &Layout) -> Self {
        Self { state: codec::ErrorFeedback::new(layout.codec()), there: None }
    }

    /// Adds one window's gradients, in the model's order and on any device, and takes off what is to be sent of them.
    ///
    /// # Errors
    /// Gradients that do not fit the layout or are not finite; then nothing was changed. What a GPU and its driver say: after that the
    /// state is not to be used.
    pub fn encode(&mut self, gradients: &[Tensor]) -> Result<Vec<SparseTensor>, CompressError> {
        let device = gradients.first().map_or(Device::Cpu, Tensor::device);
        self.encode_with(gradients, || Kernels::of(device))
    }

    fn encode_with(
        &mut self,
        gradients: &[Tensor],
        kernels: impl FnOnce() -> Option<Kernels>,
    ) -> Result<Vec<SparseTensor>, CompressError> {
        if self.there.is_none()
            && let Some(kernels) = kernels()
        {
            let tensors = self.state.tensors().iter();
            let tensors = tensors.map(|state| kernels.take(state)).collect::<Result<_, _>>();
            self.there = on_device(Some(&kernels), |_| tensors).map(|tensors| There { kernels, tensors });
            if self.there.is_some() {
                self.state = codec::ErrorFeedback::new(self.state.codec());
            }
        }
        let Some(There { kernels, tensors }) = &self.there else {
            return Ok(with_floats(gradients, |gradients| self.state.encode(gradients))?);
        };
        let codec = self.state.codec();
        fit(codec.tensors(), gradients)?;
        Ok(kernels.encode(codec, gradients, tensors)?)
    }

    /// The state, in this process's memory.
    fn here(&mut self) -> &mut codec::ErrorFeedback {
        if let Some(there) = self.there.take() {
            let tensors = there.tensors.iter().map(floats).collect();
            // What came from there fits: it has the lengths of the codec's tensors, and magnitudes that a state has.
            match codec::ErrorFeedback::from_tensors(self.state.codec(), tensors) {
                Ok(state) => self.state = state,
                Err(error) => tracing::error!(%error, "the GPU's state is damaged, and begins from zero"),
            }
        }
        &mut self.state
    }

    /// Puts back what was taken off for something that was not sent after all.
    ///
    /// # Errors
    /// Tensors of another model.
    pub fn put_back(&mut self, sent: &[SparseTensor]) -> Result<(), CompressError> {
        Ok(self.here().put_back(sent)?)
    }

    /// Forgets of an old state what was sent since: see [`codec::ErrorFeedback::was_sent`].
    ///
    /// # Errors
    /// Tensors of another model.
    pub fn was_sent(&mut self, sent: &[SparseTensor], later: bool) -> Result<(), CompressError> {
        Ok(self.here().was_sent(sent, later)?)
    }

    /// Forgets everything: what a window that nobody counts asks for.
    pub fn clear(&mut self) {
        self.there = None;
        self.state.clear();
    }

    /// Writes the state, so that a restarted miner keeps its error feedback; the file appears whole or not at
    /// all. `metadata` is for the caller, such as the window.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<(), ModelError> {
        let layouts = self.state.codec().tensors();
        let tensors: Vec<Tensor> = match &self.there {
            Some(there) => there.tensors.iter().map(Tensor::shallow_clone).collect(),
            None => self.state.tensors().iter().map(|t| Tensor::from_slice(t.as_slice())).collect(),
        };
        let named: Vec<_> = layouts.iter().map(|t| t.name.as_str()).zip(&tensors).collect();
        let mut metadata = metadata.clone();
        metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_owned());
        write_tensors(path, &named, &metadata)
    }

    /// Reads a state that [`Self::save`] wrote, and its metadata. A state of the first version, which held DeMo's momentum
    /// itself, is transformed into this one's.
    ///
    /// # Errors
    /// A file that cannot be read, is of another model, or of a later version.
    pub fn load(layout: &Layout, path: &Path) -> Result<(Self, BTreeMap<String, String>), ModelError> {
        let refused = |problem| ModelError::Format { path: path.display().to_string(), problem };
        let format = read_metadata(path)?.remove(FORMAT_KEY);
        let codec = layout.codec();
        let shape = |t: &TensorLayout| if format.is_some() { vec![t.len()] } else { t.shape.clone() };
        let shapes: Vec<_> = codec.tensors().iter().map(|t| (t.name.clone(), shape(t))).collect();
        let read = || read_tensors(path, &shapes, Device::Cpu);
        let (state, mut metadata) = match format.as_deref() {
            Some(FORMAT) => {
                let (tensors, metadata) = read()?;
                let state = tensors.iter().map(|(_, tensor)| floats(tensor)).collect();
                (codec::ErrorFeedback::from_tensors(codec, state), metadata)
            }
            None => {
                let (tensors, metadata) = read()?;
                let tensors: Vec<Tensor> = tensors.into_iter().map(|(_, tensor)| tensor).collect();
                let state =
                    with_floats(&tensors, |momentum| codec::ErrorFeedback::from_momentum(codec, momentum));
                (state, metadata)
            }
            Some(other) => return Err(refused(format!("it has `{other}`, this program reads `{FORMAT}`"))),
        };
        metadata.remove(FORMAT_KEY);
        Ok((Self { state: state.map_err(|error| refused(error.to_string()))?, there: None }, metadata))
    }
}

/// Whether gradients on a device are those of a layout, and can be sent: what [`codec::ErrorFeedback::encode`] checks.
fn fit(layouts: &[TensorLayout], gradients: &[Tensor]) -> Result<(), EncodeError> {
    if layouts.len() != gradients.len() {
        return Err(EncodeError::Count { found: gradients.len(), expected: layouts.len() });
    }
    for (layout, gradient) in layouts.iter().zip(gradients) {
        if gradient.numel() != layout.len() {
            let (name, found) = (layout.name.clone(), gradient.numel());
            return Err(EncodeError::Length { name, found, expected: layout.len() });
        }
    }
    // One number of each, read back together. A gradient that is not a number has no largest magnitude.
    let most = |gradient: &Tensor| match gradient.numel() {
        0 => gradient.sum(Kind::Float),
        _ => gradient.detach().abs().max().to_kind(Kind::Float),
    };
    let most = floats(&Tensor::stack(&gradients.iter().map(most).collect::<Vec<_>>(), 0));
    let refused = |most: &f32| most.is_nan() || *most > codec::LARGEST;
    match layouts.iter().zip(&most).find(|(_, most)| refused(most)) {
        Some((layout, _)) => Err(EncodeError::NotFinite(layout.name.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! What a miner sends of what it learned, and what it keeps for later: the run's [`crate::codec`] over tensors, and its state on
//! disk.

use crate::{
    codec::{self, EncodeError, TensorLayout},
    gradient::{Layout, SparseTensor},
    model::{ModelError, floats, read_metadata, read_tensors, with_floats, write_tensors},
};
use std::{collections::BTreeMap, path::Path};
use tch::{Device, Tensor};

/// What the file says it is: coefficients, chunk after chunk.
const FORMAT: &str = "templar error feedback 2";
/// Metadata of ours, which a caller's cannot replace.
const FORMAT_KEY: &str = "format";

/// All that one miner has learned and not yet sent.
#[derive(Debug)]
pub struct ErrorFeedback {
    state: codec::ErrorFeedback,
}

impl ErrorFeedback {
    /// A miner's state at its first window: nothing.
    pub fn new(layout: &Layout) -> Self {
        Self { state: codec::ErrorFeedback::new(layout.codec()) }
    }

    /// Adds one window's gradients, in the model's order and on any device, and takes off what is to be sent of them.
    ///
    /// # Errors
    /// Gradients that do not fit the layout or are not finite; then nothing was changed.
    pub fn encode(&mut self, gradients: &[Tensor]) -> Result<Vec<SparseTensor>, EncodeError> {
        with_floats(gradients, |gradients| self.state.encode(gradients))
    }

    /// Puts back what was taken off for something that was not sent after all.
    ///
    /// # Errors
    /// Tensors of another model.
    pub fn put_back(&mut self, sent: &[SparseTensor]) -> Result<(), EncodeError> {
        self.state.put_back(sent)
    }

    /// Forgets of an old state what was sent since: see [`codec::ErrorFeedback::was_sent`].
    ///
    /// # Errors
    /// Tensors of another model.
    pub fn was_sent(&mut self, sent: &[SparseTensor], later: bool) -> Result<(), EncodeError> {
        self.state.was_sent(sent, later)
    }

    /// Forgets everything: what a window that nobody counts asks for.
    pub fn clear(&mut self) {
        self.state.clear();
    }

    /// Writes the state, so that a restarted miner keeps its error feedback; the file appears whole or not at
    /// all. `metadata` is for the caller, such as the window.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<(), ModelError> {
        let layouts = self.state.codec().tensors();
        let tensors: Vec<Tensor> =
            self.state.tensors().iter().map(|t| Tensor::from_slice(t.as_slice())).collect();
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
        Ok((Self { state: state.map_err(|error| refused(error.to_string()))? }, metadata))
    }
}

#[cfg(test)]
mod tests;

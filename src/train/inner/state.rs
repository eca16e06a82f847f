//! The optimizer's state in a file, so that a restarted miner goes on as if nothing had been.

use super::{InnerOptimizer, Moments, shapes};
use crate::{
    manifest::InnerConfig,
    model::{Llama, ModelError, read_tensors, write_tensors},
};
use std::{collections::BTreeMap, path::Path};
use tch::Tensor;

/// What the file says it is; another version is refused.
const FORMAT: &str = "templar inner optimizer 1";
/// Metadata of ours, which a caller's cannot replace.
const FORMAT_KEY: &str = "format";
const STEPS_KEY: &str = "steps";

impl InnerOptimizer {
    /// Writes moments and the count of steps as safetensors; the file appears whole or not at all. `metadata` is for the
    /// caller, such as the window; `format` and `steps` are taken.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<(), ModelError> {
        let names = names(&self.shapes);
        let moments = self.moments.iter().flat_map(|m| [&m.first, &m.second]);
        let tensors: Vec<(&str, &Tensor)> =
            names.iter().map(|(name, _)| name.as_str()).zip(moments).collect();
        let mut metadata = metadata.clone();
        metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_owned());
        metadata.insert(STEPS_KEY.to_owned(), self.steps.to_string());
        write_tensors(path, &tensors, &metadata)
    }

    /// Reads a state that [`Self::save`] wrote for a model of this shape onto the model's device, and the caller's metadata.
    ///
    /// # Errors
    /// A file that cannot be read, is of another model or of another version.
    pub fn load(
        model: &Llama,
        config: &InnerConfig,
        path: &Path,
    ) -> Result<(Self, BTreeMap<String, String>), ModelError> {
        let format = |problem: String| ModelError::Format { path: path.display().to_string(), problem };
        let (shapes, device) = (shapes(model), model.device());
        let (tensors, mut metadata) = read_tensors(path, &names(&shapes), device)?;
        match metadata.remove(FORMAT_KEY) {
            Some(found) if found == FORMAT => {}
            found => {
                let found = found.unwrap_or_else(|| "no version".to_owned());
                return Err(format(format!("it has `{found}`, this program reads `{FORMAT}`")));
            }
        }
        let steps = metadata.remove(STEPS_KEY).and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or_else(|| format("it does not say how many steps were taken".to_owned()))?;
        let mut moments = Vec::with_capacity(shapes.len());
        let mut tensors = tensors.into_iter().map(|(_, tensor)| tensor);
        while let (Some(first), Some(second)) = (tensors.next(), tensors.next()) {
            moments.push(Moments { first, second });
        }
        Ok((Self { config: config.clone(), shapes, moments, steps, device }, metadata))
    }
}

/// Names and shapes of the tensors in the file: both moments of each parameter.
fn names(shapes: &[(String, Vec<usize>)]) -> Vec<(String, Vec<usize>)> {
    let both = |(name, shape): &(String, Vec<usize>)| {
        ["first", "second"].map(|moment| (format!("{moment}.{name}"), shape.clone()))
    };
    shapes.iter().flat_map(both).collect()
}

//! What a miner learns with, and what of it outlives a restart: what was not sent yet, and the inner loop's moments.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread::JoinHandle,
};
use tch::Tensor;
use templar::{
    compress::ErrorFeedback,
    gradient::{Layout, SparseTensor},
    manifest::TrainConfig,
    model::{Llama, ModelError},
    node::NodeError,
    train::{self, TrainError, inner::InnerOptimizer},
};

/// A miner's memory.
///
/// It is written to disk by a thread of its own, after what was encoded from it is known: at 1.2 billion parameters that takes seconds
/// of every window. A miner that is killed meanwhile finds the state of the window before, and sends again part of what it had sent.
#[derive(Debug)]
pub struct Learner {
    feedback: Saving<ErrorFeedback>,
    inner: Option<Saving<InnerOptimizer>>,
    train: TrainConfig,
    dir: PathBuf,
}

/// What came of a window's work.
#[derive(Debug)]
pub struct Learned {
    /// What is to be compressed: the gradient, or the way of the inner loop.
    pub update: Vec<Tensor>,
    /// Mean loss of the sequences, each before the step that it was part of; nats.
    pub loss: f64,
    /// Sequences that were trained on: the first so many.
    pub sequences: usize,
}

impl Learner {
    /// Takes up what an earlier run of this node kept in a folder, so that a restart loses nothing of it.
    pub fn open(dir: &Path, train: &TrainConfig, model: &Llama, layout: &Layout) -> Self {
        let feedback = kept(&dir.join(FEEDBACK), "momentum", |path| ErrorFeedback::load(layout, path))
            .unwrap_or_else(|| ErrorFeedback::new(layout));
        let feedback = Saving::Here(feedback);
        let inner = train.inner.as_ref().map(|config| {
            let load = |path: &Path| InnerOptimizer::load(model, config, path);
            let kept = kept(&dir.join(INNER), "inner optimizer's state", load);
            Saving::Here(kept.unwrap_or_else(|| InnerOptimizer::new(model, config)))
        });
        Self { feedback, inner, train: train.clone(), dir: dir.to_path_buf() }
    }

    /// Trains on tokens (`[sequences, length + 1]`) for as long as `go_on` says so: before each micro-batch, or before each step of an inner
    /// loop, but the first. The model is as it was afterwards. `round` is the run's, counted from 0.
    ///
    /// # Errors
    /// No sequences, and losses that are not finite.
    pub fn learn(
        &mut self,
        model: &mut Llama,
        tokens: &Tensor,
        round: u64,
        go_on: impl FnMut() -> bool,
    ) -> Result<Learned, TrainError> {
        let micro_batch = self.train.micro_batch;
        let Some(inner) = &mut self.inner else {
            let step = train::local_step_while(model, tokens, micro_batch, go_on)?;
            let sequences = step.sequence_losses.len();
            return Ok(Learned { update: step.gradients, loss: step.loss, sequences });
        };
        let batch = micro_batch * self.train.batches;
        let steps = tokens.split(batch as i64, 0);
        let done = inner.here()?.run_while(model, &steps, micro_batch, round, go_on)?;
        let sequences = steps.iter().take(done.losses.len()).map(|step| step.size()[0] as usize).sum();
        Ok(Learned { loss: done.loss(), update: done.deltas, sequences })
    }

    /// Takes out what is to be sent.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn encode(&mut self, update: &[Tensor]) -> Result<Vec<SparseTensor>, NodeError> {
        Ok(self.feedback.here().map_err(NodeError::from)?.encode(update)?)
    }

    /// Begins to write both to disk, synced. What cannot be written is said and not fatal: a restart would begin from zero.
    pub fn save(&mut self) {
        let (feedback, inner) = (self.dir.join(FEEDBACK), self.dir.join(INNER));
        self.feedback.save("momentum", move |state| state.save(&feedback, &BTreeMap::new()));
        if let Some(state) = &mut self.inner {
            state.save("inner optimizer's state", move |state| state.save(&inner, &BTreeMap::new()));
        }
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        // A miner that ends in order leaves its last state.
        let _ = self.feedback.here();
        let _ = self.inner.as_mut().map(Saving::here);
    }
}

/// A state that is here, or with the thread that writes it to disk.
#[derive(Debug)]
enum Saving<T> {
    Here(T),
    Away(JoinHandle<T>),
    /// The thread ended without giving it back.
    Lost,
}

impl<T: Send + 'static> Saving<T> {
    /// The state; waits for the thread that has it.
    fn here(&mut self) -> Result<&mut T, TrainError> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Away(thread) => thread.join().map_or(Self::Lost, Self::Here),
            here => here,
        };
        match self {
            Self::Here(state) => Ok(state),
            _ => Err(TrainError::Lost),
        }
    }

    /// Hands it to a thread that writes it.
    fn save(
        &mut self,
        what: &'static str,
        write: impl FnOnce(&T) -> Result<(), ModelError> + Send + 'static,
    ) {
        let _ = self.here();
        if let Self::Here(state) = std::mem::replace(self, Self::Lost) {
            *self = Self::Away(std::thread::spawn(move || {
                if let Err(error) = write(&state) {
                    tracing::warn!(%error, "the {what} could not be saved; a restart would begin from zero");
                }
                state
            }));
        }
    }
}

const FEEDBACK: &str = "momentum.safetensors";
const INNER: &str = "inner.safetensors";

/// A state that is on disk; none, and a word, where it cannot be used.
fn kept<T>(
    path: &Path,
    what: &str,
    load: impl FnOnce(&Path) -> Result<(T, BTreeMap<String, String>), ModelError>,
) -> Option<T> {
    if !path.exists() {
        return None;
    }
    match load(path) {
        Ok((state, _)) => {
            tracing::info!("{what} taken up from disk");
            Some(state)
        }
        Err(error) => {
            tracing::warn!(%error, "the saved {what} is not used; starting from zero");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};
    use templar::{manifest::ManifestFile, model::parameter_shapes};

    #[test]
    fn a_restart_in_the_middle_changes_no_byte() {
        for preset in ["local", "local-sparseloco"] {
            let mut manifest = ManifestFile::preset(preset).unwrap().parsed;
            let model = &mut manifest.model;
            (model.hidden_size, model.intermediate_size, model.layers) = (32, 32, 1);
            (manifest.train.micro_batch, manifest.train.batches) = (2, 2);
            let mut model = Llama::new(&manifest.model, 1, Device::Cpu);
            let layout = Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, 2).unwrap();
            let count = manifest.train.sequences() as i64;
            tch::manual_seed(5);
            let windows = [0, 1].map(|_| Tensor::randint(256, [count, 17], (Kind::Int64, Device::Cpu)));
            let mut window = |learner: &mut Learner, round: usize| {
                let learned = learner.learn(&mut model, &windows[round], round as u64, || true).unwrap();
                assert_eq!(learned.sequences, count as usize);
                let sent = learner.encode(&learned.update).unwrap();
                learner.save();
                sent
            };
            let model = Llama::new(&manifest.model, 1, Device::Cpu);
            let [one, other] = [0, 1].map(|_| tempfile::tempdir().unwrap());
            let open = |dir: &tempfile::TempDir| Learner::open(dir.path(), &manifest.train, &model, &layout);
            let mut without = open(&one);
            let expected = [0, 1].map(|round| window(&mut without, round));
            let found = [0, 1].map(|round| window(&mut open(&other), round));
            assert_eq!(found, expected, "{preset}");
            let fresh = window(&mut open(&tempfile::tempdir().unwrap()), 1);
            assert_ne!(fresh, expected[1]);
        }
    }

    #[test]
    fn an_inner_loop_that_ends_early_claims_its_steps() {
        let mut manifest = ManifestFile::preset("local-sparseloco").unwrap().parsed;
        (manifest.model.hidden_size, manifest.model.intermediate_size, manifest.model.layers) = (32, 32, 1);
        (manifest.train.micro_batch, manifest.train.batches) = (2, 1);
        let mut model = Llama::new(&manifest.model, 1, Device::Cpu);
        let layout = Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, 2).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut learner = Learner::open(dir.path(), &manifest.train, &model, &layout);
        let tokens = Tensor::randint(256, [8, 17], (Kind::Int64, Device::Cpu));
        let mut asked = 0;
        let go_on = || {
            asked += 1;
            asked < 3
        };
        let learned = learner.learn(&mut model, &tokens, 0, go_on).unwrap();
        assert_eq!(learned.sequences, 6);
    }
}

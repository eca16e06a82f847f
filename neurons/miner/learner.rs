//! What a miner learns with, and what of it outlives a restart: what was not sent yet, and the inner loop's moments.

mod taken_up;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread::JoinHandle,
};
use tch::Tensor;
use templar::{
    codec::sketch,
    compress::ErrorFeedback,
    gradient::{Layout, SparseTensor},
    manifest::TrainConfig,
    model::{Llama, ModelError},
    node::NodeError,
    train::{self, Models, TrainError, inner::InnerOptimizer, sketches::sketched_step_while},
    window::Window,
};

/// Windows from one writing of the memory to the next. Written each window, 1.2 billion parameters would be 96 TB of writes in 20,000
/// windows.
const SAVE_EVERY: u64 = 16;

/// A miner's memory: no gradient counts twice, whenever the miner is killed.
///
/// What was encoded in a window is in flight until [`Self::settle`] hears what became of it. What was not published is put back, so that
/// it is sent later. Only then the memory may go to disk, with the window in its metadata: every [`SAVE_EVERY`] windows by a thread of its
/// own, beside the next window's training, and at an end in order. At such an end with something in flight, it is put back first, and
/// the metadata says that it may have been sent.
///
/// A memory from disk is therefore that of before everything that was sent after its window, and the node's own bucket says what that
/// was: [`Self::take_up`] takes each such object out of it. That costs no memory but one object's, no copy of it on disk, and no
/// guess. **What a kill costs**: what the gradients of the windows since the last writing held, as far as it was not sent; with that of
/// the window that was being worked on. It is never sent twice. Moments of an inner loop are those of the last writing.
#[derive(Debug)]
pub struct Learner {
    feedback: Saving<ErrorFeedback>,
    inner: Option<Saving<InnerOptimizer>>,
    train: TrainConfig,
    dir: PathBuf,
    /// What the memory from disk is, as long as it was not compared with the bucket.
    kept: Option<Kept>,
    /// What was encoded, and of which window, while nothing is known of its upload.
    flight: Option<(Window, Vec<SparseTensor>)>,
    /// The last window that was settled by this process.
    settled: Option<Window>,
    /// The window of what is on disk.
    saved: Option<Window>,
}

/// What a memory on disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// The last window whose gradient is in it.
    window: Window,
    /// Whether what was sent of that window is taken off, or, with what became of it unknown, still there.
    settled: bool,
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
    /// The sealed sketches of the gradients of the micro-batches; empty where the run asks for none.
    pub sketches: Vec<u8>,
}

impl Learner {
    /// Reads what an earlier run of this node kept in a folder; before it is used, [`Self::take_up`] must compare it with the bucket.
    pub fn open(dir: &Path, train: &TrainConfig, model: &Llama, layout: &Layout) -> Self {
        let loaded = kept(&dir.join(FEEDBACK), "momentum", |path| {
            let (state, metadata) = ErrorFeedback::load(layout, path)?;
            let kept = Kept::of(&metadata).ok_or_else(|| ModelError::Format {
                path: path.display().to_string(),
                problem: "it does not say of which window it is".to_owned(),
            })?;
            Ok((state, kept))
        });
        let (feedback, on_disk) = match loaded {
            Some((state, kept)) => (state, Some(kept)),
            None => (ErrorFeedback::new(layout), None),
        };
        let feedback = Saving::Here(feedback);
        let inner = train.inner.as_ref().map(|config| {
            let load = |path: &Path| InnerOptimizer::load(model, config, path);
            let kept = kept(&dir.join(INNER), "inner optimizer's state", load);
            Saving::Here(kept.map_or_else(|| InnerOptimizer::new(model, config), |(state, _)| state))
        });
        let saved = on_disk.map(|kept| kept.window);
        let (train, dir) = (train.clone(), dir.to_path_buf());
        Self { feedback, inner, train, dir, kept: on_disk, flight: None, settled: None, saved }
    }

    /// Trains on tokens (`[sequences, length + 1]`) for as long as `go_on` says so: before each micro-batch, or before each step of an inner
    /// loop, but the first. The first model is as it was afterwards. `round` is the run's, counted from 0; `sketch_seed` is given where the run
    /// asks for sketches.
    ///
    /// # Errors
    /// No sequences, and losses that are not finite.
    pub fn learn(
        &mut self,
        models: Models<'_>,
        tokens: &Tensor,
        round: u64,
        sketch_seed: Option<u64>,
        go_on: impl FnMut() -> bool,
    ) -> Result<Learned, TrainError> {
        let micro_batch = self.train.micro_batch;
        let Some(inner) = &mut self.inner else {
            let (step, sketches) = match sketch_seed {
                Some(seed) => {
                    let (step, all) = sketched_step_while(models, tokens, micro_batch, seed, go_on)?;
                    (step, all.iter().flat_map(|one| sketch::seal(one)).collect())
                }
                None => (train::local_step_while(models, tokens, micro_batch, go_on)?, Vec::new()),
            };
            let sequences = step.sequence_losses.len();
            return Ok(Learned { update: step.gradients, loss: step.loss, sequences, sketches });
        };
        let batch = micro_batch * self.train.batches;
        let steps = tokens.split(batch as i64, 0);
        let done = inner.here()?.run_while(models, &steps, micro_batch, round, go_on)?;
        let sequences = steps.iter().take(done.losses.len()).map(|step| step.size()[0] as usize).sum();
        Ok(Learned { loss: done.loss(), update: done.deltas, sequences, sketches: Vec::new() })
    }

    /// Takes out what is to be sent in a window. It is in flight then, and [`Self::settle`] has to hear what became of it; what was in
    /// flight before never left.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn encode(&mut self, window: Window, update: &[Tensor]) -> Result<Vec<SparseTensor>, NodeError> {
        self.put_back()?;
        let sent = self.feedback.here().map_err(NodeError::from)?.encode(update)?;
        self.flight = Some((window, sent.clone()));
        Ok(sent)
    }

    /// Hears whether what is in flight was published, puts it back where it was not, and begins to write the memory to disk where it is time
    /// for that. What cannot be written is said and not fatal.
    ///
    /// # Errors
    /// A memory that is lost.
    pub fn settle(&mut self, published: bool) -> Result<(), NodeError> {
        let Some(window) = self.flight.as_ref().map(|(window, _)| *window) else { return Ok(()) };
        if published {
            self.flight = None;
        }
        self.put_back()?;
        self.settled = Some(window);
        if self.saved.is_none_or(|saved| window >= saved + SAVE_EVERY) {
            self.save(Kept { window, settled: true });
        }
        Ok(())
    }

    fn put_back(&mut self) -> Result<(), NodeError> {
        if let Some((_, sent)) = self.flight.take() {
            self.feedback.here().map_err(NodeError::from)?.put_back(&sent)?;
        }
        Ok(())
    }

    /// Begins to write both to disk, synced, each whole or not at all.
    fn save(&mut self, kept: Kept) {
        let (feedback, inner, metadata) = (self.dir.join(FEEDBACK), self.dir.join(INNER), kept.metadata());
        let same = metadata.clone();
        self.feedback.save("momentum", move |state| state.save(&feedback, &same));
        if let Some(state) = &mut self.inner {
            state.save("inner optimizer's state", move |state| state.save(&inner, &metadata));
        }
        self.saved = Some(kept.window);
    }
}

impl Kept {
    fn metadata(self) -> BTreeMap<String, String> {
        let settled = if self.settled { "settled" } else { "in flight" };
        let entries = [(WINDOW, self.window.to_string()), (PHASE, settled.to_owned())];
        entries.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn of(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let window = metadata.get(WINDOW)?.parse().ok()?;
        let settled = match metadata.get(PHASE)?.as_str() {
            "settled" => true,
            "in flight" => false,
            _ => return None,
        };
        Some(Self { window, settled })
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        // A miner that ends in order leaves its last state. One that was not taken up yet is on disk as it was.
        let flight = self.flight.as_ref().map(|(window, _)| *window);
        let last = match flight {
            Some(window) => self.put_back().is_ok().then_some(Kept { window, settled: false }),
            None => self
                .settled
                .filter(|window| self.saved.is_none_or(|saved| saved < *window))
                .map(|window| Kept { window, settled: true }),
        };
        if let Some(last) = last {
            self.save(last);
        }
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
/// What their metadata says, beside the format.
const WINDOW: &str = "window";
const PHASE: &str = "phase";

/// A state that is on disk and what it says of itself; none, and a word, where it cannot be used.
fn kept<T, M>(
    path: &Path,
    what: &str,
    load: impl FnOnce(&Path) -> Result<(T, M), ModelError>,
) -> Option<(T, M)> {
    if !path.exists() {
        return None;
    }
    match load(path) {
        Ok(loaded) => {
            tracing::info!("{what} taken up from disk");
            Some(loaded)
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
                let learned =
                    learner.learn((&mut model).into(), &windows[round], round as u64, None, || true).unwrap();
                assert_eq!(learned.sequences, count as usize);
                let sent = learner.encode(round as u64, &learned.update).unwrap();
                learner.settle(true).unwrap();
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
        let learned = learner.learn((&mut model).into(), &tokens, 0, None, go_on).unwrap();
        assert_eq!(learned.sequences, 6);
    }
}

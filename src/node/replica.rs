//! The node's copy of the model, and where in the run it stands.

use super::NodeError;
use crate::{
    aggregate,
    codec::Rule,
    gradient::{Layout, PseudoGradient},
    manifest::Manifest,
    model::{Llama, parameter_shapes},
    round::{RoundRecord, SyncRecord},
    wallet::AccountId,
    window::Window,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    sync::Arc,
};
use tch::Device;

/// A model that moves in lock-step with the run.
#[derive(Debug)]
pub struct Replica {
    /// The model.
    pub model: Llama,
    /// The last window whose round was applied.
    pub window: Window,
    /// Steps taken.
    pub round: u64,
    /// Hash of the model, hex.
    pub hash: String,
    /// Whose pseudo-gradients the last step was made of; empty before the first step of this process.
    pub members: BTreeSet<AccountId>,
    /// The window of the last record that was applied, and whom it named.
    taken: Option<(Window, BTreeSet<AccountId>)>,
    layout: Arc<Layout>,
    manifest: Manifest,
}

impl Replica {
    /// The model before the first step of a run that starts at `start_window` (at least 1).
    pub fn initial(manifest: &Manifest, start_window: Window, device: Device) -> Result<Self, NodeError> {
        let model = Llama::new(&manifest.model, manifest.seed, device);
        let layout = Layout::new(
            &parameter_shapes(&manifest.model),
            &manifest.compress,
            manifest.gauntlet.sync_samples,
        )?;
        let hash = hex::encode(model.hash());
        let window = start_window.saturating_sub(1);
        let (members, manifest) = (BTreeSet::new(), manifest.clone());
        Ok(Self { model, window, round: 0, hash, members, taken: None, layout: Arc::new(layout), manifest })
    }

    /// How this model's pseudo-gradients are laid out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// [`Self::layout`], for work that goes on beside the model.
    pub(super) fn shared_layout(&self) -> Arc<Layout> {
        self.layout.clone()
    }

    /// The weights as a safetensors file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NodeError> {
        let file = temporary(&[])?;
        self.model.save(file.path(), &BTreeMap::new())?;
        std::fs::read(file.path()).map_err(|source| own_file(file.path(), source))
    }

    /// The most that a checkpoint of this model can have, in bytes: float32 weights and a header.
    pub fn max_checkpoint_bytes(&self) -> u64 {
        4 * self.layout.parameters() as u64 + (1 << 20)
    }

    /// What `hotkey` must show of the model it trains from in `window`.
    pub fn shown(&self, run: &[u8; 32], hotkey: &AccountId, window: Window) -> Vec<f32> {
        self.model.samples(run, hotkey, window, self.layout.samples_per_tensor())
    }

    /// The size of the last step; before the first one, of that one.
    pub fn last_step(&self) -> f64 {
        self.manifest.outer.step(self.round.saturating_sub(1))
    }

    /// What a model that is one step behind is off by, about: the last step's size, or, where the step is a mean of inner loops,
    /// their learning rate times that.
    pub fn sync_unit(&self) -> f64 {
        match (self.manifest.outer.rule, &self.manifest.train.inner) {
            (Rule::Mean, Some(inner)) => {
                let round = self.round.saturating_sub(1);
                self.last_step() * inner.rate(round.saturating_mul(inner.steps as u64))
            }
            _ => self.last_step(),
        }
    }

    /// The size of the next step.
    pub fn next_step(&self) -> f64 {
        self.manifest.outer.step(self.round)
    }

    /// Puts a checkpoint's weights in place, after checking them against their hash.
    pub fn load(&mut self, bytes: &[u8], window: Window, round: u64, hash: &str) -> Result<(), NodeError> {
        let file = temporary(bytes)?;
        let (model, _) = Llama::load(&self.manifest.model, file.path(), self.model.device())?;
        if hex::encode(model.hash()) != hash {
            return Err(NodeError::BadCheckpoint { window });
        }
        self.model = model;
        (self.window, self.round, self.hash) = (window, round, hash.to_owned());
        Ok(())
    }

    /// Checks that a record is the one that comes next for this model.
    pub fn check(&self, record: &RoundRecord) -> Result<(), NodeError> {
        if record.window != self.window + 1 || record.round != self.round {
            return Err(NodeError::OutOfOrder { window: record.window });
        }
        if record.model != self.hash {
            return Err(NodeError::Diverged {
                window: record.window,
                ours: self.hash.clone(),
                theirs: record.model.clone(),
            });
        }
        Ok(())
    }

    /// Takes the step of a record with its pseudo-gradients, in the record's order.
    pub fn apply(&mut self, record: &RoundRecord, payloads: &[Arc<PseudoGradient>]) -> Result<(), NodeError> {
        self.check(record)?;
        let named: BTreeSet<_> = record.accepted.iter().map(|accepted| accepted.hotkey.clone()).collect();
        if !payloads.is_empty() {
            let tensors: Vec<_> = payloads.iter().map(|p| p.tensors.as_slice()).collect();
            let rule = self.manifest.outer.rule;
            aggregate::step(rule, &tensors, &self.layout, self.model.parameters(), self.next_step())?;
            self.round += 1;
            self.members = named.clone();
            self.hash = hex::encode(self.model.hash());
        }
        self.window = record.window;
        self.taken = Some((record.window, named));
        Ok(())
    }

    /// Whom the record of a window named, if that window's was the last to be applied.
    pub fn taken(&self, window: Window) -> Option<&BTreeSet<AccountId>> {
        self.taken.as_ref().filter(|(last, _)| *last == window).map(|(_, named)| named)
    }

    /// What the node publishes of its state.
    pub fn sync_record(&self, run: &str) -> SyncRecord {
        SyncRecord { run: run.to_owned(), window: self.window, round: self.round, model: self.hash.clone() }
    }
}

/// A file that is gone when it is dropped.
pub(super) fn temporary(bytes: &[u8]) -> Result<tempfile::NamedTempFile, NodeError> {
    let folder = std::env::temp_dir();
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(|source| own_file(&folder, source))?;
    file.write_all(bytes).map_err(|source| own_file(file.path(), source))?;
    Ok(file)
}

fn own_file(path: &Path, source: std::io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}

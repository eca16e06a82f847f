//! The node's copy of the model, and where in the run it stands.

use super::NodeError;
use crate::{
    aggregate,
    checkpoint::{CheckpointError, Form},
    codec::Rule,
    gradient::{Layout, PseudoGradient},
    manifest::Manifest,
    model::{Lender, Lent, Llama, parameter_shapes},
    round::{CheckpointRecord, RoundRecord, SyncRecord},
    wallet::AccountId,
    window::Window,
};
use std::{collections::BTreeSet, path::Path, sync::Arc};
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
    /// The run's first window.
    start_window: Window,
    layout: Arc<Layout>,
    lender: Lender,
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
        let (layout, lender, taken) = (Arc::new(layout), Lender::default(), None);
        Ok(Self { model, window, round: 0, hash, members, taken, start_window, layout, lender, manifest })
    }

    /// How this model's pseudo-gradients are laid out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// [`Self::layout`], for work that goes on beside the model.
    pub(super) fn shared_layout(&self) -> Arc<Layout> {
        self.layout.clone()
    }

    /// The weights where they lie, for a reader beside the node's work: the next step waits until they are given back.
    pub fn lend(&mut self) -> Lent {
        self.lender.lend(&self.model)
    }

    /// Waits until no reader has the weights.
    fn take_back(&mut self) {
        let seconds = self.lender.wait().as_secs_f64();
        if seconds > 0.01 {
            tracing::info!(seconds, "waited until the checkpoint was on disk");
        }
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

    /// Puts a checkpoint's weights in place, file by file. If they are not the model that the record names, the replica is back at the
    /// start of the run: it is never half one model and half another.
    pub fn load(
        &mut self,
        form: &Form,
        folder: &Path,
        record: &CheckpointRecord,
    ) -> Result<(), CheckpointError> {
        self.take_back();
        self.members.clear();
        self.taken = None;
        let window = record.window;
        let read = form.read_into(folder, &mut self.model).map_err(CheckpointError::from);
        let read = read.and_then(|()| match hex::encode(self.model.hash()) {
            hash if hash == record.model => Ok(()),
            _ => Err(CheckpointError::OtherModel { window }),
        });
        match read {
            Ok(()) => (self.window, self.round, self.hash) = (window, record.round, record.model.clone()),
            Err(_) => self.reset(),
        }
        read
    }

    /// Goes back to the model before the run's first step.
    pub fn reset(&mut self) {
        self.take_back();
        let device = self.model.device();
        self.model.take(&Llama::new(&self.manifest.model, self.manifest.seed, device));
        (self.window, self.round) = (self.start_window.saturating_sub(1), 0);
        self.hash = hex::encode(self.model.hash());
        self.members.clear();
        self.taken = None;
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
            self.take_back();
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

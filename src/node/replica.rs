//! The node's copy of the model, and where in the run it stands.

use super::NodeError;
use crate::{
    aggregate,
    checkpoint::{CheckpointError, Form},
    codec::Rule,
    gradient::{Audited, Layout, PseudoGradient},
    manifest::Manifest,
    model::{Lender, Lent, Llama, Snapshot, parameter_shapes},
    round::{CheckpointRecord, RoundRecord, SignedRound, SyncRecord},
    succession::Passed,
    wallet::AccountId,
    window::Window,
};
use std::{collections::BTreeSet, path::Path, sync::Arc};
use tch::Device;

/// A record that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its window.
    pub window: Window,
    /// Its hash.
    pub hash: String,
    /// Whom it named.
    pub named: BTreeSet<AccountId>,
    /// Who had missed a turn by then.
    pub passed: Passed,
    /// Null windows in a row up to its own, which is one of them if the record says so.
    pub nulls: u64,
    /// When it was published, by the store's date in seconds, if that is known.
    pub said_s: Option<u64>,
}

/// The state before the last record.
#[derive(Debug)]
struct Before {
    weights: Option<Snapshot>,
    window: Window,
    recorded: Window,
    round: u64,
    hash: String,
    members: BTreeSet<AccountId>,
    last: Option<Last>,
}

/// A model that moves in lock-step with the run.
#[derive(Debug)]
pub struct Replica {
    /// The model.
    pub model: Llama,
    /// The last window that was applied, with its record or as a null one.
    pub window: Window,
    /// Steps taken.
    pub round: u64,
    /// Hash of the model, hex.
    pub hash: String,
    /// Whose pseudo-gradients the last step was made of; empty before the first step of this process.
    pub members: BTreeSet<AccountId>,
    /// The last record that was applied; none before the first one of this process.
    last: Option<Last>,
    /// The window of the last record or checkpoint; the windows after it, up to [`Self::window`], had none.
    recorded: Window,
    /// What one step back needs; where [`Self::keep_a_step`] said so.
    before: Option<Before>,
    keeps_a_step: bool,
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
        let layout = match manifest.declared_batches() {
            Some(most) => layout.with_sketches(Audited { micro_batch: manifest.train.micro_batch, most }),
            None => layout,
        };
        let hash = hex::encode(model.hash());
        let window = start_window.saturating_sub(1);
        let (members, manifest) = (BTreeSet::new(), manifest.clone());
        let (layout, lender) = (Arc::new(layout), Lender::default());
        let (last, before, keeps_a_step) = (None, None, false);
        Ok(Self {
            model,
            window,
            round: 0,
            hash,
            members,
            last,
            recorded: window,
            before,
            keeps_a_step,
            start_window,
            layout,
            lender,
            manifest,
        })
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
        self.forget();
        let window = record.window;
        let read = form.read_into(folder, &mut self.model).map_err(CheckpointError::from);
        let read = read.and_then(|()| match hex::encode(self.model.hash()) {
            hash if hash == record.model => Ok(()),
            _ => Err(CheckpointError::OtherModel { window }),
        });
        match read {
            Ok(()) => {
                (self.window, self.recorded) = (window, window);
                (self.round, self.hash) = (record.round, record.model.clone());
            }
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
        self.recorded = self.window;
        self.hash = hex::encode(self.model.hash());
        self.forget();
    }

    /// Nothing is known of records before.
    fn forget(&mut self) {
        self.members.clear();
        (self.last, self.before) = (None, None);
    }

    /// Whether to keep, from the next step on, what one step back needs: the weights before it, once more in memory. Only where more
    /// than one validator can decide a window is there ever a reason to go back.
    pub fn keep_a_step(&mut self, keep: bool) {
        self.keeps_a_step = keep;
        if !keep {
            self.before = None;
        }
    }

    /// Checks that a record is one that comes next for this model. Windows between the last one and its own are null then.
    ///
    /// # Errors
    /// [`NodeError::OutOfOrder`] for a window that was applied already, or another count of steps; [`NodeError::Diverged`] for another
    /// model.
    pub fn check(&self, record: &RoundRecord) -> Result<(), NodeError> {
        if record.window <= self.window || record.round != self.round {
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

    /// Takes the step of a record with its pseudo-gradients, in the record's order. `said_s` is when it was published, if that is
    /// known.
    ///
    /// # Errors
    /// Those of [`Self::check`] and of aggregating; then no step was taken.
    pub fn apply(
        &mut self,
        signed: &SignedRound,
        payloads: &[Arc<PseudoGradient>],
        said_s: Option<u64>,
    ) -> Result<(), NodeError> {
        let record = &signed.record;
        self.check(record)?;
        let named: BTreeSet<_> = record.accepted.iter().map(|accepted| accepted.hotkey.clone()).collect();
        let null = record.null.is_some();
        let steps = !payloads.is_empty() && !null;
        let before = self.keeps_a_step.then(|| Before {
            weights: steps.then(|| self.model.snapshot()),
            window: self.window,
            recorded: self.recorded,
            round: self.round,
            hash: self.hash.clone(),
            members: self.members.clone(),
            last: self.last.clone(),
        });
        if steps {
            self.take_back();
            let tensors: Vec<_> = payloads.iter().map(|p| p.tensors.as_slice()).collect();
            let rule = self.manifest.outer.rule;
            aggregate::step(rule, &tensors, &self.layout, self.model.parameters(), self.next_step())?;
            self.round += 1;
            self.members = named.clone();
            self.hash = hex::encode(self.model.hash());
        }
        let gap = record.window - self.recorded - 1;
        let nulls = if null { self.nulls() + gap + 1 } else { 0 };
        self.before = before;
        (self.window, self.recorded) = (record.window, record.window);
        let (window, hash, passed) = (record.window, signed.hash.clone(), record.passed.clone());
        self.last = Some(Last { window, hash, named, passed, nulls, said_s });
        Ok(())
    }

    /// Learns which record led to this model, where it came from a checkpoint: whether it is this one. The windows after it, up to
    /// the checkpoint's, had none.
    pub fn recall(&mut self, signed: &SignedRound) -> bool {
        let record = &signed.record;
        let stepped = u64::from(!record.accepted.is_empty() && record.null.is_none());
        if self.last.is_some() || record.window > self.window || record.round + stepped != self.round {
            return false;
        }
        let named = record.accepted.iter().map(|accepted| accepted.hotkey.clone()).collect();
        let (window, hash, passed) = (record.window, signed.hash.clone(), record.passed.clone());
        let nulls = u64::from(record.null.is_some());
        self.last = Some(Last { window, hash, named, passed, nulls, said_s: None });
        self.recorded = window;
        true
    }

    /// Passes over windows up to this one, which nobody has decided: there is no step.
    pub fn skip_to(&mut self, window: Window) {
        self.window = self.window.max(window);
    }

    /// Windows at the end that were passed over without a record.
    pub fn skipped(&self) -> u64 {
        self.window - self.recorded
    }

    /// Null windows in a row at the end, with a record or without.
    pub fn nulls_in_a_row(&self) -> u64 {
        self.nulls() + self.skipped()
    }

    fn nulls(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.nulls)
    }

    /// Takes back that windows without a record were passed over: there may be one after all.
    pub fn unskip(&mut self) {
        self.window = self.recorded;
    }

    /// Whether a record could stand in the place of the last one that was applied.
    pub fn could_replace(&self, record: &RoundRecord) -> bool {
        self.before.as_ref().is_some_and(|before| {
            record.window > before.window && (record.round, &record.model) == (before.round, &before.hash)
        })
    }

    /// Takes back the last record, with the windows that were passed over since, bit for bit. Returns false where nothing is kept.
    pub fn go_back(&mut self) -> bool {
        let Some(before) = self.before.take() else { return false };
        if let Some(weights) = &before.weights {
            self.take_back();
            self.model.restore(weights);
        }
        let Before { window, recorded, round, hash, members, last, .. } = before;
        (self.window, self.recorded) = (window, recorded);
        (self.round, self.hash) = (round, hash);
        (self.members, self.last) = (members, last);
        true
    }

    /// The windows whose records may have led to this model and are not known: none where one is.
    pub(super) fn unrecalled(&self) -> std::ops::RangeInclusive<Window> {
        let first = if self.last.is_some() { self.window + 1 } else { self.start_window };
        first..=self.window
    }

    /// The last record that was applied.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// Who had missed a turn before the last window, by what is known: what its turns follow from.
    pub fn passed_before(&self) -> Passed {
        let last = match (&self.before, self.skipped()) {
            (Some(before), 0) => before.last.as_ref(),
            _ => self.last.as_ref(),
        };
        last.map(|last| last.passed.clone()).unwrap_or_default()
    }

    /// The record of a window, if it was the last to be applied.
    pub fn taken(&self, window: Window) -> Option<&Last> {
        self.last.as_ref().filter(|last| last.window == window)
    }

    /// What the node publishes of its state.
    pub fn sync_record(&self, run: &str) -> SyncRecord {
        SyncRecord { run: run.to_owned(), window: self.window, round: self.round, model: self.hash.clone() }
    }
}

//! What judging looks at: the run, the peers, the model and the text.

use super::{Assignments, Directory, Identity, NodeError, Replica, gather::Spool};
use crate::{
    codec::Rule,
    data::{self, Sequences},
    wallet::AccountId,
    window::{Uid, Window},
};
use tch::{Device, Tensor};

/// A node's view of its run, borrowed for one piece of work. A validator's and an auditor's are of one kind, so
/// both judge with the same code.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Who looks, and at which run.
    pub identity: &'a Identity,
    /// The peers and their buckets.
    pub directory: &'a Directory,
    /// The model that the window's peers trained from.
    pub replica: &'a Replica,
    /// The run's text.
    pub corpus: &'a Sequences,
    /// Who trains on what.
    pub assignments: &'a Assignments,
    /// What computes.
    pub device: Device,
    /// Where what the peers sent is kept.
    pub spool: &'a Spool,
}

impl View<'_> {
    /// What the run makes of its peers.
    pub fn rule(&self) -> Rule {
        self.identity.manifest.parsed.outer.rule
    }

    /// The tokens of sequences, `[sequences, length + 1]`, on the node's device.
    ///
    /// # Errors
    /// [`NodeError::Data`] if the text does not hold one of them, or it cannot be had.
    pub fn tokens(&self, sequences: &[u64]) -> Result<Tensor, NodeError> {
        let tokens = self.corpus.batch(sequences)?;
        let shape = [sequences.len() as i64, self.corpus.seq_len() as i64 + 1];
        Ok(Tensor::from_slice(&tokens).reshape(shape).to_device(self.device))
    }

    /// The sequences that a window assigns to a hotkey, in their order: it trains on the first so many of them.
    ///
    /// # Errors
    /// [`NodeError::NotRegistered`] for a hotkey without a UID, [`NodeError::NoSeed`] for a window whose seed is not known.
    pub fn assigned(&self, hotkey: &AccountId, window: Window) -> Result<Vec<u64>, NodeError> {
        let neuron = self.directory.metagraph.neuron(hotkey);
        let netuid = self.identity.netuid;
        let neuron = neuron.ok_or_else(|| NodeError::NotRegistered { hotkey: hotkey.clone(), netuid })?;
        self.part(neuron.uid, hotkey.as_ref(), window)
    }

    /// [`Self::assigned`], of a hotkey under a UID.
    ///
    /// # Errors
    /// [`NodeError::NoSeed`].
    pub fn part(&self, uid: Uid, hotkey: &[u8; 32], window: Window) -> Result<Vec<u64>, NodeError> {
        self.assignments.of(self.identity, self.corpus, uid, hotkey, window)
    }

    /// Says that the sequences of some peers will soon be asked for, so that they are fetched ahead where the text is elsewhere.
    pub fn expect<'b>(&self, hotkeys: impl IntoIterator<Item = &'b AccountId>, window: Window) {
        let parts = hotkeys.into_iter().filter_map(|hotkey| self.assigned(hotkey, window).ok());
        let wanted: Vec<u64> = parts.flatten().collect();
        self.corpus.expect(&wanted);
    }

    /// The sequences that a hotkey says to have trained on: the first `count` that the window assigns to it.
    ///
    /// # Errors
    /// A count of 0, or of more than the window assigns; in words.
    pub fn claimed(&self, hotkey: &AccountId, window: Window, count: u64) -> Result<Vec<u64>, String> {
        let mut assigned = self.assigned(hotkey, window).map_err(|e| e.to_string())?;
        let most = assigned.len() as u64;
        if !(1..=most).contains(&count) {
            return Err(format!(
                "it claims to have trained on {count} sequences; the window assigns 1 to {most}"
            ));
        }
        assigned.truncate(count as usize);
        Ok(assigned)
    }

    /// The digest of sequences as a pseudo-gradient carries it.
    ///
    /// # Errors
    /// Those of [`Self::tokens`].
    pub fn sample_digest(&self, sequences: &[u64]) -> Result<String, NodeError> {
        let ids: Result<Vec<u64>, _> = sequences.iter().map(|index| self.corpus.sample_id(*index)).collect();
        Ok(data::sample_digest(&ids?))
    }
}

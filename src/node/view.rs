//! What judging looks at: the run, the peers, the model and the text.

use super::{Directory, Identity, NodeError, Replica};
use crate::{
    codec::Rule,
    data::{self, Sequences},
    window::Window,
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
    /// What computes.
    pub device: Device,
}

impl View<'_> {
    /// What the run makes of its peers.
    pub fn rule(&self) -> Rule {
        self.identity.manifest.parsed.outer.rule
    }

    /// The tokens of sequences, `[sequences, length + 1]`, on the node's device.
    ///
    /// # Errors
    /// [`NodeError::NoSequence`] if the text does not hold one of them.
    pub fn tokens(&self, sequences: &[u64]) -> Result<Tensor, NodeError> {
        let Some(tokens) = self.corpus.batch(sequences) else {
            let index = sequences.iter().copied().max().unwrap_or_default();
            return Err(NodeError::NoSequence { index });
        };
        let shape = [sequences.len() as i64, self.corpus.seq_len() as i64 + 1];
        Ok(Tensor::from_slice(&tokens).reshape(shape).to_device(self.device))
    }

    /// The sequences that a window assigns to a hotkey, in their order: it trains on the first so many of them.
    pub fn assigned(&self, hotkey: &[u8; 32], window: Window) -> Vec<u64> {
        let count = self.identity.manifest.parsed.train.most_sequences();
        data::assigned(&self.identity.manifest.hash(), hotkey, window, count, self.corpus.training())
    }

    /// The sequences that a hotkey says to have trained on: the first `count` that the window assigns to it.
    ///
    /// # Errors
    /// A count of 0, or of more than the window assigns; in words.
    pub fn claimed(&self, hotkey: &[u8; 32], window: Window, count: u64) -> Result<Vec<u64>, String> {
        let mut assigned = self.assigned(hotkey, window);
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
    pub fn sample_digest(&self, sequences: &[u64]) -> String {
        let ids: Vec<u64> = sequences.iter().filter_map(|index| self.corpus.sample_id(*index)).collect();
        data::sample_digest(&ids)
    }
}

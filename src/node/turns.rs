//! Whose turn it is: the [succession](crate::succession) of a window, as the chain has it.

use super::{BucketCache, Clock, Directory, Identity, NodeError};
use crate::{
    bucket::Store,
    chain::ChainError,
    succession::{self, Passed, Rules},
    wallet::AccountId,
    window::{Block, Window},
};
use std::{collections::BTreeMap, sync::Arc};

/// Epochs whose order is kept.
const KEPT: usize = 4;

/// One validator's turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Whose.
    pub hotkey: AccountId,
    /// Its bucket.
    pub store: Arc<dyn Store>,
    /// The block that ends it.
    pub last_block: Block,
    /// That block's time, milliseconds since the Unix epoch, once it is there.
    pub end_ms: Option<u64>,
}

impl Turn {
    /// Whether nothing that is published at this time would count.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.end_ms.is_some_and(|end| now_ms >= succession::over_ms(end))
    }
}

/// The turns of one window that is not settled yet.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    /// The window.
    pub window: Window,
    /// By rank.
    pub turns: Vec<Turn>,
    /// The time at which this was asked, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Turns {
    /// Whether the last turn is over: what is not published by now never counts.
    pub fn are_over(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.is_over(self.now_ms))
    }

    /// The rank of a validator.
    pub fn rank(&self, hotkey: &AccountId) -> Option<usize> {
        self.turns.iter().position(|turn| turn.hotkey == *hotkey)
    }

    /// Whether a validator may decide now: its own turn is not over, and those before it are.
    pub fn may_decide(&self, hotkey: &AccountId) -> bool {
        self.rank(hotkey).is_some_and(|rank| {
            let before = rank.checked_sub(1).and_then(|rank| self.turns.get(rank));
            before.is_none_or(|turn| turn.is_over(self.now_ms)) && self.turns[rank].end_ms.is_none()
        })
    }

    /// Those who have a turn, in their order.
    pub fn order(&self) -> Vec<AccountId> {
        self.turns.iter().map(|turn| turn.hotkey.clone()).collect()
    }
}

/// The orders of recent epochs.
#[derive(Debug, Clone, Default)]
pub struct Orders(BTreeMap<Block, Vec<AccountId>>);

impl Orders {
    /// The turns of a window. The order is that of the epoch in which the window began; where the chain does not know that state any
    /// more, or nobody served the run by then, that of today.
    ///
    /// # Errors
    /// What the chain says.
    pub async fn turns(
        &mut self,
        identity: &Identity,
        directory: &Directory,
        buckets: &mut BucketCache,
        clock: &Clock,
        passed: &Passed,
        window: Window,
    ) -> Result<Turns, NodeError> {
        let manifest = &identity.manifest.parsed;
        let schedule = manifest.schedule();
        let rules = Rules::new(&manifest.succession, &schedule);
        let tempo = directory.metagraph.tempo;
        let epoch = succession::epoch_start(schedule.first_block(window), identity.netuid, tempo);
        let mut by_stake = match self.0.get(&epoch) {
            Some(order) => order.clone(),
            None => order_at(identity, buckets, epoch).await?,
        };
        self.0.insert(epoch, by_stake.clone());
        while self.0.len() > KEPT {
            self.0.pop_first();
        }
        if by_stake.is_empty() {
            let today = directory.validators(&identity.manifest.hash());
            by_stake = today.into_iter().map(|(hotkey, _)| hotkey).collect();
        }
        // Who has no bucket any more has no turn.
        by_stake.retain(|hotkey| directory.store(hotkey).is_some());
        let block = clock.block();
        let mut turns = Vec::new();
        for (rank, hotkey) in rules.order(&by_stake, passed, window).into_iter().enumerate() {
            let Some(store) = directory.store(&hotkey).cloned() else { continue };
            let last_block = rules.last_block(&schedule, window, rank);
            let end_ms = match last_block <= block {
                true => Some(identity.chain.timestamp_ms(last_block).await?),
                false => None,
            };
            turns.push(Turn { hotkey, store, last_block, end_ms });
        }
        Ok(Turns { window, turns, now_ms: clock.now_ms() })
    }
}

/// The run's validators by stake at a block; none where the chain does not know.
async fn order_at(
    identity: &Identity,
    buckets: &mut BucketCache,
    block: Block,
) -> Result<Vec<AccountId>, NodeError> {
    let chain = identity.chain.as_ref();
    match Directory::read_at(chain, identity.netuid, Some(block), buckets).await {
        Ok(directory) => {
            let validators = directory.validators(&identity.manifest.hash());
            Ok(validators.into_iter().map(|(hotkey, _)| hotkey).collect())
        }
        Err(NodeError::Chain(
            error @ (ChainError::Pruned { .. }
            | ChainError::NoSuchBlock { .. }
            | ChainError::NoSuchSubnet { .. }
            | ChainError::Missing { .. }
            | ChainError::Decode { .. }),
        )) => {
            tracing::debug!(block, %error, "the order of succession is that of today");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

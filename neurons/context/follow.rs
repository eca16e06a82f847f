//! Following the run: the rounds as they are published, and starting over where the model is not the run's.

use super::{NodeContext, POLL, ROUND_POLL, SOON};
use std::time::Instant;
use templar::{
    node::{self, FollowOutcome, Following, NodeError, Prefetched},
    round::RoundRecord,
    wallet::AccountId,
    window::Window,
};

/// Times that a validator starts over before it gives up: each validator whose records were not the run's costs one.
const FRESH_STARTS: u32 = 16;

/// Why following has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// The model is the one after the window that was asked for.
    Reached,
    /// This node leads, and the next round is its own to decide.
    Leads,
}

impl NodeContext {
    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.directory.leader().is_some_and(|neuron| neuron.hotkey == self.identity.account())
    }

    /// Waits for the leader's rounds up to `target`, applies them and publishes where the model stands. What is `here` already
    /// is not downloaded.
    pub async fn follow_to(&mut self, target: Window, here: &Prefetched) -> Result<(), NodeError> {
        while self.follow(target, here, false).await? != Followed::Reached {}
        Ok(())
    }

    /// The same for a validator, which may come to lead while it waits.
    pub async fn follow_or_lead(&mut self, target: Window, here: &Prefetched) -> Result<Followed, NodeError> {
        self.follow(target, here, true).await
    }

    async fn follow(
        &mut self,
        target: Window,
        here: &Prefetched,
        may_lead: bool,
    ) -> Result<Followed, NodeError> {
        let started = Instant::now();
        loop {
            let before = self.replica.window;
            match self.follow_once(target, here).await {
                Ok(FollowOutcome::Reached) => {
                    if self.replica.window != before {
                        self.publish_sync().await;
                    }
                    return Ok(Followed::Reached);
                }
                // Whoever leads decides on the model of the window before, and on no other.
                Ok(FollowOutcome::Waiting(window)) if may_lead && window == target && self.leads() => {
                    return Ok(Followed::Leads);
                }
                Ok(FollowOutcome::Waiting(_)) => {}
                Err(error @ NodeError::Diverged { .. }) => self.start_over(&error).await?,
                Err(error @ (NodeError::OtherRun { .. } | NodeError::OutOfOrder { .. })) => {
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "the round could not be fetched; trying again"),
            }
            let soon = started.elapsed() < SOON;
            tokio::time::sleep(if soon { ROUND_POLL } else { POLL }).await;
            self.refresh().await;
        }
    }

    /// Applies the rounds up to `target` that are published.
    ///
    /// # Errors
    /// Those of [`node::follow_with`].
    pub async fn follow_once(
        &mut self,
        target: Window,
        here: &Prefetched,
    ) -> Result<FollowOutcome, NodeError> {
        // Of the window that was the last to end the leader may be about to decide.
        let deciding = Some(self.clock.window().saturating_sub(1));
        let following = Following {
            here: here.clone(),
            mirrors: self.mirrors.clone(),
            deciding,
            applied: self.applied.as_deref(),
        };
        node::follow_with(&self.identity, &self.directory, &mut self.replica, &following, target).await
    }

    /// [`Self::follow_once`], which starts over where what others said was not the run's.
    ///
    /// # Errors
    /// Those of [`node::follow_with`]; [`NodeError::Diverged`] where starting over does not help.
    pub async fn catch_up(&mut self, target: Window, here: &Prefetched) -> Result<FollowOutcome, NodeError> {
        for _ in 0..FRESH_STARTS {
            match self.follow_once(target, here).await {
                Err(error @ NodeError::Diverged { .. }) => self.start_over(&error).await?,
                other => return other,
            }
        }
        self.follow_once(target, here).await
    }

    /// Takes the step of a record as if the leader had published it.
    ///
    /// # Errors
    /// Those of [`node::take_round`].
    pub async fn take_round(
        &mut self,
        by: &AccountId,
        record: RoundRecord,
        here: &Prefetched,
    ) -> Result<(), NodeError> {
        let following = Following {
            here: here.clone(),
            mirrors: self.mirrors.clone(),
            deciding: None,
            applied: self.applied.as_deref(),
        };
        node::take_round(&self.identity, &self.directory, &mut self.replica, &following, by, record).await
    }

    async fn start_over(&mut self, error: &NodeError) -> Result<(), NodeError> {
        tracing::warn!(%error, "starting over");
        tokio::task::block_in_place(|| self.replica.reset());
        // What this node wrote itself may be what is wrong.
        self.restore(false).await
    }
}

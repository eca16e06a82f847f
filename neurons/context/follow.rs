//! Following the run: the rounds as they are decided, and starting over where the model is not the run's.

use super::{NodeContext, POLL, ROUND_POLL, SOON};
use templar::{
    chain::ChainError,
    node::{self, FollowOutcome, Following, NodeError, Prefetched, Turns},
    succession::Rules,
    window::Window,
};
use tokio::time::Instant;

/// Times that a validator starts over before it gives up: each validator whose records were not the run's costs one.
const FRESH_STARTS: u32 = 16;
/// Blocks of which it can be told when they came: public endpoints keep the states of 256.
const RECENT_BLOCKS: u64 = 200;
/// Blocks after the last turn until its window counts as settled: by then whatever was published in time can be read.
const SETTLED: u64 = 2;

/// Why following has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// The model is the one after the window that was asked for.
    Reached,
    /// It is this validator's turn to decide the window.
    Decides,
}

impl NodeContext {
    /// Waits for the rounds up to `target`, applies them and publishes where the model stands. What is `here` already
    /// is not downloaded.
    pub async fn follow_to(&mut self, target: Window, here: &Prefetched) -> Result<(), NodeError> {
        while self.follow(target, here, false).await? != Followed::Reached {}
        Ok(())
    }

    /// The same for a validator, whose turn it may come to be while it waits.
    pub async fn follow_or_decide(
        &mut self,
        target: Window,
        here: &Prefetched,
    ) -> Result<Followed, NodeError> {
        self.follow(target, here, true).await
    }

    async fn follow(
        &mut self,
        target: Window,
        here: &Prefetched,
        may_decide: bool,
    ) -> Result<Followed, NodeError> {
        let (started, me) = (Instant::now(), self.identity.account());
        loop {
            let before = self.replica.window;
            match self.follow_once(target, here).await {
                Ok((FollowOutcome::Reached, _)) => {
                    if self.replica.window != before {
                        self.publish_sync().await;
                    }
                    return Ok(Followed::Reached);
                }
                // Whoever decides does so on the model of the window before, and on no other.
                Ok((FollowOutcome::Waiting(window), turns))
                    if may_decide && window == target && turns.may_decide(&me) =>
                {
                    return Ok(Followed::Decides);
                }
                Ok((FollowOutcome::Waiting(_), _)) => {}
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

    /// Applies the rounds up to `target` that are decided. Gives the turns of the window that it waits for, if it waits.
    ///
    /// # Errors
    /// Those of [`node::follow_with`], and of asking the chain.
    pub async fn follow_once(
        &mut self,
        target: Window,
        here: &Prefetched,
    ) -> Result<(FollowOutcome, Turns), NodeError> {
        loop {
            let next = self.replica.window + 1;
            let live = self.first_unsettled(next);
            // Of windows that are over not so long ago it can be told whose record came in time: one that came too late may still lie where
            // its author left it.
            let tellable = next + RECENT_BLOCKS / self.schedule.blocks_per_window >= live;
            // Who has missed a turn is known once the windows before are applied.
            let settled = Turns { window: live, ..Turns::default() };
            let turns = match (tellable && next <= target).then_some(next) {
                Some(window) => match self.turns(window).await {
                    Err(NodeError::Chain(ChainError::Pruned { .. })) if window < live => settled,
                    turns => turns?,
                },
                None => settled,
            };
            if next == live && next <= target && self.reconsidered < next - 1 {
                // By another record the order of the next window is another.
                if self.reconsider(next - 1, here).await? {
                    continue;
                }
            }
            let following = Following {
                here: here.clone(),
                mirrors: self.mirrors.clone(),
                turns: Some(turns.clone()),
                applied: self.applied.as_deref(),
            };
            let (identity, directory) = (&self.identity, &self.directory);
            let outcome =
                node::follow_with(identity, directory, &mut self.replica, &following, target).await?;
            if outcome == FollowOutcome::Reached || self.replica.window < next {
                return Ok((outcome, turns));
            }
        }
    }

    /// Looks once more at the window before the one that is waited for, once its turns are over.
    async fn reconsider(&mut self, window: Window, here: &Prefetched) -> Result<bool, NodeError> {
        let passed = self.replica.passed_before();
        let Self { orders, identity, directory, buckets, clock, .. } = self;
        let turns = match orders.turns(identity, directory, buckets, clock, &passed, window).await {
            // Windows can be longer than the endpoint remembers: then there is no second look, and the chain of records decides.
            Err(NodeError::Chain(ChainError::Pruned { .. })) => {
                self.reconsidered = window;
                return Ok(false);
            }
            turns => turns?,
        };
        if !turns.are_over() {
            return Ok(false);
        }
        let following = Following {
            here: here.clone(),
            mirrors: self.mirrors.clone(),
            turns: None,
            applied: self.applied.as_deref(),
        };
        let (identity, directory) = (&self.identity, &self.directory);
        let other = node::reconsider(identity, directory, &mut self.replica, &following, &turns).await?;
        self.reconsidered = window;
        Ok(other)
    }

    /// The first window, from this one on, whose turns may not be over.
    fn first_unsettled(&self, from: Window) -> Window {
        let (schedule, block) = (self.schedule, self.clock.block());
        let rules = Rules::new(&self.identity.manifest.parsed.succession, &schedule);
        let settled = |window| {
            rules.last_block(&schedule, window, rules.ranks.saturating_sub(1)).saturating_add(SETTLED) < block
        };
        let mut window = from;
        // What lies far behind is settled for sure.
        let far = (rules.first + rules.next.saturating_mul(rules.ranks as u64) + SETTLED)
            / schedule.blocks_per_window
            + 2;
        window = window.max(schedule.window_of(block).saturating_sub(far));
        while settled(window) {
            window += 1;
        }
        window
    }

    /// Whose turn it is in a window.
    ///
    /// # Errors
    /// What the chain says.
    pub async fn turns(&mut self, window: Window) -> Result<Turns, NodeError> {
        let passed = self.replica.last().map(|last| last.passed.clone()).unwrap_or_default();
        let Self { orders, identity, directory, buckets, clock, .. } = self;
        let turns = orders.turns(identity, directory, buckets, clock, &passed, window).await?;
        self.replica.keep_a_step(turns.turns.len() > 1);
        Ok(turns)
    }

    /// [`Self::follow_once`], which starts over where what others said was not the run's.
    ///
    /// # Errors
    /// Those of [`node::follow_with`]; [`NodeError::Diverged`] where starting over does not help.
    pub async fn catch_up(&mut self, target: Window, here: &Prefetched) -> Result<FollowOutcome, NodeError> {
        for _ in 0..FRESH_STARTS {
            match self.follow_once(target, here).await {
                Err(error @ NodeError::Diverged { .. }) => self.start_over(&error).await?,
                other => return other.map(|(outcome, _)| outcome),
            }
        }
        self.follow_once(target, here).await.map(|(outcome, _)| outcome)
    }

    async fn start_over(&mut self, error: &NodeError) -> Result<(), NodeError> {
        tracing::warn!(%error, "starting over");
        node::heavy(|| self.replica.reset());
        // What this node wrote itself may be what is wrong.
        self.restore(false).await
    }
}

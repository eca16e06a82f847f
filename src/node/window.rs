//! One window, from the objects that were gathered to the scores: the steps, in order, that the validator and the audit
//! both take.

use super::{Clock, NodeError, View, clock::until_final, gather::Gathered, judge::Judge, time::heavy};
use crate::{
    chain::Chain,
    gauntlet::{Evidence, Gauntlet, GauntletError, ScoreRecord, overlap, proof::Claim},
    manifest::Manifest,
    wallet::AccountId,
    window::{Block, PutWindow, Schedule, Window},
};
use std::collections::{BTreeMap, BTreeSet};

/// The blocks of a window that decide something. All are final when they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecidingBlocks {
    /// The first block of the window itself. It draws what is compared of large models and decides ties of the round, which comes
    /// right after the put window and cannot wait for a later block to be final. Its hash is known while uploads may change; so is
    /// that of every block that is final by then.
    pub lots: Block,
    /// The first block of the next window, at which the put window opens.
    pub opening: Block,
    /// The first block after the put window. It did not exist while uploads could change, so nobody can aim at the data
    /// that is drawn from it, and every validator draws the same.
    pub evaluation: Block,
    /// The put window, by the final [`Self::opening`].
    pub put: PutWindow,
}

impl DecidingBlocks {
    /// The block that draws the lots of a window ([`Self::find`] gives it too), which is there when the window is.
    pub fn lots_block(schedule: &Schedule, window: Window) -> Block {
        schedule.first_block(window)
    }

    /// The blocks of a window; waits until they are final.
    ///
    /// # Errors
    /// Those of asking the chain, [`NodeError::ChainEnded`] and [`NodeError::NotFinal`].
    pub async fn find(clock: &mut Clock, schedule: &Schedule, window: Window) -> Result<Self, NodeError> {
        let put = clock.final_put_window(window).await?;
        let (lots, opening) = (Self::lots_block(schedule, window), schedule.opening_block(window));
        let evaluation = clock.first_block_at(opening, put.last_accepted_ms() + 1).await?;
        Ok(Self { lots, opening, evaluation, put })
    }
}

/// The hash of a block that must be there; waits until it is final, for what is drawn by it must stay drawn.
///
/// # Errors
/// Those of asking the chain, [`NodeError::NoBlock`] where the chain has not come so far, and [`NodeError::NotFinal`].
pub async fn block_hash(chain: &dyn Chain, block: Block) -> Result<[u8; 32], NodeError> {
    let missing = || NodeError::NoBlock(block);
    chain.block_hash(block).await?.ok_or_else(missing)?;
    until_final(chain, block).await?;
    chain.block_hash(block).await?.ok_or_else(missing)
}

/// The last window of a run; none for a run without end.
pub fn last_window(manifest: &Manifest, start: Window) -> Option<Window> {
    manifest.schedule.windows.checked_sub(1).map(|after| start + after)
}

/// Whether weights are set on chain after a window: every so many windows, and after the last one.
pub fn weights_are_due(manifest: &Manifest, start: Window, window: Window) -> bool {
    let every = manifest.gauntlet.windows_per_weights;
    (window + 1).saturating_sub(start).is_multiple_of(every) || last_window(manifest, start) == Some(window)
}

/// What judging a window has found.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// The losses and audits of those who were judged.
    pub evidence: BTreeMap<AccountId, Evidence>,
    /// The pairs of objects that overlap too much, by chunks that nobody knew while uploads could change.
    pub overlapping: Vec<overlap::Pair>,
}

/// A window whose objects were gathered, before the model takes its step.
#[derive(Debug)]
pub struct OpenWindow<'a> {
    window: Window,
    gathered: &'a Gathered,
    /// The hash of [`DecidingBlocks::lots`].
    lots: [u8; 32],
    /// The length of the step that the model is about to take.
    step: f64,
    overlapping: Vec<overlap::Pair>,
    /// What each peer says to have done.
    claims: BTreeMap<AccountId, Claim>,
}

impl<'a> OpenWindow<'a> {
    /// Looks for copies among the objects.
    ///
    /// # Errors
    /// Those of [`Delivered::gradient`](super::gather::Delivered::gradient).
    pub fn new(
        view: &View<'_>,
        window: Window,
        gathered: &'a Gathered,
        lots: [u8; 32],
    ) -> Result<Self, NodeError> {
        let limit = view.identity.manifest.parsed.gauntlet.overlap_limit();
        let overlapping = gathered.overlapping(view.replica.layout(), &lots, limit)?;
        let usual = view.identity.manifest.parsed.train.sequences() as u64;
        let claim = |claimed| Claim { claimed, usual };
        let claims = gathered
            .accepted()
            .map(|(hotkey, _, delivered)| (hotkey.clone(), claim(delivered.header.sample_count)));
        let claims = claims.collect();
        Ok(Self { window, gathered, lots, step: view.replica.next_step(), overlapping, claims })
    }

    /// Whom the leader aggregates, by what is known before the window is judged.
    pub fn choose(&self, gauntlet: &Gauntlet) -> BTreeSet<AccountId> {
        let candidates = self.gathered.hotkeys();
        let top_g = gauntlet.config().top_g;
        let chosen = gauntlet.aggregate_set_without(&candidates, &self.overlapping, top_g, &self.lots);
        chosen.into_iter().collect()
    }

    /// Measures peers, as many at once as the judge has devices, for as long as `go_on` says so before each. `seed` is the hash of
    /// [`DecidingBlocks::evaluation`], `chosen` are the peers that were aggregated.
    ///
    /// # Errors
    /// [`NodeError::Data`], and those of tensors that do not fit together.
    pub async fn measure(
        &self,
        judge: &mut Judge,
        view: &View<'_>,
        chosen: &BTreeSet<AccountId>,
        seed: &[u8; 32],
        order: &[AccountId],
        mut go_on: impl AsyncFnMut(&AccountId) -> bool,
    ) -> Result<Measured, NodeError> {
        let step = self.step * view.identity.manifest.parsed.gauntlet.evaluation_step;
        let (window, gathered) = (self.window, self.gathered);
        let shared = heavy(|| judge.share(view, window, seed, gathered, chosen, step))?;
        let (layout, limit) = (view.replica.layout(), view.identity.manifest.parsed.gauntlet.overlap_limit());
        let overlapping = match overlap::is_drawn(layout) {
            // What the round was decided by could be aimed at: its chunks are known before uploads close.
            true => heavy(|| gathered.overlapping(layout, seed, limit))?,
            false => self.overlapping.clone(),
        };
        let mut evidence = BTreeMap::new();
        // A device measures a peer; all begin together.
        for row in order.chunks(judge.devices()) {
            let mut together = Vec::with_capacity(row.len());
            for hotkey in row {
                if !go_on(hotkey).await {
                    break;
                }
                together.push(hotkey.clone());
            }
            let measured = heavy(|| judge.evidence(view, window, &together, gathered, &shared))?;
            let all = together.len() == row.len();
            evidence.extend(together.into_iter().zip(measured));
            if !all {
                break;
            }
        }
        Ok(Measured { evidence, overlapping })
    }

    /// Scores the window.
    ///
    /// # Errors
    /// [`GauntletError::AlreadyScored`].
    pub fn score(
        &self,
        gauntlet: &mut Gauntlet,
        chosen: &BTreeSet<AccountId>,
        measured: Measured,
    ) -> Result<Vec<ScoreRecord>, GauntletError> {
        let observations = self.gathered.observations(chosen, measured.evidence);
        let (overlapping, claims) = (&measured.overlapping, &self.claims);
        let mut records = gauntlet.update_with(self.window, self.step, &observations, overlapping, claims)?;
        for record in &mut records {
            let delivered = self.gathered.peers.get(&record.hotkey).and_then(|peer| peer.delivered.as_ref());
            record.digest = delivered.map(|delivered| hex::encode(delivered.digest));
        }
        Ok(records)
    }
}

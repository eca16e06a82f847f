//! From scores to shares of pay, and what is written down.

use super::{Case, Gauntlet};
use crate::{
    gauntlet::{
        Hotkey, ScoreRecord,
        record::ProofRecord,
        sync::sync_score,
        weights::{power_normalise, tiered, to_u16},
        work_share::Belief,
    },
    manifest::Proof,
    window::{Uid, Window},
};
use std::collections::BTreeMap;

/// How the window's pay is shared.
pub(super) struct Shares {
    /// Share and weight of each peer.
    pub(super) peers: BTreeMap<Hotkey, (f64, u16)>,
    /// The UID that burns and its weight.
    pub(super) burnt: Option<(Uid, u16)>,
}

impl Gauntlet {
    /// Share of pay and weight of every peer, and what burns.
    pub(super) fn shares(&self) -> Shares {
        let scores: Vec<f64> = self.peers.values().map(|state| state.score).collect();
        let mut shares = match &self.config.tiers {
            Some(tiers) => tiered(&scores, tiers),
            None => power_normalise(&scores, self.config.power),
        };
        let burn = self.config.tiers.as_ref().map(|tiers| {
            let paid = shares.iter().any(|share| *share > 0.0);
            shares.push(if paid { tiers.burn } else { 1.0 });
            tiers.burn_uid
        });
        let mut weights = to_u16(&shares);
        let burnt = burn.and_then(|uid| Some((uid, weights.pop()?)));
        let peers = self.peers.keys().cloned().zip(shares.into_iter().zip(weights)).collect();
        Shares { peers, burnt }
    }

    pub(super) fn record(
        &self,
        window: Window,
        outer_step: f64,
        hotkey: Hotkey,
        case: Case,
        belief: &Belief,
        (share, weight): (f64, u16),
    ) -> Option<ScoreRecord> {
        let state = self.peers.get(&hotkey)?;
        let (limit, strength) = (self.config.sync_limit, self.strength(belief, &state.proof));
        let audited = self.config.proof == Proof::Audited;
        let average = match self.config.proof {
            Proof::Sign => state.proof.sum,
            Proof::Counterfactual | Proof::Audited | Proof::Off => state.proof.corrected(),
        };
        Some(ScoreRecord {
            window,
            outer_step,
            uid: state.uid,
            hotkey,
            sync_score: case.stage1.steps_behind().map(|steps| sync_score(steps, limit)),
            stage1: case.stage1,
            aggregated: case.aggregated,
            judged: case.judged,
            audits: case.audits,
            // Gauntlet does not see objects.
            digest: None,
            overlap: case.overlap,
            proof: ProofRecord {
                average,
                observations: state.proof.count,
                windows: state.proof.windows(),
                reference: self.reference,
                strength: strength.mean,
                deviation: strength.deviation,
                work: audited.then(|| state.work.corrected()),
                recent_work: audited.then(|| state.recent_work.corrected()),
                worth: audited.then(|| self.worth(state)),
                factor: self.proof_factor(belief, state),
            },
            rating_before: case.before.rating.into(),
            rating: state.rating.into(),
            rating_factor: self.rating_factor(state),
            penalties: case.penalties,
            score_before: case.before.score,
            score: state.score,
            share,
            weight,
        })
    }
}

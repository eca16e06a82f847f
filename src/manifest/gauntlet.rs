//! The manifest's `[gauntlet]` table.

use crate::window::Uid;
use serde::{Deserialize, Serialize};

/// How a peer's work is proved to be its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The paper's: the sign of the relative improvement on own data minus that on random data.
    Sign,
    /// Sequence by sequence, the drop on the peer's own data by its own update minus the drop by the
    /// other peers' updates, corrected by the same difference on random data, over its own spread.
    Counterfactual,
    /// What the peer declares to have done, by sketches of its micro-batches' gradients of which some are computed again; that its object
    /// contains it is shown as under `counterfactual`.
    Audited,
    /// None: everybody is believed. For simulations that ask what the proof is good for.
    Off,
}

/// How the rating enters the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RatingUse {
    /// The paper's: the ordinal, negative ones as 0.
    Ordinal,
    /// The chance to win a duel against a newcomer.
    Duel,
    /// Not at all. For simulations that ask what the rating is good for.
    Off,
}

/// How peers are judged and paid. Formulas: `docs/gauntlet.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GauntletConfig {
    /// Peers that are aggregated (G).
    pub top_g: usize,
    /// Sequences of a peer's own data that it is judged on.
    pub own_sequences: usize,
    /// Sequences of random data, the same for every peer of a window.
    pub random_sequences: usize,
    /// Step of an evaluation, as a share of the outer step.
    pub evaluation_step: f64,
    /// The estimator of the proof of computation.
    pub proof: Proof,
    /// Weight of a new observation in the moving average of the proof.
    pub proof_alpha: f64,
    /// `sign` only: below this average the proof counts as 0, once `proof_warmup` observations were made.
    pub proof_threshold: f64,
    /// Observations before a peer is known: until then it is paid in proportion to them (`counterfactual`), or
    /// the threshold does not apply (`sign`).
    pub proof_warmup: u64,
    /// `counterfactual` only: what the evidence of one window is expected to be, in standard errors, of a
    /// peer that does all its work; a few windows of a run correct it.
    pub proof_expected: f64,
    /// How the rating enters the score.
    pub rating: RatingUse,
    /// OpenSkill's initial mean.
    pub rating_mu: f64,
    /// OpenSkill's initial deviation.
    pub rating_sigma: f64,
    /// OpenSkill's spread of performances.
    pub rating_beta: f64,
    /// OpenSkill's drift, added to every deviation before a match.
    pub rating_tau: f64,
    /// Outer steps behind at which the sync score reaches 0.
    pub sync_limit: f64,
    /// Outer steps behind above which a peer is neither judged nor aggregated.
    pub sync_max: f64,
    /// Values of each tensor that a peer shows of its model.
    pub sync_samples: usize,
    /// Likeness of two pseudo-gradients, in excess of what is usual in the window, from which one of them
    /// is a copy; 1 is identical, above 1 nothing is.
    pub overlap_max: f64,
    /// Factor on score and proof when stage 1 fails (absent, early, late, malformed, out of sync).
    pub penalty: f64,
    /// Windows without a valid upload after which a peer's record is forgotten.
    pub forget_after: u64,
    /// Windows in a row in which a bucket may fail to answer, while most others do, before that counts as an absence. 3 unless given.
    #[serde(default = "unanswered_windows")]
    pub unanswered_windows: u64,
    /// Exponent of the normalisation of scores into weights.
    pub power: f64,
    /// Windows between two settings of weights on chain.
    pub windows_per_weights: u64,
    /// `audited` only: how declared work is audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditRules>,
    /// Pay by rank, in two tiers, in place of `power`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
    /// Penalties by what a peer did before, in place of those for harm, for copies and of one `penalty` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slashing: Option<Slashing>,
    /// Who is judged where there is no time for all, in place of the lottery among everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<Bins>,
}

/// How the work that peers declare is audited.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRules {
    /// Micro-batches of each peer that are computed again, at least 2: with one a lie costs nothing.
    pub micro_batches: usize,
    /// How far a sketch may be from what is computed, in spreads of the window's gradients.
    pub tolerance: f64,
    /// Weight of a new window in the average of the last few, which is paid where it is lower than the slow one.
    #[serde(default = "recent_alpha")]
    pub recent_alpha: f64,
    /// Standard errors that what a peer's updates do for the loss has to be below the usual by before it costs pay.
    #[serde(default = "benefit_errors")]
    pub benefit_errors: f64,
    /// Windows for which validators keep copies of all that they accepted, so that nobody undoes an audit by deleting its object; 0 for none
    /// but of what is aggregated. They are as many bytes as all peers upload.
    #[serde(default)]
    pub copies: u64,
}

impl Default for AuditRules {
    fn default() -> Self {
        let (recent_alpha, benefit_errors) = (recent_alpha(), benefit_errors());
        Self { micro_batches: 2, tolerance: 0.1, recent_alpha, benefit_errors, copies: 0 }
    }
}

fn recent_alpha() -> f64 {
    0.2
}

/// One honest peer in ten is so unlucky at a time, and loses what it is more unlucky by.
fn benefit_errors() -> f64 {
    1.28
}

fn unanswered_windows() -> u64 {
    3
}

/// The two tiers of pay of later reference versions: those who were aggregated and a reserve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    /// Peers of the first tier.
    pub gather: usize,
    /// Share of all pay for the first tier.
    pub gather_share: f64,
    /// Pay of the first of the first tier, where the last has 1; in between it falls linearly.
    pub top_ratio: f64,
    /// Peers of the second tier.
    pub reserve: usize,
    /// Pay of a peer of the second tier, where the one before has 1.
    pub reserve_decay: f64,
    /// Share of all weight that is burnt, and all of it where nobody has a positive score.
    pub burn: f64,
    /// The UID whose weight burns: the subnet owner's.
    pub burn_uid: Uid,
}

/// What later reference versions take away for failures, by how often they happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slashing {
    /// Factors on score and proof for the first, second, ... miss in a row; the last one for all further ones. A
    /// miss is a window without an object that came in time.
    pub misses: Vec<f64>,
    /// If less than this share of the peers has an object that came in time, it is the network's fault: nobody is
    /// penalised for a miss.
    pub success_min: f64,
    /// Windows over which a peer's misses are counted, at most 64.
    pub miss_windows: u32,
    /// So many misses in them make a peer naughty.
    pub naughty_misses: u32,
    /// Windows for which a naughty peer has no score, is not judged and not aggregated.
    pub naughty_windows: u64,
    /// Likeness from which a copy loses `overlap_factor` of score and proof; from `overlap_max` on it is forgotten.
    pub overlap_high: f64,
    /// Factor on score and proof for such a copy.
    pub overlap_factor: f64,
    /// Likeness from which a copy makes a peer naughty.
    pub overlap_mega: f64,
    /// Judged windows over which a peer's negative loss scores are counted, at most 64.
    pub negative_windows: u32,
    /// More than this share of them negative costs `negative_factor`, in every window.
    pub negative_share: f64,
    /// Factor on score and proof for it.
    pub negative_factor: f64,
    /// Negative loss scores in a row after which a peer is not aggregated, until one is not negative.
    pub exclude_after: u64,
    /// If the loss score of this rank in the window is negative (or the worst, of fewer), everybody is bad: nobody
    /// is penalised for being negative.
    pub everybody_bad_rank: usize,
}

/// Selection in bins by rating.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bins {
    /// Bins of equal size, by ordinal; one of them is drawn for a window.
    pub bins: usize,
    /// Peers of it that are judged.
    pub per_window: usize,
}

impl GauntletConfig {
    /// The similarity from which two objects are looked at as one and its copy.
    pub fn overlap_limit(&self) -> f64 {
        self.slashing.as_ref().map_or(self.overlap_max, |rules| rules.overlap_high.min(self.overlap_max))
    }

    /// The same rules where work cannot be audited: peers are paid by what their updates show alone.
    #[must_use]
    pub fn without_audits(self) -> Self {
        let proof = if self.proof == Proof::Audited { Proof::Counterfactual } else { self.proof };
        Self { proof, audit: None, ..self }
    }

    /// Whether there are rules of audits exactly where there are audits, and they mean something.
    pub(crate) fn audits_hold(&self) -> bool {
        match (self.proof, self.audit) {
            (Proof::Audited, Some(audit)) => {
                audit.micro_batches >= 2
                    && audit.tolerance > 0.0
                    && audit.tolerance <= 0.4
                    && (0.0..=1.0).contains(&audit.recent_alpha)
                    && (0.0..=1e12).contains(&audit.benefit_errors)
            }
            (Proof::Audited, None) | (_, Some(_)) => false,
            _ => true,
        }
    }

    /// Whether the values of the optional tables are within their bounds.
    pub(super) fn tables_hold(&self) -> bool {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let tiers = self.tiers.as_ref().is_none_or(|t| {
            t.gather > 0
                && share(t.gather_share)
                && share(t.reserve_decay)
                && share(t.burn)
                && (1.0..=1e6).contains(&t.top_ratio)
        });
        let slashing = self.slashing.as_ref().is_none_or(|s| {
            !s.misses.is_empty()
                && s.misses.iter().all(|factor| share(*factor))
                && [s.success_min, s.overlap_factor, s.negative_share, s.negative_factor]
                    .into_iter()
                    .all(share)
                && (1..=64).contains(&s.miss_windows)
                && (1..=64).contains(&s.negative_windows)
                && s.everybody_bad_rank > 0
                && s.exclude_after > 0
        });
        tiers && slashing && self.bins.as_ref().is_none_or(|b| b.bins > 0 && b.per_window > 0)
    }
}

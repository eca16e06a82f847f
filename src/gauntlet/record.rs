//! What the score log says of one peer in one window: everything that made its score.

use super::{Hotkey, loss_score::Losses, penalty::Penalty, rating::Rating, stage1::Stage1};
use crate::window::{Uid, Window};
use serde::{Deserialize, Serialize};

/// One line of the score log. Field names are a stable interface; new ones may be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord {
    /// The window in which the work was done.
    pub window: Window,
    /// The step of the window's round, in units of a weight.
    pub outer_step: f64,
    /// The peer's UID in that window.
    pub uid: Uid,
    /// The peer.
    pub hotkey: Hotkey,
    /// The verdict of stage 1 with its timing.
    pub stage1: Stage1,
    /// Whether the peer's object was in the round's aggregate.
    pub aggregated: bool,
    /// Content digest of the object that stage 1 accepted, hex of 32 bytes: what the peer has signed. Left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The objects of the window that this one is too much like, and whether it is the copy.
    #[serde(default)]
    pub overlap: Vec<OverlapRecord>,
    /// What was measured in stage 2; null where the peer was not judged in this window.
    pub judged: Option<Judged>,
    /// How far each of the audited micro-batches is from what was computed, in spreads; left out where work is not audited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audits: Vec<f64>,
    /// The proof of computation after this window.
    pub proof: ProofRecord,
    /// The rating before this window's match.
    pub rating_before: RatingRecord,
    /// The rating after it.
    pub rating: RatingRecord,
    /// The rating's factor in the score.
    pub rating_factor: f64,
    /// The sync score, the third factor; null where the peer's object did not get so far.
    pub sync_score: Option<f64>,
    /// What was taken away, in the order in which it was.
    pub penalties: Vec<Penalty>,
    /// The peer score before this window.
    pub score_before: f64,
    /// The peer score: proof x rating x sync if the object was accepted, else what the penalties left.
    pub score: f64,
    /// The share of all miners' pay that this score is worth, from 0 to 1.
    pub share: f64,
    /// The same as it would be set on chain now; the largest is 65535.
    pub weight: u16,
}

/// The measurements of stage 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Losses on the peer's own data.
    pub own: Losses,
    /// Losses on random data; its score is the peer's result in the window's match.
    pub random: Losses,
    /// How sure it is that the update lowers the loss on random data, in standard errors.
    pub benefit_t: f64,
    /// How much better the update fits its own data than the comparator's, in standard errors.
    pub t: f64,
    /// The paper's indicator, whichever estimator the manifest names.
    pub sign: f64,
    /// What entered the moving average.
    pub observation: f64,
    /// Its variance: 1 for who claims to have done the usual work.
    #[serde(default = "one")]
    pub variance: f64,
    /// Sequences that the peer says to have trained on; 0 in logs from before there was a choice.
    #[serde(default)]
    pub claimed: u64,
    /// Sequences that are usual; 0 in logs from before there was a choice.
    #[serde(default)]
    pub usual: u64,
    /// The work that was declared, in units of what is usual, if every audit agrees, else 0; left out where work is not audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<f64>,
    /// What the update does for the loss on random data, for the work in it, in nats a token ([`Benefits`](super::declared::Benefits)).
    /// Left out where work is not audited and of a window without work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benefit: Option<f64>,
    /// What was usual in the window; left out where `benefit` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_benefit: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// The proof of computation after a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProofRecord {
    /// The moving average: of `sign`, from -1 to 1, or of `t`, in standard errors.
    pub average: f64,
    /// Observations so far.
    pub observations: u64,
    /// Windows that the average is worth; its standard error is one over the root of it.
    #[serde(default)]
    pub windows: f64,
    /// The average of a peer that does all its work (`tau`), the same for all peers of a window.
    #[serde(default)]
    pub reference: f64,
    /// The strength that is believed: 1 is all the work, its square the share of the work.
    #[serde(default)]
    pub strength: f64,
    /// Standard deviation of the strength.
    #[serde(default)]
    pub deviation: f64,
    /// Declared work that agreed with its audits, on average, in units of what is usual; left out where work is not audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<f64>,
    /// The same over the last few windows: the lower of the two is paid. Left out where work is not audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_work: Option<f64>,
    /// The part of the pay for this work that what the updates did for the loss leaves, from 0 to 1 ([`Usefulness`](super::declared::Usefulness)).
    /// Left out where work is not audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worth: Option<f64>,
    /// Its factor in the score, at least 0.
    pub factor: f64,
}

/// A similarity with another peer's object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverlapRecord {
    /// The other peer's UID.
    pub uid: Uid,
    /// Likeness in excess of what is usual in the window; 1 is identical.
    pub similarity: f64,
    /// Whether this one is taken for the copy.
    pub copy: bool,
}

/// A rating and its ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingRecord {
    /// Mean, in rating points.
    pub mu: f64,
    /// Deviation, in rating points.
    pub sigma: f64,
    /// `mu - 3 sigma`.
    pub ordinal: f64,
}

impl From<Rating> for RatingRecord {
    fn from(rating: Rating) -> Self {
        Self { mu: rating.mu, sigma: rating.sigma, ordinal: rating.ordinal() }
    }
}

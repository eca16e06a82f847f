//! What an audit comes to.

use super::{Audited, Tolerance};
use crate::{
    wallet::AccountId,
    window::{Block, Uid, Window},
};
use serde::Serialize;
use std::ops::RangeInclusive;

/// What came of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything is as the validator says.
    Same,
    /// Nobody is scored, because the window was null.
    Null,
    /// Something is not.
    Differs,
    /// It cannot be repeated any more; the notes say why.
    NotChecked,
    /// The validator has published no log of this window.
    NoLog,
}

impl Outcome {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Null => "null",
            Self::Differs => "differs",
            Self::NotChecked => "not checked",
            Self::NoLog => "no log",
        }
    }
}

/// The first thing that is not as the validator says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The window.
    pub window: Window,
    /// Whose record it is; null where it concerns no peer.
    pub uid: Option<Uid>,
    /// The same peer's hotkey.
    pub hotkey: Option<AccountId>,
    /// What differs: a field of the score record, such as `score` or `stage1.verdict`; `state.` and a field of
    /// the published state; `round.accepted`; `roster`; `records`; or `weight_on_chain`.
    pub field: String,
    /// What the validator says.
    pub logged: String,
    /// What comes out.
    pub recomputed: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "window {}, ", self.window)?;
        if let Some(uid) = self.uid {
            write!(f, "UID {uid}, ")?;
        }
        let Self { field, logged, recomputed, .. } = self;
        write!(f, "{field}: the validator says {logged}, recomputed it is {recomputed}")
    }
}

/// One window of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WindowReport {
    /// The window.
    pub window: Window,
    /// What came of it.
    pub outcome: Outcome,
    /// Records in the log.
    pub records: usize,
    /// Peers whose losses were measured again.
    pub judged: usize,
    /// What could not be looked at, and was taken from the log; why the window was not checked.
    pub notes: Vec<String>,
    /// The difference, where there is one.
    #[serde(skip)]
    pub difference: Option<Difference>,
}

impl WindowReport {
    /// There is nothing to compare with.
    pub(super) fn without_log(window: Window) -> Self {
        let notes = Vec::new();
        Self { window, outcome: Outcome::NoLog, records: 0, judged: 0, notes, difference: None }
    }

    /// It cannot be repeated.
    pub(super) fn not_checked(window: Window, records: usize, why: String) -> Self {
        let notes = vec![why];
        Self { window, outcome: Outcome::NotChecked, records, judged: 0, notes, difference: None }
    }
}

/// The settings of weights that were compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WeightsChecked {
    /// Settings on chain that were compared with what the scores give.
    pub settings: usize,
    /// The first block that was looked at, where any was.
    pub from_block: Option<Block>,
    /// The last one.
    pub to_block: Option<Block>,
    /// Windows after which weights were due and none are on chain: the chain may have refused them.
    pub not_set_after: Vec<Window>,
    /// The difference, where there is one.
    #[serde(skip)]
    pub difference: Option<Difference>,
}

/// The outcome of an audit. Its JSON is a stable interface: fields may be added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditReport {
    /// The validator's UID.
    pub validator: Uid,
    /// The validator.
    pub hotkey: AccountId,
    /// Hash of the run manifest, in hex.
    pub run: String,
    /// The first window that was to be checked.
    pub from: Window,
    /// The last one.
    pub to: Window,
    /// How far numbers were allowed to differ.
    pub tolerance: Tolerance,
    /// Every window up to the first difference.
    pub windows: Vec<WindowReport>,
    /// The comparison with the chain; empty after a difference in a window.
    pub weights_on_chain: WeightsChecked,
}

impl AuditReport {
    pub(super) fn new(
        audited: &Audited,
        run: &str,
        windows: &RangeInclusive<Window>,
        tolerance: Tolerance,
    ) -> Self {
        Self {
            validator: audited.uid,
            hotkey: audited.hotkey.clone(),
            run: run.to_owned(),
            from: *windows.start(),
            to: *windows.end(),
            tolerance,
            windows: Vec::new(),
            weights_on_chain: WeightsChecked::default(),
        }
    }

    /// The first difference.
    pub fn difference(&self) -> Option<&Difference> {
        let of_windows = self.windows.iter().find_map(|window| window.difference.as_ref());
        of_windows.or(self.weights_on_chain.difference.as_ref())
    }

    /// How many windows ended with an outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.windows.iter().filter(|window| window.outcome == outcome).count()
    }

    /// The report as one JSON value, with `difference` (null for none).
    ///
    /// # Errors
    /// None that a report can bring about.
    pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value["difference"] = serde_json::to_value(self.difference())?;
        Ok(value)
    }
}

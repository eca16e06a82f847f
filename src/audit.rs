//! The audit: what a validator did, done again by somebody else, and compared.
//!
//! An auditor fetches what the validator used: objects, checkpoints, round records, block hashes, and the
//! state that it published after the window before. It runs the code that the validator runs, and compares
//! every field of the signed log, the published state and the weights on chain with what comes out.
//!
//! Three things are taken from the log, because nobody else can know them: which peers were looked at, which were judged
//! before time ran out, and what was uploaded where the object was replaced or removed since. The report says
//! where that was so. Nothing is signed and nothing is published.

mod compare;
mod objects;
mod on_chain;
mod report;
mod roster;
mod window;

pub use compare::Tolerance;
pub use report::{AuditReport, Difference, Outcome, WeightsChecked, WindowReport};

use crate::{
    chain::ChainError,
    data::Sequences,
    gauntlet::GauntletError,
    node::{BucketCache, Clock, Directory, Identity, NodeError, Replica, Scores, ScoresError, judge::Judge},
    round::RunStart,
    wallet::AccountId,
    window::{Uid, Window},
};
use on_chain::Due;
use std::ops::RangeInclusive;
use tch::Device;

/// Why an audit cannot be carried through. A window that cannot be checked is no error, but an
/// [`Outcome`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Something that a node needs too.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The validator's score log cannot be read.
    #[error(transparent)]
    Scores(#[from] ScoresError),
}

impl From<ChainError> for AuditError {
    fn from(error: ChainError) -> Self {
        Self::Node(error.into())
    }
}

impl From<GauntletError> for AuditError {
    fn from(error: GauntletError) -> Self {
        Self::Node(error.into())
    }
}

/// The validator that is audited: its UID and its hotkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The UID.
    pub uid: Uid,
    /// The validator.
    pub hotkey: AccountId,
}

/// Everything that an audit needs.
#[derive(Debug)]
pub struct Auditor {
    /// The run and the chain. Its hotkey signs nothing, its bucket stays empty: any will do.
    pub identity: Identity,
    /// The chain's blocks.
    pub clock: Clock,
    /// Strangers' buckets.
    pub buckets: BucketCache,
    /// Where the run began.
    pub start: RunStart,
    /// The run's text.
    pub corpus: Sequences,
    /// What computes. Bits are the same only on the same kind of device.
    pub device: Device,
    /// Whose work it is.
    pub audited: Audited,
    /// The validator's logs and states.
    pub scores: Scores,
    /// How far numbers may differ.
    pub tolerance: Tolerance,
}

/// The model and the judge, moved from window to window.
struct Bench {
    replica: Replica,
    judge: Judge,
}

impl Auditor {
    /// Repeats the windows one by one, up to the first difference.
    ///
    /// # Errors
    /// [`AuditError`] where the chain or a bucket cannot be asked, or the log is damaged. A log whose hash or
    /// signature is wrong is such an error: it is nobody's word.
    pub async fn audit(&mut self, windows: RangeInclusive<Window>) -> Result<AuditReport, AuditError> {
        let mut report = AuditReport::new(&self.audited, &self.identity.run(), &windows, self.tolerance);
        let mut bench = None;
        let mut due = Vec::new();
        for window in windows {
            let Some(logged) = self.scores.window(window).await? else {
                report.windows.push(WindowReport::without_log(window));
                continue;
            };
            let checked = match self.window(&mut bench, window, &logged).await {
                Err(AuditError::Node(error)) if is_gone(&error) => {
                    bench = None;
                    due.push(Due { window, weights: None });
                    WindowReport::not_checked(window, logged.records.len(), error.to_string())
                }
                other => {
                    let (checked, weights) = other?;
                    due.push(Due { window, weights });
                    checked
                }
            };
            let differs = checked.difference.is_some();
            tracing::info!(window, outcome = checked.outcome.name(), "audited");
            report.windows.push(checked);
            if differs {
                break;
            }
        }
        if report.difference().is_none() {
            report.weights_on_chain = self.weights_on_chain(&due).await?;
        }
        Ok(report)
    }

    async fn bench<'a>(
        &self,
        bench: &'a mut Option<Bench>,
        directory: &Directory,
        window: Window,
    ) -> Result<&'a mut Bench, AuditError> {
        let manifest = &self.identity.manifest.parsed;
        let mut at = match bench.take() {
            Some(bench) => bench,
            None => {
                let replica = Replica::initial(manifest, self.start.start_window, self.device)?;
                let judge = Judge::new(&self.identity, self.device, &[]);
                Bench { replica, judge }
            }
        };
        crate::node::replay_before(&self.identity, directory, &mut at.replica, window).await?;
        at.judge.keep(&at.replica);
        Ok(bench.insert(at))
    }
}

/// Whether what is missing may have been there when the validator looked.
fn is_gone(error: &NodeError) -> bool {
    matches!(error, NodeError::Missing { .. } | NodeError::NoRound { .. })
}

//! A whole economy in one process and in virtual time, to see what the mechanism pays for.
//!
//! Peers of every kind train a small language model on real text, upload what the wire format carries, are
//! judged by validators with the code that `templar validator` runs ([`gauntlet`](crate::gauntlet),
//! [`gradient`](crate::gradient), [`aggregate`](crate::aggregate), [`window`](crate::window)), and are paid by
//! Yuma consensus. Only the model is another: a softmax bigram, so that 250 peers take a tenth of a second a
//! window; and signatures are keyed hashes. The same scenario and text give the same run.
//!
//! ```
//! use templar::sim::{Class, Outcome, Scenario, run, text::Text};
//!
//! let scenario = Scenario::parse(include_str!("../tests/sim/tiny.toml"))?;
//! let bytes: Vec<u8> = (0..40_000u32).map(|i| b"the quick brown fox jumps over it. "[(i * i / 7 % 35) as usize]).collect();
//! let text = Text::new(&bytes, scenario.sequence_length).ok_or("too little text")?;
//! let history = run(&scenario, &text, 2, |_window, _loss| ())?;
//! let outcome = Outcome::new(&history, scenario.settle);
//! assert!(outcome.kinds.iter().any(|kind| kind.class == Class::Worthless));
//! assert!(history.losses.last() < history.losses.first());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bigram;
mod blend;
mod economy;
mod judge;
mod kinds;
mod outcome;
mod peer;
mod population;
mod report;
mod run;
mod scenario;
pub mod text;
mod threads;

pub use kinds::{Class, Kind};
pub use outcome::{
    DILUTED_SLACK, History, KindOutcome, LOSS_RATIO, Outcome, PARTIAL_SLACK, RANK_CORRELATION, WORTHLESS_PAY,
    spearman,
};
pub use report::{HEADING, SimReport, SimReportError};
pub use run::run;
pub use scenario::{Conduct, Defence, PeerSpec, Scenario, ScenarioError, ValidatorSpec};

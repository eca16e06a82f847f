//! Gauntlet: who did the work, how well, and what it is worth.
//!
//! A validator observes every peer once a window. [`stage1`] asks whether the peer's object is there, in
//! time, well-formed and made from the right model. Stage 2 measures losses: [`loss_score`] and
//! [`rating`] say how much the object helps, [`proof`] whether its author trained on the data that it was
//! assigned, [`work_share`] how much of it, [`overlap`] whether it is another's. [`peer_score`], [`penalty`] and [`weights`] make pay of that, [`selection`] decides who is
//! aggregated and who is judged first. `docs/gauntlet.md` has every rule with its source.
//!
//! Nothing here reads a clock, a file or a random number: time and losses come in as observations, lots
//! are drawn from a seed. [`Gauntlet`] is the whole state and can be written and read with serde; the
//! validator, a simulator and an audit that run the same windows get the same bits.
//!
//! ```
//! use templar::gauntlet::{Evidence, Gauntlet, Hotkey, Observation, Peer, stage1::Stage1};
//! use templar::manifest::ManifestFile;
//!
//! let config = ManifestFile::preset("local")?.parsed.gauntlet;
//! let mut gauntlet = Gauntlet::new(&config);
//! let hotkey = Hotkey::from([7; 32]);
//! gauntlet.roster(&[Peer { hotkey: hotkey.clone(), uid: 3, registered_at_block: 100 }]);
//!
//! let evidence = Evidence {
//!     own_before: vec![4.0, 4.1],
//!     own_after: vec![3.8, 3.9],
//!     random_before: vec![4.0, 4.2],
//!     random_after: vec![3.95, 4.12],
//!     // How far the audited micro-batches are from what the peer has committed to.
//!     audits: vec![0.01, 0.02],
//!     ..Evidence::default()
//! };
//! let records = gauntlet.update(
//!     0,
//!     1e-3,
//!     &[Observation {
//!         hotkey,
//!         stage1: Stage1::Accepted { seconds: 1, steps_behind: 0.0 },
//!         evidence: Some(evidence),
//!         aggregated: true,
//!     }],
//! )?;
//! assert!(records[0].score > 0.0);
//! assert_eq!(gauntlet.weights(), [(3, 65535)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod declared;
pub mod loss_score;
pub mod overlap;
pub mod peer_score;
pub mod penalty;
pub mod proof;
pub mod rating;
pub mod record;
pub mod selection;
mod serde_exact_f64;
pub mod slashing;
pub mod stage1;
mod state;
pub mod sync;
pub mod weights;
pub mod work_share;

pub use loss_score::Evidence;
pub use record::ScoreRecord;
pub use state::{Gauntlet, PeerState};

use crate::window::{Block, Uid, Window};

/// A neuron's hotkey, the key of everything that is remembered about a peer.
pub use sp_core::crypto::AccountId32 as Hotkey;

/// A registered neuron that may be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// Its UID now.
    pub uid: Uid,
    /// When the UID was given to it (`BlockAtRegistration`); a change forgets what was known.
    pub registered_at_block: Block,
}

/// What a validator saw of one peer in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Whose.
    pub hotkey: Hotkey,
    /// What stage 1 says.
    pub stage1: stage1::Stage1,
    /// The measured losses; `None` where the object was not accepted, or time ran out before it.
    pub evidence: Option<Evidence>,
    /// Whether the object was in the round's aggregate.
    pub aggregated: bool,
}

/// Why a window cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GauntletError {
    /// Scoring it again would count its evidence twice.
    #[error("window {window} comes not after window {last}, which was scored already")]
    AlreadyScored {
        /// The window that was given.
        window: Window,
        /// The last window that was scored.
        last: Window,
    },
}

impl GauntletError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::AlreadyScored { .. } => {
                "its records are in the score log; go on with the window after the last one"
            }
        }
    }
}

//! Who decides a window when the first validator does not.

use serde::{Deserialize, Serialize};

/// The manifest's table `[succession]`: [`crate::succession`] has the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuccessionConfig {
    /// Blocks after the opening of the put window with which the first validator's turn ends. Half a window unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_blocks: Option<u64>,
    /// Blocks of each turn after that. An eighth of a window unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_blocks: Option<u64>,
    /// Validators that have a turn. 3 unless given.
    #[serde(default = "ranks")]
    pub ranks: usize,
    /// Windows for which a validator that missed its turn comes last. 32 unless given.
    #[serde(default = "respite_windows")]
    pub respite_windows: u64,
}

fn ranks() -> usize {
    3
}

fn respite_windows() -> u64 {
    32
}

impl Default for SuccessionConfig {
    fn default() -> Self {
        Self { first_blocks: None, next_blocks: None, ranks: ranks(), respite_windows: respite_windows() }
    }
}

use serde::{Deserialize, Serialize};

/// The text that is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `bytes`, or the id of a tokenizer.
    pub tokenizer: String,
    /// Hex of the hash of the prepared corpus; empty where it is not pinned.
    #[serde(default)]
    pub hash: String,
    /// Where the corpus can be fetched by anybody: `https://HOST/PATH`, or `s3://BUCKET/PREFIX` for those who have its key. With its hash
    /// pinned, none of them has to be trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// Sequences at the end of the corpus that nobody trains on.
    pub held_out_sequences: usize,
    /// How the text is dealt out.
    #[serde(default)]
    pub assignment: AssignmentRule,
    /// Peers that a window has parts for, with [`AssignmentRule::Disjoint`]: peers whose UIDs are as far apart share one.
    #[serde(default = "peers")]
    pub peers: u64,
}

/// How the text of a run is dealt out to the peers of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AssignmentRule {
    /// No two peers of a window share a sequence, and none comes again before the corpus is through: a keyed permutation of the corpus, cut by
    /// window; which part is whose is drawn by the hash of the first block of the window before.
    #[default]
    Disjoint,
    /// Every hotkey draws for itself, in every window anew: parts may overlap.
    Drawn,
    /// As the Python implementation draws, by UID and window.
    Reference,
}

/// The UIDs of a subnet.
fn peers() -> u64 {
    256
}

//! A scenario: the file that says who takes part, for how long, and under which rules.

use super::kinds::Kind;
use crate::manifest::{CompressConfig, GauntletConfig, ManifestError, ManifestFile, OuterConfig, Proof};
use serde::{Deserialize, Serialize};

/// What `templar sim` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Windows to simulate.
    pub windows: u64,
    /// Windows at the start that do not count in the accounts: nobody is known yet.
    pub settle: u64,
    /// Seconds that the put window is open.
    #[serde(default = "defaults::put_window_seconds")]
    pub put_window_seconds: f64,
    /// Sequences that a peer is assigned in a window.
    pub sequences: usize,
    /// Sequences of a micro-batch, the unit in which peers work and in which work is declared and audited.
    #[serde(default = "defaults::micro_batch")]
    pub micro_batch: usize,
    /// Symbols of a sequence.
    pub sequence_length: usize,
    /// Bytes of text; the newest of a longer text are left out.
    #[serde(default = "defaults::text_bytes")]
    pub text_bytes: u64,
    /// DeMo's constants.
    pub compress: CompressConfig,
    /// The steps.
    pub outer: OuterConfig,
    /// Whose rules: `local` or `templar-2` (ours), `templar-1` (the paper's) or `sparseloco` (the reference's last version).
    #[serde(default = "defaults::rules")]
    pub rules: String,
    /// Gauntlet's constants that differ from those of these rules.
    #[serde(default)]
    pub gauntlet: toml::Table,
    /// Defences that are taken away.
    #[serde(default)]
    pub without: Vec<Defence>,
    /// The peers that take part.
    pub peers: Vec<PeerSpec>,
    /// Who judges.
    pub validators: Vec<ValidatorSpec>,
}

mod defaults {
    pub fn put_window_seconds() -> f64 {
        10.0
    }
    pub fn micro_batch() -> usize {
        8
    }
    pub fn text_bytes() -> u64 {
        8_000_000
    }
    pub fn one() -> usize {
        1
    }
    pub fn rules() -> String {
        "local".to_owned()
    }
}

/// A defence that a scenario can do without, to see what it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defence {
    /// The search for copies.
    Overlap,
    /// The proof of computation.
    Proof,
    /// The audits of declared work: what is left is the proof by losses alone.
    Audits,
    /// What updates do for the loss: what is left is the work alone.
    Usefulness,
    /// The average of the last few windows: what is left is the slow one alone.
    Recent,
    /// The comparison of models.
    Sync,
    /// Every peer's pseudo-gradient counts with the same length.
    NormClip,
    /// Uploads count only in the put window.
    PutWindow,
    /// The rating.
    PlackettLuce,
}

impl Defence {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Overlap,
        Self::Proof,
        Self::Audits,
        Self::Usefulness,
        Self::Recent,
        Self::Sync,
        Self::NormClip,
        Self::PutWindow,
        Self::PlackettLuce,
    ];
}

/// Some peers of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerSpec {
    /// How many.
    #[serde(default = "defaults::one")]
    pub count: usize,
    /// The window in which they register; the first unless given.
    #[serde(default)]
    pub joins: u64,
    /// Windows over which the members' registrations are spread.
    #[serde(default)]
    pub joins_over: u64,
    /// Windows after which each is replaced: its UID is registered anew, with a new hotkey.
    #[serde(default)]
    pub replaced_every: Option<u64>,
    /// Probability that an upload fails.
    #[serde(default)]
    pub fails: f64,
    /// What they do.
    #[serde(flatten)]
    pub kind: Kind,
}

/// How a validator behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conduct {
    /// Judges.
    Honest,
    /// Sets what the consensus was.
    CopiesWeights,
    /// Judges, and gives its friends as much as the best peer.
    Favours,
    /// Judges, and where it leads it aggregates none of those who should be, and first of all those who are worth nothing.
    Misleads,
}

/// One validator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorSpec {
    /// Its stake, in TAO.
    pub stake: f64,
    /// What it does.
    pub conduct: Conduct,
    /// Probability that it cannot reach a peer's bucket in a window.
    #[serde(default)]
    pub misses: f64,
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The text is not a scenario.
    #[error("not a scenario")]
    Parse(#[source] Box<toml::de::Error>),
    /// A value makes no sense.
    #[error("the scenario's {field} {problem}")]
    Value {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A peer has a key that neither its kind nor all peers have.
    #[error("the scenario's peers of kind `{kind}` have no `{key}`")]
    UnknownKey {
        /// The kind.
        kind: String,
        /// The key.
        key: String,
    },
    /// There are no such rules.
    #[error("the scenario's rules cannot be used")]
    Preset(#[source] ManifestError),
    /// There is too little text for the sequences.
    #[error("the text has fewer than 100 sequences")]
    Text,
}

impl ScenarioError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Parse(_) | Self::Value { .. } | Self::UnknownKey { .. } => {
                "compare it with tests/sim/everyone.toml"
            }
            Self::Preset(_) => "name local, templar-2, templar-1 or sparseloco as its rules",
            Self::Text => "give more text with --text, or shorter sequences",
        }
    }
}

impl Scenario {
    /// Reads the text of a scenario.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|e| ScenarioError::Parse(Box::new(e)))?;
        let chance = |p: f64| (0.0..=1.0).contains(&p);
        let rules = [
            (scenario.windows > scenario.settle, "settle", "must be less than windows"),
            (scenario.sequences > 1, "sequences", "must be at least 2"),
            (
                (1..=scenario.sequences).contains(&scenario.micro_batch),
                "micro_batch",
                "must be from 1 to sequences",
            ),
            (scenario.sequence_length > 1, "sequence_length", "must be at least 2"),
            (
                (0.1..=3600.0).contains(&scenario.put_window_seconds),
                "put_window_seconds",
                "must be 0.1 to 3600",
            ),
            (!scenario.validators.is_empty(), "validators", "must be at least one"),
            (
                scenario.validators.iter().any(|v| v.conduct == Conduct::Honest),
                "validators",
                "must have an honest one: it leads",
            ),
            (scenario.peers.iter().all(|p| chance(p.fails)), "peers.fails", "must be 0 to 1"),
            (scenario.validators.iter().all(|v| chance(v.misses)), "validators.misses", "must be 0 to 1"),
            (
                (1..=1024).contains(&scenario.peers.iter().map(|p| p.count).sum::<usize>()),
                "peers",
                "must be 1 to 1024 in all",
            ),
        ];
        if let Some((_, field, problem)) = rules.into_iter().find(|(holds, ..)| !holds) {
            return Err(ScenarioError::Value { field, problem });
        }
        scenario.check_keys(text)?;
        scenario.gauntlet()?;
        Ok(scenario)
    }

    /// Finds keys of peers that nobody reads: serde cannot, where a kind's fields stand among those of all peers.
    /// Written again, a population has every key that was read.
    fn check_keys(&self, text: &str) -> Result<(), ScenarioError> {
        let parse = |e| ScenarioError::Parse(Box::new(e));
        let given: toml::Table = toml::from_str(text).map_err(parse)?;
        let given = given.get("peers").and_then(toml::Value::as_array).into_iter().flatten();
        for (given, read) in given.filter_map(toml::Value::as_table).zip(&self.peers) {
            let read = toml::Table::try_from(read)
                .map_err(|_| ScenarioError::Value { field: "peers", problem: "cannot be written" })?;
            if let Some(key) = given.keys().find(|key| !read.contains_key(*key)) {
                let kind = read.get("kind").and_then(toml::Value::as_str).unwrap_or_default();
                return Err(ScenarioError::UnknownKey { kind: kind.to_owned(), key: key.clone() });
            }
        }
        Ok(())
    }

    /// Gauntlet's constants: those of the rules named, the scenario's own over them, less the defences that
    /// are taken away.
    ///
    /// # Errors
    /// A constant that does not exist.
    pub fn gauntlet(&self) -> Result<GauntletConfig, ScenarioError> {
        let preset = ManifestFile::gauntlet(&self.rules).map_err(ScenarioError::Preset)?;
        let mut table = toml::Table::try_from(preset)
            .map_err(|_| ScenarioError::Value { field: "gauntlet", problem: "cannot be written" })?;
        table.extend(self.gauntlet.clone());
        let mut rules: GauntletConfig = table.try_into().map_err(|e| ScenarioError::Parse(Box::new(e)))?;
        if !rules.audits_hold() || rules.audit.is_some() && rules.random_sequences < 2 * self.micro_batch {
            let problem = "belongs to the proof `audited`, with two micro-batches of random data or more";
            return Err(ScenarioError::Value { field: "gauntlet.audit", problem });
        }
        for defence in &self.without {
            rules.remove(*defence);
        }
        Ok(rules)
    }

    /// The same without the peers that are not honest.
    pub fn clean(&self) -> Self {
        let mut clean = self.clone();
        clean.peers.retain(|p| p.kind.class() == super::Class::Honest);
        clean
    }
}

impl GauntletConfig {
    /// Takes a defence away that is one of Gauntlet's constants.
    fn remove(&mut self, defence: Defence) {
        let audit = self.audit.as_mut();
        match defence {
            Defence::Usefulness => audit.into_iter().for_each(|audit| audit.benefit_errors = 1e12),
            Defence::Recent => audit.into_iter().for_each(|audit| audit.recent_alpha = 0.0),
            Defence::Overlap => self.overlap_max = 2.0,
            Defence::Proof => (self.proof, self.audit) = (Proof::Off, None),
            Defence::Audits => *self = self.clone().without_audits(),
            Defence::Sync => (self.sync_max, self.sync_limit) = (1e12, 1e12),
            Defence::PlackettLuce => self.rating = crate::manifest::RatingUse::Off,
            Defence::NormClip | Defence::PutWindow => {}
        }
    }
}

use std::path::PathBuf;

/// Why text cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The sources hold no text.
    #[error("no text was found in {sources}")]
    NoText {
        /// The files and folders that were searched.
        sources: String,
    },
    /// A file that was named is not text.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what its name says.
    #[error("{file} cannot be read: {problem}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file has no column or field with the text.
    #[error("{file} has no column `{column}`; it has: {there}")]
    NoColumn {
        /// The column that was asked for.
        column: String,
        /// The file.
        file: String,
        /// The columns that it has.
        there: String,
    },
    /// A document cannot become tokens.
    #[error("document {number} of {file} {problem}")]
    Document {
        /// The file.
        file: String,
        /// The document in it, from 1: a row, or a line.
        number: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// What the default text is made of is not on this machine.
    #[error("there is no text to train on by default: cargo's registry on this machine has no {missing}")]
    NoRegistry {
        /// The first folder that is missing.
        missing: String,
    },
    /// A tokenizer cannot be used.
    #[error("the tokenizer cannot be used: {problem}")]
    Tokenizer {
        /// Why.
        problem: String,
    },
    /// Shards would not hold whole sequences.
    #[error("a shard of {shard} tokens does not hold whole sequences of {sequence}")]
    Cut {
        /// Tokens of a sequence.
        sequence: u64,
        /// Tokens of a shard.
        shard: u64,
    },
    /// There is a corpus in the folder already.
    #[error("{} has a corpus already", path.display())]
    AlreadyThere {
        /// The folder.
        path: PathBuf,
    },
    /// Another preparation was begun in the folder.
    #[error("{} holds the beginning of another corpus: of other text, or with other settings", path.display())]
    OtherPreparation {
        /// The folder.
        path: PathBuf,
    },
    /// Another process prepares into the folder.
    #[error("another process prepares a corpus in {}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The corpus' manifest cannot be used.
    #[error("the corpus' manifest cannot be used: {problem}")]
    BadManifest {
        /// Why.
        problem: String,
    },
    /// A file is not the one that the manifest describes.
    #[error("{} is not as the corpus' manifest describes it: {problem}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// There is too little text.
    #[error("the corpus has {sequences} sequences of {seq_len} tokens; {needed} are needed")]
    TooSmall {
        /// Sequences that there are.
        sequences: u64,
        /// Tokens of a sequence.
        seq_len: usize,
        /// The least that would do: the held-out ones and one to train on.
        needed: u64,
    },
    /// A sequence has a token that the corpus should not have.
    #[error("sequence {index} of the corpus has the token {token}, which its vocabulary does not have")]
    NoToken {
        /// The sequence.
        index: u64,
        /// The token.
        token: i64,
    },
    /// Nobody who was asked has it.
    #[error("{what} cannot be fetched: {problem}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// What each said.
        problem: String,
    },
    /// The corpus does not have a sequence.
    #[error("the corpus has no sequence {index}")]
    NoSequence {
        /// The sequence.
        index: u64,
    },
}

impl DataError {
    pub(crate) fn tokenizer(error: impl std::fmt::Display) -> Self {
        Self::Tokenizer { problem: error.to_string() }
    }

    /// Whether the same may go well a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "Make room on the disk and start again: it goes on where it was."
            }
            Self::File { .. } => "Check that it is there and that this user may use it.",
            Self::NoText { .. } => {
                "Name Parquet, JSON lines or text files, or a folder that has some (of text: .rs, .md and .txt)."
            }
            Self::NotText { .. } => {
                "Name text files only; in a folder, other files are left out by themselves."
            }
            Self::Damaged { .. } => "Get the file again, or leave it out.",
            Self::NoColumn { .. } => "Name the column that has the text with --text-column.",
            Self::Document { .. } => "Put it right, or leave such documents out with --skip-bad.",
            Self::NoRegistry { .. } => {
                "Name text files or folders with --data, or run `cargo fetch` in a clone of this program."
            }
            Self::Tokenizer { .. } => "Name a tokenizer.json, a repository as hf:OWNER/NAME, or `bytes`.",
            Self::Cut { .. } => "Give --shard-tokens a multiple of --sequence-length.",
            Self::AlreadyThere { .. } => "Name another folder with --out, or remove this one.",
            Self::OtherPreparation { .. } => {
                "Name the same input and settings to go on with it, or another folder with --out."
            }
            Self::Busy { .. } => "Wait for it, or name another folder with --out.",
            Self::BadManifest { .. } | Self::Differs { .. } | Self::NoToken { .. } => {
                "Get the corpus again, or prepare it again in an empty folder."
            }
            Self::TooSmall { .. } => "Add text, or hold fewer sequences out in the run manifest.",
            Self::Unreachable { .. } => {
                "Check the network and the places that were named, and start again: what is done is kept."
            }
            Self::NoSequence { .. } => "Name the run's prepared corpus with --data.",
        }
    }
}

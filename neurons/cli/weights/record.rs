//! The file that a history is written to, part after part, so that a search that was cut off can go on.
//!
//! The parts go as JSON lines to the file itself, or for a table to `FILE.part`. Beside it, `FILE.state` says what
//! was searched and how long the file was then; what a cut-off run wrote beyond that is taken away again.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use templar::{
    chain::{HistoryPart, HistoryQuery, SubtensorClient, WeightEvent},
    report::weights::{self, WeightsReportError},
    telemetry::files::write_atomic,
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

use crate::cli::{Exit, Failure};

/// What the file becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    Parquet,
}

impl Format {
    /// By the file's extension.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Failure::new(Exit::Usage, format!("--out {} has no known ending", path.display()))
                .hint("let it end in .jsonl or .parquet")),
        }
    }
}

/// What is searched: a run can only go on with a file that is about the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    genesis: String,
    netuid: NetUid,
    validator: Option<Uid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hotkey: Option<AccountId>,
    from: Block,
}

impl Scope {
    pub fn new(chain: &SubtensorClient, query: &HistoryQuery, hotkey: Option<&AccountId>) -> Self {
        let genesis: String = chain.genesis_hash().iter().map(|byte| format!("{byte:02x}")).collect();
        let HistoryQuery { netuid, validator, from, .. } = *query;
        Self { genesis: format!("0x{genesis}"), netuid, validator, hotkey: hotkey.cloned(), from }
    }
}

/// How far the file goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    scope: Scope,
    /// The first block that has not been searched.
    next: Block,
    /// The bytes of the file up to there.
    bytes: u64,
}

/// The file, while it is written.
pub struct Record {
    path: PathBuf,
    format: Format,
    lines: PathBuf,
    file: File,
    state: State,
    found: usize,
}

impl Record {
    /// A new file, or the one of an earlier run. `from` is the first block if it was asked for.
    pub fn open(
        path: &Path,
        format: Format,
        scope: Scope,
        from: Option<Block>,
        resume: bool,
    ) -> Result<Self, Failure> {
        let lines = match format {
            Format::JsonLines => path.to_owned(),
            Format::Parquet => with(path, ".part"),
        };
        let new = State { next: scope.from, scope, bytes: 0 };
        // What nobody may have to search for again is never overwritten.
        let state = match (resume, fs::read(with(path, ".state"))) {
            (true, Ok(bytes)) => Self::earlier(path, &bytes, &new.scope, from)?,
            (true, Err(e)) if e.kind() != std::io::ErrorKind::NotFound => return Err(trouble(path, e)),
            _ if path.exists() || lines.exists() => {
                let hint = match resume {
                    true => "name another file: this one was not left by a run that was cut off",
                    false => "name another file, or go on with this one with --resume",
                };
                return Err(
                    Failure::new(Exit::Usage, format!("{} is there already", path.display())).hint(hint)
                );
            }
            _ => new,
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lines);
        let mut file = file.map_err(|e| trouble(&lines, e))?;
        let length = file.metadata().map_err(|e| trouble(&lines, e))?.len();
        if length < state.bytes {
            return Err(Failure::new(Exit::Data, format!("{} is shorter than it was left", lines.display()))
                .hint("start again with another file"));
        }
        let cut = file.set_len(state.bytes).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.map_err(|e| trouble(&lines, e))?;
        Ok(Self { path: path.to_owned(), format, lines, file, state, found: 0 })
    }

    fn earlier(path: &Path, bytes: &[u8], wanted: &Scope, from: Option<Block>) -> Result<State, Failure> {
        let state: State = serde_json::from_slice(bytes).map_err(|e| {
            Failure::new(Exit::Data, format!("{} cannot be read: {e}", with(path, ".state").display()))
                .hint("start again with another file")
        })?;
        let scope = Scope { from: state.scope.from, ..wanted.clone() };
        if scope != state.scope || from.is_some_and(|from| from != state.scope.from) {
            let words =
                format!("{} is about another chain, subnet, validator or first block", path.display());
            return Err(
                Failure::new(Exit::Usage, words).hint("give the same flags as before, or name another file")
            );
        }
        Ok(state)
    }

    /// The block to go on with.
    pub fn next(&self) -> Block {
        self.state.next
    }

    /// Adds a part, and notes that it is there.
    pub fn add(&mut self, part: &HistoryPart) -> Result<(), Failure> {
        let text = weights::to_jsonl(&part.events)?;
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|e| trouble(&self.lines, e))?;
        self.found += part.events.len();
        self.state.bytes += text.len() as u64;
        self.state.next = part.to + 1;
        self.note()
    }

    fn note(&self) -> Result<(), Failure> {
        let path = with(&self.path, ".state");
        let text = serde_json::to_vec(&self.state)
            .map_err(|e| Failure::new(Exit::Unexpected, format!("cannot write {}: {e}", path.display())))?;
        write_atomic(&path, &text).map_err(|e| trouble(&path, e))
    }

    /// Makes the file what it should be. The events that are in it, where they are wanted.
    pub fn finish(self, wanted: bool) -> Result<Vec<WeightEvent>, Failure> {
        self.note()?;
        let read = || -> Result<Vec<WeightEvent>, Failure> {
            let file = File::open(&self.lines).map_err(|e| trouble(&self.lines, e))?;
            weights::from_jsonl(BufReader::new(file)).map_err(Failure::from)
        };
        let events = if wanted || self.format == Format::Parquet { read()? } else { Vec::new() };
        if self.format == Format::Parquet {
            let table = weights::to_parquet(&events).map_err(WeightsReportError::from)?;
            write_atomic(&self.path, &table).map_err(|e| trouble(&self.path, e))?;
        }
        eprintln!(
            "{} new in blocks {} to {}: {}",
            self.found,
            self.state.scope.from,
            self.state.next.saturating_sub(1),
            self.path.display()
        );
        Ok(events)
    }
}

/// The path with more at its end.
fn with(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

fn trouble(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Exit::Storage, format!("cannot use {}: {error}", path.display()))
        .hint("see that the folder exists and the disk has room")
}

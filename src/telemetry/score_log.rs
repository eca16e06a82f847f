//! The score log: append-only JSON lines, one record a line, signed window by window.
//!
//! A window is its records ([`ScoreRecord`], one for each peer) and one closing line with the blake3 hash
//! of the records' bytes and the validator's signature. The same text is what the validator publishes for
//! the window. A reader checks hash and signature, so a bit that was changed anywhere is found.

use crate::{
    gauntlet::{Hotkey, ScoreRecord},
    window::Window,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// What every signed message starts with, so that a signature of a window is good for nothing else.
const DOMAIN: &[u8] = b"templar score log v1\0";

/// Longest published log of one window that is read, in bytes. One of 256 peers has some 300 kB.
pub const MAX_WINDOW_BYTES: u64 = 4 << 20;

/// The line that closes a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// The window that it closes.
    pub closes: Window,
    /// The run: the first 8 bytes of the manifest's hash, in hex.
    pub run: String,
    /// Who judged.
    pub validator: Hotkey,
    /// Records of the window.
    pub records: usize,
    /// blake3 over the records' lines, each with its line feed, in hex.
    pub blake3: String,
    /// sr25519 signature over [`message`], in hex.
    pub signature: String,
}

/// One window of a log whose hash and signature are good.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedWindow {
    /// The records, as they were written.
    pub records: Vec<ScoreRecord>,
    /// The line after them.
    pub closing: Closing,
    /// All of its lines, byte by byte.
    pub text: String,
}

/// Why a score log cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreLogError {
    /// The file cannot be read or written.
    #[error("cannot use the score log {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A record cannot be written as JSON.
    #[error("cannot write a score record of window {window}")]
    Write {
        /// Its window.
        window: Window,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record says another window than the one it is written for.
    #[error("a score record of window {record} stands in window {window}")]
    WrongWindow {
        /// The window of the closing line.
        window: Window,
        /// The window of the record.
        record: Window,
    },
    /// A whole line that was not signed is nothing that this program writes.
    #[error("line {line} of the score log {path} is whole, and nothing that this program writes")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
    },
    /// A line is neither a record nor a closing line.
    #[error("line {line} of the score log is no record")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The records are not those that were signed.
    #[error("the records of window {window} are not those that were signed")]
    Hash {
        /// The window.
        window: Window,
    },
    /// The signature is not the validator's.
    #[error("the signature of window {window} is not that of {validator}")]
    Signature {
        /// The window.
        window: Window,
        /// Who should have signed.
        validator: Hotkey,
    },
    /// Windows do not ascend.
    #[error("window {window} comes after window {last} in the score log")]
    Order {
        /// The window.
        window: Window,
        /// The one before it.
        last: Window,
    },
}

impl ScoreLogError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "see that the folder exists and the disk has room",
            Self::Write { .. } | Self::WrongWindow { .. } => "this is a defect of the program; report it",
            Self::Unknown { .. } => {
                "a newer program may have written it, so it is not cut: start that one, or move the file away to begin a new log"
            }
            Self::Order { .. } => "each window is logged once; go on with the next one",
            Self::Line { .. } | Self::Hash { .. } | Self::Signature { .. } => {
                "the log was changed after it was written, or damaged; fetch it again from the validator's bucket"
            }
        }
    }
}

/// The bytes that are signed for a window: a fixed prefix, the run's name, the window and the hash.
pub fn message(run: &str, window: Window, blake3: &[u8; 32]) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(&(run.len() as u64).to_le_bytes());
    message.extend_from_slice(run.as_bytes());
    message.extend_from_slice(&window.to_le_bytes());
    message.extend_from_slice(blake3);
    message
}

/// The text of one window: its records and the closing line, signed by `sign`.
///
/// The text is the same for the same records: it can be compared byte by byte.
///
/// # Errors
///
/// When a record belongs to another window.
pub fn sign_window(
    run: &str,
    window: Window,
    validator: &Hotkey,
    records: &[ScoreRecord],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<String, ScoreLogError> {
    let mut text = String::new();
    for record in records {
        if record.window != window {
            return Err(ScoreLogError::WrongWindow { window, record: record.window });
        }
        push_line(&mut text, window, record)?;
    }
    let hash = blake3::hash(text.as_bytes());
    let closing = Closing {
        closes: window,
        run: run.to_owned(),
        validator: validator.clone(),
        records: records.len(),
        blake3: hash.to_hex().to_string(),
        signature: hex::encode(sign(&message(run, window, hash.as_bytes()))),
    };
    push_line(&mut text, window, &closing)?;
    Ok(text)
}

fn push_line(text: &mut String, window: Window, line: &impl Serialize) -> Result<(), ScoreLogError> {
    text.push_str(&serde_json::to_string(line).map_err(|source| ScoreLogError::Write { window, source })?);
    text.push('\n');
    Ok(())
}

/// Reads a log or the object of one window, and checks everything in it.
///
/// `verify(validator, message, signature)` says whether the signature is the validator's. Whose log it
/// should be, and of which run, is for the caller to compare. Lines after the last closing line were not
/// signed and are left out.
///
/// # Errors
///
/// At the first thing that is wrong.
pub fn read(
    text: &str,
    verify: impl Fn(&Hotkey, &[u8], &[u8; 64]) -> bool,
) -> Result<Vec<LoggedWindow>, ScoreLogError> {
    let mut windows: Vec<LoggedWindow> = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut records = Vec::new();
    // A record that cannot be read only matters if a closing line follows: the last one may be torn.
    let mut torn = None;
    let (mut start, mut end) = (0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        end += line.len();
        if let Some(error) = torn {
            return Err(error);
        }
        if let Ok(closing) = serde_json::from_str::<Closing>(line) {
            check(&closing, &records, hasher.finalize().as_bytes(), &verify)?;
            if let Some(last) = windows.last().map(|last| last.closing.closes)
                && closing.closes <= last
            {
                return Err(ScoreLogError::Order { window: closing.closes, last });
            }
            let (records, text) = (std::mem::take(&mut records), text[start..end].to_owned());
            windows.push(LoggedWindow { records, closing, text });
            start = end;
            hasher.reset();
            continue;
        }
        hasher.update(line.as_bytes());
        match record(line) {
            Ok(record) => records.push(record),
            Err(source) => torn = Some(ScoreLogError::Line { line: index + 1, source }),
        }
    }
    Ok(windows)
}

/// Reads a record by way of a `Value`: where that keeps numbers as they are written (serde_json's
/// `arbitrary_precision`, which the chain's client turns on), they come out to the last bit. Read straight from
/// text, some are off by one unit in the last place.
fn record(line: &str) -> Result<ScoreRecord, serde_json::Error> {
    serde_json::from_value(serde_json::from_str(line)?)
}

fn check(
    closing: &Closing,
    records: &[ScoreRecord],
    hash: &[u8; 32],
    verify: impl Fn(&Hotkey, &[u8], &[u8; 64]) -> bool,
) -> Result<(), ScoreLogError> {
    let window = closing.closes;
    if closing.records != records.len() || closing.blake3 != hex::encode(hash) {
        return Err(ScoreLogError::Hash { window });
    }
    if let Some(record) = records.iter().find(|record| record.window != window) {
        return Err(ScoreLogError::WrongWindow { window, record: record.window });
    }
    let mut signature = [0; 64];
    let good = hex::decode_to_slice(&closing.signature, &mut signature).is_ok()
        && verify(&closing.validator, &message(&closing.run, window, hash), &signature);
    if good { Ok(()) } else { Err(ScoreLogError::Signature { window, validator: closing.validator.clone() }) }
}

/// What is read of the end of a log at first, in bytes.
const TAIL: u64 = 1 << 20;

/// Where the last closing line of a log ends, and which window it closes. Read from the end: a log of 20,000 windows has gigabytes.
fn last_closing(file: &mut File) -> std::io::Result<(u64, Option<Window>)> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut size = TAIL.min(length);
    loop {
        let begin = length - size;
        file.seek(SeekFrom::Start(begin))?;
        let mut tail = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_exact(&mut tail)?;
        let mut end = tail.len();
        for line in tail.split_inclusive(|byte| *byte == b'\n').rev() {
            // One that is not whole, and is no closing line for that.
            if line.ends_with(b"\n")
                && let Ok(closing) = serde_json::from_slice::<Closing>(line)
            {
                return Ok((begin + end as u64, Some(closing.closes)));
            }
            end -= line.len();
        }
        if begin == 0 {
            return Ok((0, None));
        }
        size = size.saturating_mul(4).min(length);
    }
}

/// A score log on disk, open for appending.
#[derive(Debug)]
pub struct ScoreLog {
    path: PathBuf,
    file: File,
    last_window: Option<Window>,
}

impl ScoreLog {
    /// Opens a log, or starts one. What stands after the last closing line was being written when the
    /// program died; it is cut off: records of a window that was not signed, and an unfinished line. A whole line that is
    /// neither was written by another program, a newer one perhaps, whose log is not for this one to cut.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, cut or made, or has such a line; then nothing is cut.
    pub fn open(path: &Path) -> Result<Self, ScoreLogError> {
        let error = |source| ScoreLogError::File { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(error)?;
        let (signed, last_window) = last_closing(&mut file).map_err(error)?;
        file.seek(SeekFrom::Start(signed)).map_err(error)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(error)?;
        if !tail.is_empty() {
            let whole = tail.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
            let unknown =
                whole.map(std::str::from_utf8).position(|line| !line.is_ok_and(|l| record(l).is_ok()));
            if let Some(index) = unknown {
                file.seek(SeekFrom::Start(0)).map_err(error)?;
                let lines = BufReader::new(&file).take(signed).split(b'\n').count();
                return Err(ScoreLogError::Unknown { path: path.to_owned(), line: lines + index + 1 });
            }
            file.set_len(signed).map_err(error)?;
        }
        file.seek(SeekFrom::Start(signed)).map_err(error)?;
        Ok(Self { path: path.to_owned(), file, last_window })
    }

    /// The last window that is in the log.
    pub fn last_window(&self) -> Option<Window> {
        self.last_window
    }

    /// Appends a window as [`sign_window`] made it, and waits until it is on disk. A window that is not
    /// later than the last one is refused.
    ///
    /// # Errors
    ///
    /// When the window is out of order or the file cannot be written; a half-written window is cut off
    /// by the next [`ScoreLog::open`].
    pub fn append(&mut self, window: Window, text: &str) -> Result<(), ScoreLogError> {
        if let Some(last) = self.last_window.filter(|last| window <= *last) {
            return Err(ScoreLogError::Order { window, last });
        }
        let before = self.file.metadata().map(|metadata| metadata.len());
        let written = super::files::has_room();
        let written =
            written.and_then(|()| self.file.write_all(text.as_bytes())).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a window must not stay where the next one is appended.
            if let Ok(length) = before {
                let _ = self.file.set_len(length);
            }
            return Err(ScoreLogError::File { path: self.path.clone(), source });
        }
        self.last_window = Some(window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gauntlet::{Gauntlet, Observation, Peer, stage1::Stage1},
        manifest::ManifestFile,
    };
    use sp_core::{Pair, sr25519};

    fn pair() -> sr25519::Pair {
        sr25519::Pair::from_seed(&[5; 32])
    }

    fn window(gauntlet: &mut Gauntlet, window: Window) -> String {
        let observe = |n: u8| Observation {
            hotkey: Hotkey::from([n; 32]),
            stage1: Stage1::Accepted { seconds: 1, steps_behind: 1.0 / 3.0 },
            evidence: None,
            aggregated: false,
        };
        let records = gauntlet.update(window, 1e-3, &[observe(1), observe(2)]).unwrap();
        let pair = pair();
        sign_window("00ff", window, &pair.public().0.into(), &records, |message| pair.sign(message).0)
            .unwrap()
    }

    fn gauntlet() -> Gauntlet {
        let mut gauntlet = Gauntlet::new(&ManifestFile::preset("local").unwrap().parsed.gauntlet);
        let peer = |n: u8| Peer { hotkey: [n; 32].into(), uid: n.into(), registered_at_block: 0 };
        gauntlet.roster(&[peer(1), peer(2)]);
        gauntlet
    }

    fn verify(validator: &Hotkey, message: &[u8], signature: &[u8; 64]) -> bool {
        let public = sr25519::Public::from_raw(*AsRef::<[u8; 32]>::as_ref(validator));
        sr25519::Pair::verify(&sr25519::Signature::from_raw(*signature), message, &public)
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let mut gauntlet = gauntlet();
        let text = window(&mut gauntlet, 3) + &window(&mut gauntlet, 5);
        let windows = read(&text, verify).unwrap();
        assert_eq!(windows.iter().map(|w| w.closing.closes).collect::<Vec<_>>(), [3, 5]);
        assert_eq!((windows[0].records.len(), windows[0].records[1].uid), (2, 2));
        assert_eq!(windows.iter().map(|w| w.text.as_str()).collect::<String>(), text);
        assert_eq!(read("", verify).unwrap(), []);
    }

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        let text = window(&mut gauntlet(), 3);
        let mut written = read(&text, verify).unwrap().remove(0).records.remove(0);
        for bits in (0..2000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            written.score = f64::from_bits(bits);
            if written.score.is_finite() {
                let line = serde_json::to_string(&written).unwrap();
                assert_eq!(record(&line).unwrap().score.to_bits(), bits, "{line}");
            }
        }
    }

    #[test]
    fn any_changed_bit_is_found() {
        let text = window(&mut gauntlet(), 3);
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            // A change in the last line can make it no closing line: then nothing is left that is signed.
            // The last line feed is the one byte that nothing depends on.
            let unfound = read(&changed, verify).is_ok_and(|windows| !windows.is_empty());
            assert!(!unfound || position + 1 == text.len(), "byte {position} of {}", text.len());
        }
    }

    #[test]
    fn windows_ascend_and_records_stay_in_theirs() {
        let mut gauntlet = gauntlet();
        let (three, five) = (window(&mut gauntlet, 3), window(&mut gauntlet, 5));
        let order = read(&(five + &three), verify).unwrap_err();
        assert!(matches!(order, ScoreLogError::Order { window: 3, last: 5 }), "{order}");
        let record = read(&three, verify).unwrap().remove(0).records.remove(0);
        let wrong = sign_window("00ff", 4, &[0; 32].into(), &[record], |_| [0; 64]).unwrap_err();
        assert!(matches!(wrong, ScoreLogError::WrongWindow { window: 4, record: 3 }));
    }

    #[test]
    fn what_was_half_written_is_cut_and_the_log_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.jsonl");
        let mut gauntlet = gauntlet();
        let (first, second) = (window(&mut gauntlet, 1), window(&mut gauntlet, 2));
        for cut in 0..second.len() {
            std::fs::write(&path, first.clone() + &second[..cut]).unwrap();
            let mut log = ScoreLog::open(&path).unwrap();
            assert_eq!(log.last_window(), Some(1), "cut at {cut}");
            log.append(2, &second).unwrap();
            assert!(matches!(log.append(2, &second), Err(ScoreLogError::Order { .. })));
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text, first.clone() + &second);
        }
        assert_eq!(ScoreLog::open(&path).unwrap().last_window(), Some(2));
        assert_eq!(ScoreLog::open(&folder.path().join("new")).unwrap().last_window(), None);
        // More than is read at first.
        let record = second.lines().next().unwrap().to_owned() + "\n";
        let torn = record.repeat(2 * TAIL as usize / record.len()) + "{";
        std::fs::write(&path, first.clone() + &torn).unwrap();
        assert_eq!(ScoreLog::open(&path).unwrap().last_window(), Some(1));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(ScoreLog::open(&path).unwrap().last_window(), None);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_a_newer_program_wrote_is_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.jsonl");
        let mut gauntlet = gauntlet();
        let (first, second) = (window(&mut gauntlet, 1), window(&mut gauntlet, 2));
        let closing = second.lines().last().unwrap().replacen('{', r#"{"more":1,"#, 1);
        let records = second.lines().count() - 1;
        let newer: String = second.lines().take(records).map(|line| format!("{line}\n")).collect();
        let unread = first.lines().count() + records + 1;
        for (tail, line) in [
            (format!("{newer}{closing}\n"), unread),
            (format!("{newer}{closing}\n{{\"torn"), unread),
            (format!("a word\n{newer}"), first.lines().count() + 1),
        ] {
            std::fs::write(&path, first.clone() + &tail).unwrap();
            let error = ScoreLog::open(&path).unwrap_err();
            assert!(matches!(error, ScoreLogError::Unknown { line: found, .. } if found == line), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), first.clone() + &tail);
        }
    }

    #[test]
    fn a_reader_passes_over_a_torn_end() {
        let mut gauntlet = gauntlet();
        let text = window(&mut gauntlet, 1);
        let torn = text.clone() + &window(&mut gauntlet, 2)[..100];
        assert_eq!(read(&torn, verify).unwrap(), read(&text, verify).unwrap());
        let broken = format!("nonsense\n{text}");
        assert!(matches!(read(&broken, verify), Err(ScoreLogError::Line { line: 1, .. })));
    }
}

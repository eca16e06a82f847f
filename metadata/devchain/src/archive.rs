//! The blocks on disk: one file that only grows, read back at the start.
//!
//! A record is its length (u32, little endian), the first 8 bytes of the BLAKE2b-256 hash of its content,
//! and its content. Each reaches the disk before its block is known to anybody, so a torn record at the end,
//! left by a crash, was never acknowledged and is cut off. Anything else that does not fit is damage.

use crate::history::{Changes, root};
use node_subtensor_runtime::Header;
use parity_scale_codec::{Decode, Encode};
use sp_core::H256;
use sp_io::hashing::blake2_256;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Longest record that is believed, in bytes: a block's length limit is 10 MiB, and so may be its changes.
const MAX_RECORD_BYTES: u64 = 64 << 20;
/// Bytes before a record's content.
const HEAD_BYTES: u64 = 12;

/// A block as it is kept: with what it changed, so that no later version needs to execute it again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    /// The block's header.
    pub header: Header,
    /// Its extrinsics, inherents included.
    pub extrinsics: Vec<Vec<u8>>,
    /// What it changed.
    pub changes: Changes,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The system refuses.
    #[error("cannot use the block file")]
    Io(#[from] io::Error),
    /// Another process has it open.
    #[error("another process uses the block file")]
    InUse,
    /// A record is damaged, and it is not the last one.
    #[error("the block file is damaged at byte {at}")]
    Damaged {
        /// Where the record begins.
        at: u64,
    },
    /// A block does not follow the one before it.
    #[error("block {number} of the block file does not follow the one before it")]
    OutOfOrder {
        /// Its number.
        number: u32,
    },
}

/// The open file.
pub(crate) struct Archive {
    file: File,
    /// Where the last record begins, and where it ends.
    last: (u64, u64),
}

impl Archive {
    /// Opens the file in a folder, makes it if it is not there, and gives each of its records away.
    pub fn open(dir: &Path, mut each: impl FnMut(Record)) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(dir)?;
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(dir.join("blocks"))?;
        file.try_lock().map_err(|_| ArchiveError::InUse)?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::new(&file);
        let (mut at, mut before, mut parent) = (0, 0, None);
        while let Some((record, end)) = read(&mut reader, at, length)? {
            parent = Some(follow(parent, &record)?);
            each(record);
            (before, at) = (at, end);
        }
        if at < length {
            tracing::warn!(bytes = length - at, "the end of the block file was torn and is cut off");
            file.set_len(at)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { file, last: (before, at) })
    }

    /// Writes a record and waits until it is on disk.
    pub fn append(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let bytes = write(record);
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.last = (self.last.1, self.last.1 + bytes.len() as u64);
        Ok(())
    }

    /// Writes a record in place of the last one.
    pub fn replace(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let (at, _) = self.last;
        self.file.set_len(at)?;
        self.file.seek(SeekFrom::Start(at))?;
        self.last = (at, at);
        self.append(record)
    }
}

/// Checks that a record follows the block before it; returns what the next one has to follow.
fn follow(parent: Option<(u32, H256, H256)>, record: &Record) -> Result<(u32, H256, H256), ArchiveError> {
    let header = &record.header;
    let (number, hash, state) = match parent {
        None => (0, H256::zero(), H256::zero()),
        Some((number, hash, state)) => (number.saturating_add(1), hash, state),
    };
    let fits = header.number == number
        && header.parent_hash == hash
        && header.state_root == root(state, &record.changes);
    if !fits {
        return Err(ArchiveError::OutOfOrder { number });
    }
    Ok((number, header.hash(), header.state_root))
}

fn check(content: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake2_256(content)[..8]);
    sum
}

fn write(record: &Record) -> Vec<u8> {
    let content = record.encode();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&check(&content));
    bytes.extend_from_slice(&content);
    bytes
}

/// The record that begins at this byte, and where it ends; `None` at the end of the file or of what is
/// whole in it.
fn read(reader: &mut impl Read, at: u64, length: u64) -> Result<Option<(Record, u64)>, ArchiveError> {
    let rest = length - at;
    if rest < HEAD_BYTES {
        return Ok(None);
    }
    let (mut size, mut sum) = ([0; 4], [0; 8]);
    reader.read_exact(&mut size)?;
    reader.read_exact(&mut sum)?;
    let size = u64::from(u32::from_le_bytes(size));
    if size > rest - HEAD_BYTES {
        return Ok(None);
    }
    if size > MAX_RECORD_BYTES {
        return Err(ArchiveError::Damaged { at });
    }
    let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
    reader.read_exact(&mut content)?;
    let end = at + HEAD_BYTES + size;
    if check(&content) == sum {
        let record = Record::decode(&mut &content[..]).map_err(|_| ArchiveError::Damaged { at })?;
        return Ok(Some((record, end)));
    }
    // A file that grew before its content was written has zeros at its end.
    let only_zeros =
        size == 0 && sum == [0; 8] && io::BufReader::new(reader).bytes().all(|byte| matches!(byte, Ok(0)));
    if end == length || only_zeros { Ok(None) } else { Err(ArchiveError::Damaged { at }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_runtime::traits::Header as _;

    fn records() -> Vec<Record> {
        let mut parent = (H256::zero(), H256::zero());
        let make = |number| {
            let changes = vec![(b"number".to_vec(), Some(vec![number])), (vec![number], None)];
            let state = root(parent.1, &changes);
            let header = Header::new(number.into(), H256::zero(), state, parent.0, Default::default());
            parent = (header.hash(), state);
            Record { header, extrinsics: vec![vec![number; 9], vec![]], changes }
        };
        (0..3).map(make).collect()
    }

    fn open(bytes: &[u8]) -> Result<(Vec<Record>, u64), ArchiveError> {
        let dir = std::env::temp_dir().join(format!("archive-{:?}", std::thread::current().id()));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("blocks"), bytes)?;
        let mut records = vec![];
        let opened = Archive::open(&dir, |record| records.push(record)).map(drop);
        let length = std::fs::metadata(dir.join("blocks"))?.len();
        std::fs::remove_dir_all(&dir)?;
        opened.map(|()| (records, length))
    }

    #[test]
    fn a_torn_end_is_cut_and_what_was_before_stays() {
        let records = records();
        let bytes: Vec<u8> = records.iter().flat_map(write).collect();
        let two = bytes.len() - write(&records[2]).len();
        assert_eq!(open(&bytes).unwrap(), (records.clone(), bytes.len() as u64));
        for end in two..bytes.len() {
            assert_eq!(open(&bytes[..end]).unwrap(), (records[..2].to_vec(), two as u64), "cut at {end}");
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(open(&flipped).unwrap().0, records[..2]);
        let zeros = [&bytes[..], &[0; 99]].concat();
        assert_eq!(open(&zeros).unwrap(), (records, bytes.len() as u64));
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let records = records();
        let mut bytes: Vec<u8> = records.iter().flat_map(write).collect();
        bytes[20] ^= 1;
        assert!(matches!(open(&bytes), Err(ArchiveError::Damaged { at: 0 })));
        let swapped: Vec<u8> = [&records[0], &records[2]].into_iter().flat_map(write).collect();
        assert!(matches!(open(&swapped), Err(ArchiveError::OutOfOrder { number: 1 })));
    }
}

//! Pieces on disk, in one file of bounded size: the newest ones.

use super::tree::{PIECE, Piece};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Bytes that name a piece in the index.
const ENTRY: usize = 24;

/// The newest pieces, in slots of one size. When all are taken, the oldest goes.
///
/// Nothing here is trusted: who reads a piece checks its hash. So nothing is synced, and what a crash tears is fetched again.
#[derive(Debug)]
pub(super) struct Slab {
    pieces: File,
    index: File,
    slots: HashMap<Piece, u64>,
    held: Vec<Option<(Piece, u32)>>,
    next: u64,
    capacity: u64,
}

impl Slab {
    /// Opens the cache in a folder; it has `bytes` at most, and a little more for the names of the pieces. One of another size is emptied.
    pub fn open(folder: &Path, bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let capacity = (bytes / (PIECE + ENTRY) as u64).max(16);
        let open = |name: &str| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(name))
        };
        let (pieces, mut index) = (open("pieces.slab")?, open("pieces.index")?);
        let mut entries = Vec::new();
        if index.metadata()?.len() <= capacity * ENTRY as u64
            && pieces.metadata()?.len() <= capacity * PIECE as u64
        {
            index.read_to_end(&mut entries)?;
        } else {
            index.set_len(0)?;
            pieces.set_len(0)?;
        }
        let mut slab = Self { pieces, index, slots: HashMap::new(), held: Vec::new(), next: 0, capacity };
        for (slot, entry) in (0..).zip(entries.chunks_exact(ENTRY)) {
            let held = entry_of(entry);
            if let Some((piece, _)) = held {
                slab.slots.insert(piece, slot);
            }
            slab.held.push(held);
        }
        // The order in which they came is not kept: any place is as good as another to go on.
        slab.next = slab.held.len() as u64 % capacity;
        Ok(slab)
    }

    /// A piece, if it is there; whether it is whole is for the caller to find out.
    pub fn get(&mut self, piece: &Piece) -> Option<Vec<u8>> {
        let slot = *self.slots.get(piece)?;
        let (_, length) = (*self.held.get(slot as usize)?)?;
        let mut bytes = vec![0; (length as usize).min(PIECE)];
        self.pieces.seek(SeekFrom::Start(slot * PIECE as u64)).ok()?;
        self.pieces.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whether a piece is there, as far as the index says.
    pub fn has(&self, piece: &Piece) -> bool {
        self.slots.contains_key(piece)
    }

    /// Puts a piece in place of the oldest.
    pub fn put(&mut self, piece: Piece, bytes: &[u8]) -> io::Result<()> {
        let known = self.slots.get(&piece).copied();
        let slot = known.unwrap_or(self.next);
        if known.is_none() {
            self.next = (self.next + 1) % self.capacity;
        }
        if self.held.len() as u64 <= slot {
            self.held.resize(slot as usize + 1, None);
        }
        if let Some(place) = self.held.get_mut(slot as usize)
            && let Some((old, _)) = place.take()
        {
            self.slots.remove(&old);
        }
        self.pieces.seek(SeekFrom::Start(slot * PIECE as u64))?;
        self.pieces.write_all(bytes)?;
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&piece.shard.to_le_bytes());
        entry[4] = piece.level + 1;
        entry[8..16].copy_from_slice(&piece.index.to_le_bytes());
        entry[16..20].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.index.seek(SeekFrom::Start(slot * ENTRY as u64))?;
        self.index.write_all(&entry)?;
        if let Some(place) = self.held.get_mut(slot as usize) {
            *place = Some((piece, bytes.len() as u32));
        }
        self.slots.insert(piece, slot);
        Ok(())
    }

    /// Forgets a piece that turned out to be torn.
    pub fn forget(&mut self, piece: &Piece) {
        if let Some(slot) = self.slots.remove(piece)
            && let Some(place) = self.held.get_mut(slot as usize)
        {
            *place = None;
        }
    }
}

fn entry_of(entry: &[u8]) -> Option<(Piece, u32)> {
    let four = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?));
    let level = entry.get(4)?.checked_sub(1)?;
    let index = u64::from_le_bytes(entry.get(8..16)?.try_into().ok()?);
    Some((Piece { shard: four(0)?, level, index }, four(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: u64) -> Piece {
        Piece { shard: 3, level: (index % 2) as u8, index }
    }

    #[test]
    fn the_oldest_goes_and_the_rest_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = 20 * (PIECE + ENTRY) as u64;
        let mut slab = Slab::open(folder.path(), bytes).unwrap();
        for index in 0..50 {
            slab.put(piece(index), &vec![index as u8; 100 + index as usize]).unwrap();
        }
        for slab in [&mut slab, &mut Slab::open(folder.path(), bytes).unwrap()] {
            for index in 0..50 {
                let expected = (index >= 30).then(|| vec![index as u8; 100 + index as usize]);
                assert_eq!(slab.get(&piece(index)), expected, "{index}");
            }
        }
        let size: u64 =
            fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= bytes, "{size}");
        slab.forget(&piece(40));
        assert_eq!(slab.get(&piece(40)), None);
        // One of another size begins empty.
        let mut smaller = Slab::open(folder.path(), bytes / 2).unwrap();
        assert_eq!(smaller.get(&piece(45)), None);
        smaller.put(piece(1), b"one").unwrap();
        assert_eq!(smaller.get(&piece(1)).unwrap(), b"one");
    }
}

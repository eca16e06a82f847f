//! The tree of hashes over a shard: with it a few bytes of a shard can be checked alone.
//!
//! A shard is cut into pieces of 4 KiB, which is a sequence of 2048 tokens of two bytes. The BLAKE3 hashes of all pieces, one after the
//! other, are the next level, cut into pieces in its turn, and so on until one piece is left; its hash is the root, which the
//! corpus' manifest names. Of a shard of 256 MiB (65,536 pieces) the levels have 2 MiB, 16 KiB and 128 bytes.

/// Bytes of a piece.
pub const PIECE: usize = 4096;
/// Hashes in a piece.
const FAN: u64 = (PIECE / 32) as u64;

/// Which piece: of the tokens on level 0, of hashes above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Piece {
    /// The shard, from 0.
    pub shard: u32,
    /// 0 for tokens; the hashes of level `n`'s pieces are on level `n + 1`.
    pub level: u8,
    /// The piece's place on its level.
    pub index: u64,
}

impl Piece {
    /// The piece that holds this one's hash, and where in it.
    pub fn parent(self) -> (Self, usize) {
        let parent = Self { level: self.level + 1, index: self.index / FAN, ..self };
        (parent, (self.index % FAN) as usize * 32)
    }
}

/// How large the levels of a shard's tree are: a function of the shard's length alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of each level; the tokens first, one piece last.
    levels: Vec<u64>,
}

impl Shape {
    /// The tree over so many bytes, at least 1.
    pub fn new(bytes: u64) -> Self {
        let mut levels = vec![bytes];
        let mut last = bytes;
        while last > PIECE as u64 {
            last = last.div_ceil(PIECE as u64) * 32;
            levels.push(last);
        }
        Self { levels }
    }

    /// The level whose single piece has the root for its hash.
    pub fn top(&self) -> u8 {
        (self.levels.len() - 1) as u8
    }

    /// Pieces of a level; none above the top.
    pub fn pieces(&self, level: u8) -> u64 {
        self.levels.get(usize::from(level)).map_or(0, |bytes| bytes.div_ceil(PIECE as u64))
    }

    /// Where a piece lies, in the shard's file or in that of its tree, and its bytes. `None` where there is none.
    pub fn place(&self, level: u8, index: u64) -> Option<(u64, usize)> {
        let bytes = *self.levels.get(usize::from(level))?;
        let start = index.checked_mul(PIECE as u64).filter(|start| *start < bytes)?;
        // The tree's file begins with the top, so that all but the lowest level is one short read.
        let before: u64 = match level {
            0 => 0,
            level => self.levels.get(usize::from(level) + 1..).unwrap_or_default().iter().sum(),
        };
        Some((before + start, (bytes - start).min(PIECE as u64) as usize))
    }

    /// Bytes of the tree's file.
    pub fn tree_bytes(&self) -> u64 {
        self.levels.get(1..).unwrap_or_default().iter().sum()
    }
}

/// Builds the tree of a shard as its bytes come.
#[derive(Debug, Clone, Default)]
pub struct TreeBuilder {
    piece: Vec<u8>,
    hashes: Vec<u8>,
}

impl TreeBuilder {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            if self.piece.is_empty() && now.len() == PIECE {
                self.hashes.extend_from_slice(blake3::hash(now).as_bytes());
            } else {
                self.piece.extend_from_slice(now);
                self.seal(PIECE);
            }
            bytes = later;
        }
    }

    fn seal(&mut self, least: usize) {
        if self.piece.len() >= least {
            self.hashes.extend_from_slice(blake3::hash(&self.piece).as_bytes());
            self.piece.clear();
        }
    }

    /// The root and the tree's file.
    pub fn finish(mut self) -> ([u8; 32], Vec<u8>) {
        self.seal(1);
        if self.hashes.len() <= 32 {
            let root = self.hashes.as_slice().try_into().unwrap_or_else(|_| *blake3::hash(&[]).as_bytes());
            return (root, Vec::new());
        }
        let mut levels = vec![self.hashes];
        while let Some(level) = levels.last().filter(|level| level.len() > PIECE) {
            let above = level.chunks(PIECE).flat_map(|piece| *blake3::hash(piece).as_bytes());
            let above = above.collect();
            levels.push(above);
        }
        let root = levels.last().map_or([0; 32], |top| *blake3::hash(top).as_bytes());
        levels.reverse();
        (root, levels.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn a_piece_is_proved_by_those_above_it() {
        for count in [1, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 128 * 128 * 4096 + 5000] {
            let content = bytes(count);
            let mut builder = TreeBuilder::default();
            content.chunks(1000).for_each(|part| builder.update(part));
            let (root, tree) = builder.finish();
            let shape = Shape::new(count as u64);
            assert_eq!(tree.len() as u64, shape.tree_bytes(), "{count}");
            for index in [0, shape.pieces(0) / 2, shape.pieces(0) - 1] {
                let mut piece = Piece { shard: 0, level: 0, index };
                loop {
                    let (start, length) = shape.place(piece.level, piece.index).unwrap();
                    let file = if piece.level == 0 { &content } else { &tree };
                    let hash = *blake3::hash(&file[start as usize..start as usize + length]).as_bytes();
                    if piece.level == shape.top() {
                        assert_eq!((piece.index, hash), (0, root), "{count}");
                        break;
                    }
                    let (parent, at) = piece.parent();
                    let (start, length) = shape.place(parent.level, parent.index).unwrap();
                    let above = &tree[start as usize..start as usize + length];
                    assert_eq!(above[at..at + 32], hash, "{count} {piece:?}");
                    piece = parent;
                }
            }
            assert_eq!(shape.place(0, shape.pieces(0)), None);
            assert_eq!(shape.place(shape.top() + 1, 0), None);
        }
    }

    #[test]
    fn the_levels_are_those_that_are_documented() {
        let shape = Shape::new(256 << 20);
        assert_eq!(shape.levels, [256 << 20, 2 << 20, 16 << 10, 128]);
        assert_eq!(shape.place(3, 0), Some((0, 128)));
        assert_eq!(shape.place(2, 3), Some((128 + 3 * 4096, 4096)));
        assert_eq!(shape.place(1, 0), Some((128 + (16 << 10), 4096)));
    }

    #[test]
    fn how_the_bytes_come_does_not_matter() {
        let content = bytes(70_000);
        let tree = |step: usize| {
            let mut builder = TreeBuilder::default();
            content.chunks(step).for_each(|part| builder.update(part));
            builder.finish()
        };
        assert_eq!(tree(1), tree(70_000));
        assert_eq!(tree(4096), tree(4095));
    }
}

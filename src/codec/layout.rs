//! How tensors are cut into chunks, and the sizes that follow from it.

use crate::{
    cosines, inverse,
    positions::Rice,
    settings::{Settings, Transform, Values},
};

/// Longest side of a chunk.
pub const MAX_CHUNK: usize = 64;

/// How one tensor is cut into chunks.
///
/// With a transform, a matrix of `rows x cols` is cut into a grid of chunks of `chunk_rows x chunk_cols`, each side the
/// largest divisor of the dimension that is not longer than the manifest's `chunk`; a vector is a matrix of one row.
/// Chunks are numbered row by row. A coefficient's *position* in its chunk is `v * chunk_rows + u`, with `v` its
/// frequency along the row and `u` that along the column.
///
/// Without a transform every tensor is one row, cut into runs whose length is the largest divisor of its own that is not
/// longer than `chunk * chunk`; a position is the place in the run.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorLayout {
    /// The parameter's name.
    pub name: String,
    /// The parameter's shape: one or two dimensions.
    pub shape: Vec<usize>,
    /// Rows of the matrix; 1 for a vector, and without a transform.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Rows of a chunk.
    pub chunk_rows: usize,
    /// Columns of a chunk.
    pub chunk_cols: usize,
    /// Coefficients kept of each chunk: `min(top_k, chunk_len)`.
    pub kept: usize,
    /// How its values are written.
    pub values: Values,
    /// What is done to a chunk first.
    pub transform: Transform,
    pub(crate) rice: Rice,
}

/// Why there is no layout for a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Not one or two dimensions, or an empty one.
    #[error("the tensor {name} of shape {shape:?} is neither a vector nor a matrix")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A chunk's side must be from 1 to [`MAX_CHUNK`].
    #[error("chunks of side {0} are not between 1 and {MAX_CHUNK}")]
    Chunk(usize),
}

impl TensorLayout {
    pub(crate) fn new(name: &str, shape: &[usize], settings: &Settings) -> Result<Self, LayoutError> {
        let (rows, cols) = match *shape {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => (0, 0),
        };
        if rows == 0 || cols == 0 {
            return Err(LayoutError::Shape { name: name.to_owned(), shape: shape.to_vec() });
        }
        let side = settings.chunk;
        if !(1..=MAX_CHUNK).contains(&side) {
            return Err(LayoutError::Chunk(side));
        }
        let (rows, cols, chunk_rows, chunk_cols) = match settings.transform {
            Transform::Dct => (rows, cols, largest_divisor(rows, side), largest_divisor(cols, side)),
            Transform::None => (1, rows * cols, 1, largest_divisor(rows * cols, side * side)),
        };
        let kept = settings.top_k.clamp(1, chunk_rows * chunk_cols);
        Ok(Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            rows,
            cols,
            chunk_rows,
            chunk_cols,
            kept,
            values: settings.values,
            transform: settings.transform,
            rice: Rice::new(chunk_rows * chunk_cols, kept),
        })
    }

    /// Elements of the tensor.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Never: a tensor has elements.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Elements of one chunk.
    pub fn chunk_len(&self) -> usize {
        self.chunk_rows * self.chunk_cols
    }

    /// Chunks from top to bottom.
    pub fn grid_rows(&self) -> usize {
        self.rows / self.chunk_rows
    }

    /// Chunks from left to right.
    pub fn grid_cols(&self) -> usize {
        self.cols / self.chunk_cols
    }

    /// Chunks of the tensor.
    pub fn chunks(&self) -> usize {
        self.grid_rows() * self.grid_cols()
    }

    /// Coefficients kept of the whole tensor.
    pub fn kept_values(&self) -> usize {
        self.chunks() * self.kept
    }

    /// The longest that the tensor's positions can be, in bytes.
    pub fn max_position_bytes(&self) -> usize {
        (self.chunks() * self.rice.max_chunk_bits()).div_ceil(8)
    }

    /// What the tensor's values take, in bytes: the chunks' levels, two bytes each, then the codes, packed.
    pub fn value_bytes(&self) -> usize {
        2 * self.levels() + (self.kept_values() * self.values.bits()).div_ceil(8)
    }

    /// Levels of the whole tensor: as many for each chunk as the values need.
    pub fn levels(&self) -> usize {
        self.chunks() * self.values.levels()
    }

    /// The whole numbers by which an aggregate's coefficients come back along the columns and along the rows of a chunk,
    /// `[frequency][sample]`: the bases of its sides times the root of [`Self::whole_factor`].
    pub fn whole_bases(&self) -> (Vec<i16>, Vec<i16>) {
        let factor = self.whole_factor().sqrt();
        let turned = |side: usize| {
            let whole = cosines::whole_basis(side, factor);
            (0..side * side).map(|at| whole[at % side * side + at / side] as i16).collect()
        };
        (turned(self.chunk_rows), turned(self.chunk_cols))
    }

    /// What the product of both bases was multiplied by, to be in whole numbers.
    pub fn whole_factor(&self) -> f64 {
        match (self.chunk_rows, self.chunk_cols) {
            (64, 64) => inverse::FACTOR * inverse::FACTOR,
            _ => inverse::PLAIN_FACTOR,
        }
    }

    /// Chunks that are worked on together, one such group by one thread: a row of the grid, or a stretch of runs.
    pub(crate) fn strip_chunks(&self) -> usize {
        match self.transform {
            Transform::Dct => self.grid_cols(),
            // About as many bytes as a processor's second cache holds.
            Transform::None => (65_536 / self.chunk_len()).clamp(1, self.chunks()),
        }
    }
}

/// The largest divisor of `length` that is not above `limit` (at least 1).
fn largest_divisor(length: usize, limit: usize) -> usize {
    (1..=limit.min(length)).rev().find(|d| length.is_multiple_of(*d)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_the_largest_divisors_not_above_the_chunk() {
        assert_eq!(largest_divisor(128, 64), 64);
        assert_eq!(largest_divisor(96, 64), 48);
        assert_eq!(largest_divisor(67, 64), 1);
        assert_eq!(largest_divisor(40, 64), 40);
        let demo = Settings::demo(0.9, 64, 32);
        let [a, b, c] = [&[96usize, 128][..], &[65], &[7]].map(|s| TensorLayout::new("t", s, &demo).unwrap());
        assert_eq!((a.chunk_rows, a.chunk_cols, a.grid_rows(), a.grid_cols(), a.kept), (48, 64, 2, 2, 32));
        assert_eq!((b.chunk_rows, b.chunk_cols, b.chunks(), b.kept), (1, 13, 5, 13));
        assert_eq!((c.chunk_cols, c.kept, c.kept_values(), c.value_bytes()), (7, 7, 7, 7));
    }

    #[test]
    fn without_a_transform_tensors_are_cut_as_they_lie() {
        let settings = Settings::sparse_loco(0.95, 64, 64);
        let [a, b] = [&[96usize, 128][..], &[130]].map(|s| TensorLayout::new("t", s, &settings).unwrap());
        assert_eq!((a.rows, a.cols, a.chunk_rows, a.chunk_cols, a.chunks()), (1, 12_288, 1, 4096, 3));
        // 64 positions and values of 2 bits, and two levels a chunk.
        assert_eq!(a.value_bytes(), 3 * (4 + 16));
        assert_eq!((b.chunk_cols, b.kept, b.value_bytes()), (130, 64, 4 + 16));
    }

    #[test]
    fn other_shapes_are_refused() {
        for shape in [&[][..], &[0], &[2, 0], &[2, 2, 2]] {
            let error = TensorLayout::new("x", shape, &Settings::demo(0.0, 64, 1));
            assert!(matches!(error, Err(LayoutError::Shape { .. })), "{shape:?}");
        }
        for side in [0, 65] {
            assert_eq!(
                TensorLayout::new("x", &[4], &Settings::demo(0.0, side, 1)),
                Err(LayoutError::Chunk(side))
            );
        }
    }
}

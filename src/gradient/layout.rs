//! How tensors are cut into chunks, and the sizes that follow from it.

use super::{SAMPLE_DIGEST_CHARS, positions::Rice};
use crate::manifest::CompressConfig;

/// How one tensor is cut into chunks.
///
/// A matrix of `rows x cols` is cut into a grid of chunks of `chunk_rows x chunk_cols`, each side the
/// largest divisor of the dimension that is not longer than the manifest's `chunk`. A vector is a matrix of
/// one row. Chunks are numbered row by row, and so are the positions inside a chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorLayout {
    /// The parameter's name.
    pub name: String,
    /// The parameter's shape: one or two dimensions.
    pub shape: Vec<usize>,
    /// Rows of the matrix; 1 for a vector.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Rows of a chunk.
    pub chunk_rows: usize,
    /// Columns of a chunk.
    pub chunk_cols: usize,
    /// Coefficients kept of each chunk: `min(top_k, chunk_len)`.
    pub kept: usize,
    pub(super) rice: Rice,
}

impl TensorLayout {
    fn new(name: &str, shape: &[usize], config: &CompressConfig) -> Result<Self, LayoutError> {
        let (rows, cols) = match *shape {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => (0, 0),
        };
        if rows == 0 || cols == 0 {
            return Err(LayoutError::Shape { name: name.to_owned(), shape: shape.to_vec() });
        }
        let chunk_rows = largest_divisor(rows, config.chunk);
        let chunk_cols = largest_divisor(cols, config.chunk);
        if chunk_rows * chunk_cols > 1 << 16 {
            return Err(LayoutError::Chunk(config.chunk));
        }
        let kept = config.top_k.clamp(1, chunk_rows * chunk_cols);
        let rice = Rice::new(chunk_rows * chunk_cols, kept);
        Ok(Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            rows,
            cols,
            chunk_rows,
            chunk_cols,
            kept,
            rice,
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
    pub fn values(&self) -> usize {
        self.chunks() * self.kept
    }

    /// The longest that the tensor's positions can be, in bytes.
    pub fn max_position_bytes(&self) -> usize {
        (self.chunks() * self.rice.max_chunk_bits()).div_ceil(8)
    }
}

/// How every tensor of a model is cut, in the model's fixed order.
///
/// ```
/// # use templar::{gradient::Layout, manifest::CompressConfig};
/// let compress = CompressConfig { momentum: 0.9, chunk: 64, top_k: 32 };
/// let layout = Layout::new(&[("w".to_owned(), vec![128, 192])], &compress, 2)?;
/// assert_eq!(layout.tensors()[0].chunks(), 6);
/// # Ok::<(), templar::gradient::LayoutError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    tensors: Vec<TensorLayout>,
    samples_per_tensor: usize,
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
    /// Positions are 16 bits wide.
    #[error("chunks of side {0} have more than 65536 positions")]
    Chunk(usize),
}

impl Layout {
    /// The layout for named tensors; `samples_per_tensor` is the manifest's `gauntlet.sync_samples`.
    ///
    /// # Errors
    /// A tensor that is neither a vector nor a matrix, and chunks of more than 65,536 positions.
    pub fn new(
        tensors: &[(String, Vec<usize>)],
        config: &CompressConfig,
        samples_per_tensor: usize,
    ) -> Result<Self, LayoutError> {
        let tensors =
            tensors.iter().map(|(n, s)| TensorLayout::new(n, s, config)).collect::<Result<_, _>>()?;
        Ok(Self { tensors, samples_per_tensor })
    }

    /// The tensors, in the model's order.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.tensors
    }

    /// Values that a peer shows of each tensor of its model.
    pub fn samples_per_tensor(&self) -> usize {
        self.samples_per_tensor
    }

    /// Length of [`super::Header::model_samples`].
    pub fn model_samples(&self) -> usize {
        self.samples_per_tensor * self.tensors.len()
    }

    /// Elements of all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(TensorLayout::len).sum()
    }

    /// The longest JSON header that an honest sender can need, in bytes.
    ///
    /// JSON can write one byte of a name as six; numbers have at most 20 digits.
    pub fn max_header_bytes(&self) -> usize {
        const ENTRY: usize =
            r#""":{"dtype":"U8","shape":[],"data_offsets":[,]},"#.len() + 3 * 20 + ".positions".len();
        const FIXED: usize = 1024 + SAMPLE_DIGEST_CHARS;
        // An exponent takes at most 5 characters, a sample 8.
        let entries: usize = self.tensors.iter().map(|t| 2 * (6 * t.name.len() + ENTRY) + 5).sum();
        FIXED + 8 * self.model_samples() + entries
    }

    /// The largest object that can be a pseudo-gradient of this layout, in bytes: what a receiver asks of
    /// the store before it fetches anything.
    pub fn max_object_bytes(&self) -> usize {
        let payload: usize = self.tensors.iter().map(|t| t.max_position_bytes() + t.values()).sum();
        8 + self.max_header_bytes() + payload
    }
}

/// The largest divisor of `length` that is not above `limit` (at least 1).
fn largest_divisor(length: usize, limit: usize) -> usize {
    (1..=limit.min(length)).rev().find(|d| length.is_multiple_of(*d)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shapes: &[&[usize]]) -> Layout {
        let named: Vec<_> = shapes.iter().enumerate().map(|(i, s)| (format!("t{i}"), s.to_vec())).collect();
        Layout::new(&named, &CompressConfig { momentum: 0.9, chunk: 64, top_k: 32 }, 2).unwrap()
    }

    #[test]
    fn sides_are_the_largest_divisors_not_above_the_chunk() {
        assert_eq!(largest_divisor(128, 64), 64);
        assert_eq!(largest_divisor(96, 64), 48);
        assert_eq!(largest_divisor(67, 64), 1);
        assert_eq!(largest_divisor(40, 64), 40);
        let layout = layout(&[&[96, 128], &[65], &[7]]);
        let [a, b, c] = layout.tensors() else { panic!("three tensors") };
        assert_eq!((a.chunk_rows, a.chunk_cols, a.grid_rows(), a.grid_cols(), a.kept), (48, 64, 2, 2, 32));
        assert_eq!((b.chunk_rows, b.chunk_cols, b.chunks(), b.kept), (1, 13, 5, 13));
        assert_eq!((c.chunk_cols, c.kept, c.values()), (7, 7, 7));
        assert_eq!(layout.model_samples(), 6);
    }

    #[test]
    fn other_shapes_are_refused() {
        for shape in [&[][..], &[0], &[2, 0], &[2, 2, 2]] {
            let named = [("x".to_owned(), shape.to_vec())];
            let error = Layout::new(&named, &CompressConfig { momentum: 0.0, chunk: 64, top_k: 1 }, 0);
            assert!(matches!(error, Err(LayoutError::Shape { .. })), "{shape:?}");
        }
    }
}

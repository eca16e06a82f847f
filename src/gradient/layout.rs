//! The codec of a run's model, and the sizes of objects that follow from it.

use super::SAMPLE_DIGEST_CHARS;
use crate::manifest::CompressConfig;
use templar_codec::{Codec, LayoutError, TensorLayout};

/// How every tensor of a model is written, in the model's fixed order.
///
/// ```
/// # use templar::{gradient::Layout, manifest::CompressConfig};
/// let layout = Layout::new(&[("w".to_owned(), vec![128, 192])], &CompressConfig::demo(0.9, 64, 32), 2)?;
/// assert_eq!(layout.tensors()[0].chunks(), 6);
/// # Ok::<(), templar::codec::LayoutError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    codec: Codec,
    samples_per_tensor: usize,
}

impl Layout {
    /// The layout for named tensors; `samples_per_tensor` is the manifest's `gauntlet.sync_samples`.
    ///
    /// # Errors
    /// A tensor that is neither a vector nor a matrix, and chunks whose side is not from 1 to 64.
    pub fn new(
        tensors: &[(String, Vec<usize>)],
        config: &CompressConfig,
        samples_per_tensor: usize,
    ) -> Result<Self, LayoutError> {
        Ok(Self { codec: Codec::new(tensors, config)?, samples_per_tensor })
    }

    /// What encodes, decodes and aggregates.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The tensors, in the model's order.
    pub fn tensors(&self) -> &[TensorLayout] {
        self.codec.tensors()
    }

    /// Values that a peer shows of each tensor of its model.
    pub fn samples_per_tensor(&self) -> usize {
        self.samples_per_tensor
    }

    /// Length of [`super::Header::model_samples`].
    pub fn model_samples(&self) -> usize {
        self.samples_per_tensor * self.tensors().len()
    }

    /// Elements of all tensors.
    pub fn parameters(&self) -> usize {
        self.codec.parameters()
    }

    /// The longest JSON header that an honest sender can need, in bytes.
    ///
    /// JSON can write one byte of a name as six; numbers have at most 20 digits.
    pub fn max_header_bytes(&self) -> usize {
        const ENTRY: usize =
            r#""":{"dtype":"U8","shape":[],"data_offsets":[,]},"#.len() + 3 * 20 + ".positions".len();
        const FIXED: usize = 1024 + SAMPLE_DIGEST_CHARS;
        // An exponent takes at most 5 characters, a sample 8.
        let entries: usize = self.tensors().iter().map(|t| 2 * (6 * t.name.len() + ENTRY) + 5).sum();
        FIXED + 8 * self.model_samples() + entries
    }

    /// The largest object that can be a pseudo-gradient of this layout, in bytes: what a receiver asks of
    /// the store before it fetches anything.
    pub fn max_object_bytes(&self) -> usize {
        8 + self.max_header_bytes() + self.codec.max_payload_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_the_shapes() {
        let shapes = [&[96usize, 128][..], &[65], &[7]];
        let named: Vec<_> = shapes.iter().enumerate().map(|(i, s)| (format!("t{i}"), s.to_vec())).collect();
        let layout = Layout::new(&named, &CompressConfig::demo(0.9, 64, 32), 2).unwrap();
        assert_eq!((layout.model_samples(), layout.parameters()), (6, 96 * 128 + 65 + 7));
        let payload: usize = layout.tensors().iter().map(|t| t.max_position_bytes() + t.value_bytes()).sum();
        assert_eq!(layout.max_object_bytes(), 8 + layout.max_header_bytes() + payload);
    }
}

//! The codec of a run's model, and the sizes of objects that follow from it.

use super::{SAMPLE_DIGEST_CHARS, metadata::SKETCHES};
use crate::manifest::CompressConfig;
use templar_codec::{Codec, LayoutError, TensorLayout, sketch::SEALED_BYTES};

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
    audited: Option<Audited>,
}

/// What an object of a run with declared work holds beside the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audited {
    /// Sequences of a micro-batch, at least 1; the last one of an object may have fewer.
    pub micro_batch: usize,
    /// Micro-batches that a peer may declare.
    pub most: usize,
}

impl Audited {
    /// Sequences that a peer may declare.
    pub fn most_sequences(&self) -> u64 {
        self.micro_batch.saturating_mul(self.most) as u64
    }
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
        Ok(Self { codec: Codec::new(tensors, config)?, samples_per_tensor, audited: None })
    }

    /// The layout of a run whose objects hold a sketch of each micro-batch's gradient.
    pub fn with_sketches(self, audited: Audited) -> Self {
        Self { audited: Some(audited), ..self }
    }

    /// What an object holds of each micro-batch; none where the run does not ask for it.
    pub fn audited(&self) -> Option<Audited> {
        self.audited
    }

    /// Bytes of the sketches of so many sequences; 0 where the run asks for none.
    pub fn sketch_bytes(&self, sequences: u64) -> u64 {
        let micro_batches =
            self.audited.map_or(0, |audited| sequences.div_ceil(audited.micro_batch.max(1) as u64));
        micro_batches.saturating_mul((SEALED_BYTES * self.tensors().len()) as u64)
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
        // The sketches' entry is shorter than a tensor's two.
        let sketches = self.audited.map_or(0, |_| ENTRY + SKETCHES.len());
        FIXED + 8 * self.model_samples() + entries + sketches
    }

    /// The largest object that can be a pseudo-gradient of this layout, in bytes: what a receiver asks of
    /// the store before it fetches anything.
    pub fn max_object_bytes(&self) -> usize {
        let one = SEALED_BYTES * self.tensors().len();
        let sketches = self.audited.map_or(0, |audited| audited.most.saturating_mul(one));
        (8 + self.max_header_bytes() + self.codec.max_payload_bytes()).saturating_add(sketches)
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

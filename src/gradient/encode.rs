//! Writing a pseudo-gradient.

use super::{
    GradientError, Header, Layout, SAMPLE_DIGEST_CHARS, SparseTensor,
    digest::{content_digest, signing_message},
    metadata::{Raw, SKETCHES, blob_names, write},
};
use templar_codec::wire;

/// Writes and signs a pseudo-gradient without sketches; returns the file and its content digest.
///
/// `sign` gets the [`signing_message`] and returns the hotkey's sr25519 signature.
///
/// # Errors
/// Tensors or a header that do not fit the layout: nothing is written that [`super::decode()`] would refuse.
pub fn encode(
    header: &Header,
    tensors: &[SparseTensor],
    layout: &Layout,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<(Vec<u8>, [u8; 32]), GradientError> {
    encode_with_sketches(header, tensors, &[], layout, sign)
}

/// [`encode`] with the sealed sketches of every micro-batch, one after the other, as [`templar_codec::sketch::seal`] makes them.
///
/// # Errors
/// As [`encode`], and sketches of another number of micro-batches than the header's `sample_count` says.
pub fn encode_with_sketches(
    header: &Header,
    tensors: &[SparseTensor],
    sketches: &[u8],
    layout: &Layout,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<(Vec<u8>, [u8; 32]), GradientError> {
    if tensors.len() != layout.tensors().len() {
        return Err(GradientError::TensorCount { found: tensors.len(), expected: layout.tensors().len() });
    }
    check_header(header, layout)?;
    check_sketches(header, sketches, layout)?;
    let mut payload = Vec::with_capacity(layout.max_object_bytes() - layout.max_header_bytes() - 8);
    let mut blobs = Vec::with_capacity(2 * tensors.len());
    for (tensor, shape) in tensors.iter().zip(layout.tensors()) {
        let length = wire::encode(shape, tensor, &mut payload)
            .ok_or_else(|| GradientError::Unsendable { name: shape.name.clone() })?;
        let [positions, values] = blob_names(&shape.name);
        blobs.push((positions, length));
        blobs.push((values, shape.value_bytes()));
    }
    if layout.audited().is_some() {
        payload.extend_from_slice(sketches);
        blobs.push((SKETCHES.to_owned(), sketches.len()));
    }
    let exponents: Vec<i8> = tensors.iter().map(|t| t.exponent).collect();
    let mut rest = payload.as_slice();
    let slices = blobs.iter().map(|(_, length)| {
        let (blob, tail) = rest.split_at(*length);
        rest = tail;
        blob
    });
    let digest = content_digest(header, &exponents, slices);
    let signature = sign(&signing_message(header.netuid, &header.run, header.window, &digest));
    let json = write(&Raw::new(header, exponents, &signature), &blobs)?;
    let mut file = Vec::with_capacity(8 + json.len() + payload.len());
    file.extend_from_slice(&(json.len() as u64).to_le_bytes());
    file.extend_from_slice(&json);
    file.extend_from_slice(&payload);
    Ok((file, digest))
}

/// What must hold of the sketches, whoever wrote them: one of each micro-batch that is declared, and no more than may be.
pub(super) fn check_sketches(header: &Header, sketches: &[u8], layout: &Layout) -> Result<(), GradientError> {
    let (found, expected) = (sketches.len() as u64, layout.sketch_bytes(header.sample_count));
    if found != expected {
        return Err(GradientError::Sketches { found, expected, sequences: header.sample_count });
    }
    match layout.audited() {
        Some(audited) if header.sample_count > audited.most_sequences() => {
            let (found, limit) = (header.sample_count, audited.most_sequences());
            Err(GradientError::TooManySequences { found, limit })
        }
        _ => Ok(()),
    }
}

/// What must hold of a header, whoever wrote it.
pub(super) fn check_header(header: &Header, layout: &Layout) -> Result<(), GradientError> {
    let digest = header.sample_digest.as_bytes();
    if digest.len() != SAMPLE_DIGEST_CHARS || !digest.iter().all(|b| b"0123456789abcdef".contains(b)) {
        return Err(GradientError::SampleDigest);
    }
    let (found, expected) = (header.model_samples.len(), layout.model_samples());
    if found != expected {
        return Err(GradientError::SampleCount { found, expected });
    }
    match header.model_samples.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(GradientError::SampleNotFinite { index }),
        None => Ok(()),
    }
}

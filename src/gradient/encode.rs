//! Writing a pseudo-gradient.

use super::{
    GradientError, Header, Layout, SAMPLE_DIGEST_CHARS, SparseTensor,
    digest::{content_digest, signing_message},
    metadata::{Raw, blob_names, write},
};
use templar_codec::wire;

/// Writes and signs a pseudo-gradient; returns the file and its content digest.
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
    if tensors.len() != layout.tensors().len() {
        return Err(GradientError::TensorCount { found: tensors.len(), expected: layout.tensors().len() });
    }
    check_header(header, layout)?;
    let mut payload = Vec::with_capacity(layout.max_object_bytes() - layout.max_header_bytes() - 8);
    let mut blobs = Vec::with_capacity(2 * tensors.len());
    for (tensor, shape) in tensors.iter().zip(layout.tensors()) {
        let length = wire::encode(shape, tensor, &mut payload)
            .ok_or_else(|| GradientError::Unsendable { name: shape.name.clone() })?;
        let [positions, values] = blob_names(&shape.name);
        blobs.push((positions, length));
        blobs.push((values, shape.value_bytes()));
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

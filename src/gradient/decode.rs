//! Reading a stranger's pseudo-gradient.

use super::{
    Expected, GradientError, Header, Layout, PseudoGradient, TensorLayout,
    digest::{content_digest, signing_message},
    encode::{check_header, check_sketches},
    metadata::read,
};
use sp_core::crypto::AccountId32;
use templar_codec::wire;

/// Reads and checks a pseudo-gradient; `verify` says whether a signature is an account's over a message.
///
/// Never panics, and allocates no more than the layout allows: the file is refused unread above
/// [`Layout::max_object_bytes`], its JSON above [`Layout::max_header_bytes`]. Cheap checks come first,
/// the signature before the positions are unpacked. Whether sample digest, sample count, model hash and model
/// samples are the right ones is not decided here: they are for stage 1 of the Gauntlet.
///
/// # Errors
/// One [`GradientError`] for each thing that can be wrong.
pub fn decode(
    bytes: &[u8],
    layout: &Layout,
    expected: &Expected,
    verify: impl FnOnce(&AccountId32, &[u8], &[u8; 64]) -> bool,
) -> Result<PseudoGradient, GradientError> {
    let limit = layout.max_object_bytes();
    if bytes.len() > limit {
        return Err(GradientError::TooLarge { bytes: bytes.len(), limit });
    }
    let (json, payload) = split(bytes, layout)?;
    let (raw, lengths) = read(json, layout)?;
    let promised: usize = lengths.iter().sum();
    let whole = (8 + json.len()) as u64 + promised as u64;
    if promised > payload.len() {
        return Err(GradientError::Truncated { bytes: bytes.len(), promised: whole });
    } else if promised < payload.len() {
        return Err(GradientError::TrailingBytes { bytes: bytes.len(), promised: whole });
    }
    let (header, signature) = raw.read()?;
    check_expected(&header, expected)?;
    check_header(&header, layout)?;
    let exponents = &raw.exponents;
    if exponents.len() != layout.tensors().len() {
        let (found, expected) = (exponents.len(), layout.tensors().len());
        return Err(GradientError::ExponentCount { found, expected });
    }
    let mut blobs = Vec::with_capacity(lengths.len());
    let mut rest = payload;
    for length in lengths {
        let (blob, tail) = rest.split_at(length);
        blobs.push(blob);
        rest = tail;
    }
    let sketches = match layout.audited() {
        Some(_) => blobs.last().copied().unwrap_or_default(),
        None => &[],
    };
    check_sketches(&header, sketches, layout)?;
    for ((tensor, pair), exponent) in layout.tensors().iter().zip(blobs.chunks_exact(2)).zip(exponents) {
        wire::check(tensor, *exponent, pair[0], pair[1]).map_err(|problem| refused(tensor, problem))?;
    }
    let digest = content_digest(&header, exponents, blobs.iter().copied());
    let message = signing_message(header.netuid, &header.run, header.window, &digest);
    if !verify(&header.hotkey, &message, &signature) {
        return Err(GradientError::Signature);
    }
    let unpack = |((tensor, pair), exponent): ((&TensorLayout, &[&[u8]]), &i8)| {
        wire::decode(tensor, *exponent, pair[0], pair[1]).map_err(|problem| refused(tensor, problem))
    };
    let tensors = layout
        .tensors()
        .iter()
        .zip(blobs.chunks_exact(2))
        .zip(exponents)
        .map(unpack)
        .collect::<Result<Vec<_>, GradientError>>()?;
    Ok(PseudoGradient { header, tensors, sketches: sketches.to_vec(), digest })
}

/// The JSON header and what follows it.
fn split<'a>(bytes: &'a [u8], layout: &Layout) -> Result<(&'a [u8], &'a [u8]), GradientError> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(GradientError::Truncated { bytes: bytes.len(), promised: 8 });
    };
    let length = u64::from_le_bytes(*length);
    let limit = layout.max_header_bytes();
    match usize::try_from(length) {
        Ok(json) if json <= limit => rest
            .split_at_checked(json)
            .ok_or(GradientError::Truncated { bytes: bytes.len(), promised: 8 + length }),
        _ => Err(GradientError::HeaderTooLarge { bytes: length, limit }),
    }
}

fn check_expected(header: &Header, expected: &Expected) -> Result<(), GradientError> {
    if header.run != expected.run {
        return Err(GradientError::WrongRun);
    }
    if header.netuid != expected.netuid {
        return Err(GradientError::WrongNetuid { found: header.netuid, expected: expected.netuid });
    }
    if header.window != expected.window {
        return Err(GradientError::WrongWindow { found: header.window, expected: expected.window });
    }
    if header.uid != expected.uid {
        return Err(GradientError::WrongUid { found: header.uid, expected: expected.uid });
    }
    if header.hotkey != expected.hotkey {
        return Err(GradientError::WrongHotkey);
    }
    Ok(())
}

fn refused(tensor: &TensorLayout, problem: wire::WireError) -> GradientError {
    GradientError::Tensor { name: tensor.name.clone(), problem }
}

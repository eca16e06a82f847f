//! A tensor's positions and values as bytes, and back from a stranger's.
//!
//! *Positions* are the chunks' gaps as one Golomb-Rice stream ([`crate::positions`]). *Values* are, for each chunk, its
//! levels (bfloat16, little-endian; none with 8 bits), and then the codes: a byte each with 8 bits, else packed from the
//! lowest bit on, with 2 bits the sign and above it 1 for the upper level, with 1 bit the sign; the last byte is
//! padded with zeros. Both lengths are bounded by the layout before anything is read.

use crate::{
    eight_bit,
    layout::TensorLayout,
    levels::{self, NEGATIVE},
    positions::Fault,
    settings::Values,
    sparse::SparseTensor,
};

/// What can be wrong with a tensor's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The positions are more bytes than any can be.
    #[error("the positions have {found} bytes; at most {limit} are possible")]
    PositionsTooLong {
        /// Bytes that there are.
        found: usize,
        /// Bytes that there can be.
        limit: usize,
    },
    /// The values are not as many bytes as the layout's.
    #[error("the values have {found} bytes; the layout's have {expected}")]
    ValuesLength {
        /// Bytes that there are.
        found: usize,
        /// Bytes that there must be.
        expected: usize,
    },
    /// The exponent is out of bounds.
    #[error("the exponent {0} is outside of -100 to 100")]
    Exponent(i8),
    /// A chunk's level is negative, too large or not a number.
    #[error("a level of chunk {chunk} is not between 0 and 2^100")]
    Level {
        /// The chunk.
        chunk: usize,
    },
    /// The padding after the last code is not zero.
    #[error("the padding after the last value is not zero")]
    Padding,
    /// The positions are not a stream of them.
    #[error("the positions cannot be read: {0}")]
    Positions(Fault),
}

/// Checks all that can be checked of a tensor's bytes without unpacking them.
///
/// # Errors
/// Lengths, exponents and levels that no sender's codec makes.
pub fn check(layout: &TensorLayout, exponent: i8, positions: &[u8], values: &[u8]) -> Result<(), WireError> {
    if !(eight_bit::MIN_EXPONENT..=eight_bit::MAX_EXPONENT).contains(&exponent)
        || (layout.values != Values::Eight && exponent != 0)
    {
        return Err(WireError::Exponent(exponent));
    }
    let (found, expected) = (values.len(), layout.value_bytes());
    if found != expected {
        return Err(WireError::ValuesLength { found, expected });
    }
    let (found, limit) = (positions.len(), layout.max_position_bytes());
    if found > limit {
        return Err(WireError::PositionsTooLong { found, limit });
    }
    let (leading, codes) = values.split_at(2 * layout.levels());
    // By their bits, as everywhere else: minus nothing is equal to nothing, and is not one of ours.
    let in_bounds = |level: &[u8; 2]| u16::from_le_bytes(*level) <= levels::LARGEST_BITS;
    if let Some(bad) = leading.as_chunks::<2>().0.iter().position(|level| !in_bounds(level)) {
        return Err(WireError::Level { chunk: bad / layout.values.levels().max(1) });
    }
    let used = layout.kept_values() * layout.values.bits() % 8;
    match codes.last() {
        Some(last) if used != 0 && last >> used != 0 => Err(WireError::Padding),
        _ => Ok(()),
    }
}

/// Unpacks a tensor. Allocates what the layout says and no more, and never panics.
///
/// # Errors
/// Those of [`check`], and positions that cannot be read.
pub fn decode(
    layout: &TensorLayout,
    exponent: i8,
    positions: &[u8],
    values: &[u8],
) -> Result<SparseTensor, WireError> {
    check(layout, exponent, positions, values)?;
    let positions = layout.rice.decode(positions, layout.chunks()).map_err(WireError::Positions)?;
    let (leading, packed) = values.split_at(2 * layout.levels());
    let levels = leading.as_chunks::<2>().0.iter().map(|level| u16::from_le_bytes(*level)).collect();
    let count = layout.kept_values();
    let codes = match layout.values {
        Values::Eight => packed.to_vec(),
        Values::Two => unpack::<4>(packed, count, |bits| (bits & 1) << 7 | (1 + (bits >> 1 & 1))),
        Values::One => unpack::<8>(packed, count, |bits| (bits & 1) << 7 | 1),
    };
    Ok(SparseTensor { exponent, levels, positions, codes })
}

/// Appends a tensor's positions to `out`, then its values; gives the length of the positions. `None` where the tensor does
/// not fit the layout: nothing is written that [`decode`] would refuse, but part of it may have been.
pub fn encode(layout: &TensorLayout, tensor: &SparseTensor, out: &mut Vec<u8>) -> Option<usize> {
    if !tensor.fits(layout) {
        return None;
    }
    let start = out.len();
    layout.rice.encode(&tensor.positions, out)?;
    let positions = out.len() - start;
    out.extend(tensor.levels.iter().flat_map(|level| level.to_le_bytes()));
    match layout.values {
        Values::Eight => out.extend_from_slice(&tensor.codes),
        Values::Two => pack::<4>(&tensor.codes, out, |code| code >> 7 | (code & 2)),
        Values::One => pack::<8>(&tensor.codes, out, |code| code >> 7),
    }
    Some(positions)
}

/// `N` codes a byte, from the lowest bits on.
fn pack<const N: usize>(codes: &[u8], out: &mut Vec<u8>, bits: impl Fn(u8) -> u8) {
    const { assert!(NEGATIVE == 1 << 7) };
    out.extend(codes.chunks(N).map(|codes| {
        codes.iter().enumerate().fold(0, |byte, (i, code)| byte | bits(*code) << (i * (8 / N)))
    }));
}

fn unpack<const N: usize>(packed: &[u8], count: usize, code: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut codes = vec![0; count];
    let (whole, rest) = codes.as_chunks_mut::<N>();
    for (codes, byte) in whole.iter_mut().zip(packed) {
        for (i, out) in codes.iter_mut().enumerate() {
            *out = code(byte >> (i * (8 / N)));
        }
    }
    if let Some(byte) = packed.last() {
        for (i, out) in rest.iter_mut().enumerate() {
            *out = code(byte >> (i * (8 / N)));
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, ErrorFeedback, Settings, Transform};

    /// Every kind of values, and a tensor of each: its layout, itself, its positions and its values.
    fn tensors() -> Vec<(TensorLayout, SparseTensor, Vec<u8>, Vec<u8>)> {
        let shapes = [("matrix".to_owned(), vec![96, 64]), ("vector".to_owned(), vec![130])];
        let mut all = Vec::new();
        for transform in [Transform::Dct, Transform::None] {
            for values in [Values::Eight, Values::Two, Values::One] {
                let settings = Settings { momentum: 0.9, chunk: 64, top_k: 30, transform, values };
                let codec = Codec::new(&shapes, &settings).unwrap();
                let gradients: Vec<Vec<f32>> = codec
                    .tensors()
                    .iter()
                    .map(|t| (0..t.len()).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect())
                    .collect();
                let refs: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
                let sent = ErrorFeedback::new(&codec).encode(&refs).unwrap();
                for (layout, tensor) in codec.tensors().iter().zip(sent) {
                    let mut bytes = vec![1, 2, 3];
                    let positions = encode(layout, &tensor, &mut bytes).unwrap();
                    let values = bytes.split_off(3 + positions);
                    all.push((layout.clone(), tensor, bytes.split_off(3), values));
                }
            }
        }
        all
    }

    #[test]
    fn what_is_written_is_read() {
        for (layout, tensor, positions, values) in tensors() {
            assert_eq!(values.len(), layout.value_bytes());
            assert!(positions.len() <= layout.max_position_bytes());
            assert_eq!(decode(&layout, tensor.exponent, &positions, &values), Ok(tensor));
        }
    }

    #[test]
    fn every_fault_has_its_name() {
        for (layout, tensor, positions, values) in tensors() {
            let read = |exponent, positions: &[u8], values: &[u8]| {
                decode(&layout, exponent, positions, values).err()
            };
            let short = WireError::ValuesLength { found: values.len() - 1, expected: values.len() };
            assert_eq!(read(tensor.exponent, &positions, &values[1..]), Some(short));
            assert_eq!(read(101, &positions, &values), Some(WireError::Exponent(101)));
            let truncated = read(tensor.exponent, &positions[..positions.len() / 2], &values);
            // A chunk that is sent whole has no positions to lose.
            let whole = layout.kept == layout.chunk_len();
            assert!(
                whole || matches!(truncated, Some(WireError::Positions(Fault::Truncated { .. }))),
                "{truncated:?}"
            );
            let limit = layout.max_position_bytes();
            let long = WireError::PositionsTooLong { found: limit + 1, limit };
            assert_eq!(read(tensor.exponent, &vec![0; limit + 1], &values), Some(long));
            if layout.values == Values::Eight {
                continue;
            }
            assert_eq!(read(1, &positions, &values), Some(WireError::Exponent(1)));
            let chunk = layout.chunks() - 1;
            let last = 2 * layout.levels() - 1;
            // Minus something, infinity, a number above the bound, and minus nothing.
            for (low, high) in [(0x80, 0x80), (0x80, 0x7f), (0x80, 0x72), (0, 0x80)] {
                let mut bad = values.clone();
                (bad[last - 1], bad[last]) = (low, high);
                assert_eq!(read(0, &positions, &bad), Some(WireError::Level { chunk }), "{high:x}");
            }
            if layout.kept_values() * layout.values.bits() % 8 != 0 {
                let mut bad = values.clone();
                *bad.last_mut().unwrap() |= 0x80;
                assert_eq!(read(0, &positions, &bad), Some(WireError::Padding));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        for (layout, tensor, ..) in tensors() {
            let refused = |edit: &dyn Fn(&mut SparseTensor)| {
                let mut bad = tensor.clone();
                edit(&mut bad);
                encode(&layout, &bad, &mut Vec::new()).is_none()
            };
            assert!(!refused(&|_| {}));
            assert!(refused(&|t| t.exponent = 101));
            assert!(refused(&|t| t.codes.truncate(1)));
            assert!(refused(&|t| t.positions.swap(0, 1)));
            assert!(refused(&|t| t.positions[layout.kept - 1] = layout.chunk_len() as u16));
            assert!(refused(&|t| t.levels.push(0)));
            assert!(layout.values == Values::Eight || refused(&|t| t.codes[3] = 0));
            assert!(layout.values == Values::Eight || refused(&|t| t.levels[0] = 0xffff));
        }
    }

    /// A short form of the fuzzing of whole objects in `tests/model`: no bytes make the decoder panic.
    #[test]
    fn bytes_of_a_stranger_do_no_harm() {
        let mut x = 11u64;
        let mut draw = |below: usize| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) as usize % below
        };
        for (layout, tensor, positions, values) in tensors() {
            for _ in 0..3000 {
                let (mut positions, mut values) = (positions.clone(), values.clone());
                for _ in 0..1 + draw(4) {
                    let at = draw(positions.len() + values.len());
                    let byte = if at < positions.len() {
                        &mut positions[at]
                    } else {
                        &mut values[at - positions.len()]
                    };
                    *byte = draw(256) as u8;
                }
                positions.truncate(positions.len() - draw(8).min(draw(9)));
                if let Ok(read) = decode(&layout, tensor.exponent, &positions, &values) {
                    assert!(read.fits(&layout));
                    assert!(read.positions.chunks(layout.kept).all(|chunk| chunk.is_sorted_by(|a, b| a < b)));
                }
            }
        }
    }
}

//! One coefficient in 8 bits: a tiny float over an exponent that the tensor shares.
//!
//! A code is a sign bit, four exponent bits `e` and three fraction bits `m`. Its *magnitude* is a whole
//! number: `m` for `e = 0`, else `(8 + m) << (e - 1)`, up to [`MAX_MAGNITUDE`]; its value is the magnitude
//! times `2^exponent`. Encoding works on the bits of the f32, rounds to nearest, ties to even, and so gives
//! the same bytes on every device; the error is at most 1/16 of the value, or half of `2^exponent` for
//! the smallest.

/// The largest magnitude of a code: `15 << 14`.
pub const MAX_MAGNITUDE: u32 = 15 << 14;
/// The smallest exponent that a tensor may share.
pub const MIN_EXPONENT: i8 = -100;
/// The largest exponent that a tensor may share: every value then is a finite f32.
pub const MAX_EXPONENT: i8 = 100;

const SIGN: u32 = 1 << 31;
/// Fractions from here on (1.9375 and above) round up to the next power of two.
const ROUNDS_UP: u32 = 0x0078_0000;

/// The exponent for a tensor whose largest magnitude is `|largest|`: with it that value takes one of the
/// eight largest codes.
///
/// `None` for NaN, infinity, and values too large for [`MAX_EXPONENT`].
pub fn shared_exponent(largest: f32) -> Option<i8> {
    let bits = largest.to_bits() & !SIGN;
    if bits >> 23 == 0xff {
        return None;
    }
    let carry = i32::from(bits & 0x007f_ffff >= ROUNDS_UP);
    let exponent = (bits >> 23) as i32 - 127 - 17 + carry;
    i8::try_from(exponent.max(i32::from(MIN_EXPONENT))).ok().filter(|e| *e <= MAX_EXPONENT)
}

/// The code nearest to `value` over a shared exponent; beyond the largest code it is the largest.
///
/// Zero, subnormal numbers and what rounds to zero give code 0. NaN gives the largest code: callers check
/// for it before.
pub fn encode(value: f32, exponent: i8) -> u8 {
    let bits = value.to_bits() & !SIGN;
    let sign = ((value.to_bits() & SIGN) >> 24) as u8;
    // The power of two of the value's leading bit, over the shared exponent.
    let top = (bits >> 23) as i32 - 127 - i32::from(exponent);
    let code = if top < -1 || bits < 1 << 23 {
        0
    } else if top < 3 {
        // The magnitude is the significand shifted right by 21 to 24, rounded; 8 becomes e = 1, m = 0.
        let significand = (bits & 0x007f_ffff) | 0x0080_0000;
        let shift = (23 - top) as u32;
        let half = 1 << (shift - 1);
        let even = (significand >> shift) & 1;
        (significand + half - 1 + even) >> shift
    } else {
        let rounded = bits + 0x0007_ffff + ((bits >> 20) & 1);
        let top = (rounded >> 23) as i32 - 127 - i32::from(exponent);
        if top > 17 { 0x7f } else { (((top - 2) as u32) << 3) | ((rounded >> 20) & 7) }
    };
    if code == 0 { 0 } else { sign | code as u8 }
}

/// [`encode`] for a chunk's values, without branches, and what is left of each after its code is taken off.
#[inline(always)]
pub(crate) fn encode_all(values: &mut [f32], exponent: i8, codes: &mut [u8]) {
    let (step, per_step) = (scale(exponent), scale(-exponent));
    let base = (i32::from(exponent) + 127 + 2) << 3;
    for (value, code) in values.iter_mut().zip(codes) {
        let sign = value.to_bits() & SIGN;
        let bits = value.to_bits() & !SIGN;
        // From e = 1 on: three fraction bits of the float itself, rounded to nearest, ties to even.
        let rounded = (bits + 0x0007_ffff + ((bits >> 20) & 1)) >> 20;
        let large = rounded as i32 - base;
        // Below: adding 2^23 leaves the whole number of steps in the low bits, rounded the same way.
        let small = ((f32::from_bits(bits) * per_step + 8_388_608.0).to_bits() & 0xff) as i32;
        let is_small = large < 8;
        let magnitude = if is_small { small } else { large.min(0x7f) };
        let decoded =
            if is_small { small as f32 * step } else { f32::from_bits(rounded.min(255 << 3) << 20) };
        *code = if magnitude == 0 { 0 } else { (sign >> 24) as u8 | magnitude as u8 };
        *value -= f32::from_bits(decoded.to_bits() | sign);
    }
}

/// The signed magnitude of a code, a whole number in units of `2^exponent`.
pub fn magnitude(code: u8) -> i32 {
    let (e, m) = (u32::from(code >> 3) & 15, i32::from(code & 7));
    let magnitude = if e == 0 { m } else { (8 + m) << (e - 1) };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// `2^exponent`, exact.
pub fn scale(exponent: i8) -> f32 {
    f32::from_bits(((i32::from(exponent) + 127).clamp(1, 254) as u32) << 23)
}

/// The value of a code, exact in f32.
pub fn decode(code: u8, exponent: i8) -> f32 {
    magnitude(code) as f32 * scale(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All code magnitudes in order, with their codes.
    fn table() -> Vec<(f64, u8)> {
        (0..128u8).map(|c| (f64::from(magnitude(c)), c)).collect()
    }

    /// Nearest by brute force in float64; a tie goes to the even code.
    fn nearest(value: f64) -> u8 {
        let table = table();
        let mut best = table[0];
        for &(m, c) in &table {
            let (new, old) = ((value - m).abs(), (value - best.0).abs());
            if new < old || (new == old && c % 2 == 0) {
                best = (m, c);
            }
        }
        best.1
    }

    #[test]
    fn magnitudes_rise_without_a_gap() {
        let table = table();
        assert!(table.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(table[127].0, f64::from(MAX_MAGNITUDE));
        assert_eq!(magnitude(0x80 | 9), -9);
    }

    #[test]
    fn encoding_rounds_to_nearest_ties_to_even() {
        let mut values: Vec<f64> = table().windows(2).map(|w| (w[0].0 + w[1].0) / 2.0).collect();
        values.extend(table().iter().map(|t| t.0));
        let near: Vec<f64> = values.iter().flat_map(|v| [v * 0.9999, *v, v * 1.0001]).collect();
        for exponent in [-100i8, -3, 0, 77, 100] {
            for v in &near {
                let value = (v * 2f64.powi(exponent.into())) as f32;
                let exact = f64::from(value) / 2f64.powi(exponent.into());
                assert_eq!(encode(value, exponent), nearest(exact), "{v} {exponent}");
                let negative = nearest(exact);
                assert_eq!(encode(-value, exponent), if negative == 0 { 0 } else { negative | 0x80 });
            }
        }
        assert_eq!(encode(f32::MAX, 0), 0x7f);
        assert_eq!(encode(1e-40, -100), 0);
    }

    #[test]
    fn a_chunk_is_encoded_as_its_values_are() {
        let mut x = 3u64;
        for round in 0..200 {
            let mut values: Vec<f32> = (0..64)
                .map(|i| {
                    x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let sign = if x & 1 == 0 { 1.0 } else { -1.0 };
                    sign * ((x >> 40) as f32 / (1 << 24) as f32) * 2f32.powi(-(i % 23) + round % 120 - 60)
                })
                .collect();
            values[5] = 0.0;
            values[6] = -0.0;
            values[7] = 1e-41;
            let largest = values.iter().fold(0f32, |a, v| a.max(v.abs()));
            let exponent = shared_exponent(largest).unwrap();
            let (mut left, mut codes) = (values.clone(), vec![0; 64]);
            encode_all(&mut left, exponent, &mut codes);
            for ((value, left), code) in values.iter().zip(&left).zip(&codes) {
                assert_eq!(*code, encode(*value, exponent), "{value} {exponent}");
                assert_eq!(*left, value - decode(*code, exponent), "{value} {exponent}");
            }
        }
    }

    #[test]
    fn the_largest_value_takes_one_of_the_largest_codes() {
        for value in [1.0f32, 1.9374, 1.9375, 1.99999, 3e-8, 1e30, -0.75] {
            let exponent = shared_exponent(value).unwrap();
            let code = encode(value, exponent) & 0x7f;
            assert!(code >= 0x78, "{value}: {code:x}");
            let error = (decode(encode(value, exponent), exponent) - value).abs() / value.abs();
            assert!(error <= 1.0 / 16.0, "{value}: {error}");
        }
        assert_eq!(shared_exponent(0.0), Some(MIN_EXPONENT));
        assert_eq!(shared_exponent(1e-38), Some(MIN_EXPONENT));
        for absurd in [f32::NAN, f32::INFINITY, f32::MAX] {
            assert_eq!(shared_exponent(absurd), None);
        }
    }
}

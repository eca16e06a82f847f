//! Values of one or two bits: the sign, and which of the chunk's levels.
//!
//! With two bits a chunk has two levels, the mean of its magnitudes below their own mean and the mean of the others; with
//! one bit it has the mean of all. Levels travel as bfloat16. A code in memory is [`NEGATIVE`] for the sign, and 1 for
//! the lower (or only) level or 2 for the upper one.

/// The sign of a code.
pub const NEGATIVE: u8 = 0x80;
/// The largest level that may be sent, 2^100: sums of as many peers as can be are finite.
pub const MAX_LEVEL: f32 = f32::from_bits((100 + 127) << 23);

/// [`MAX_LEVEL`] as bfloat16. The bits of numbers that are not negative order as they do, and those of all others are larger.
pub const LARGEST_BITS: u16 = (MAX_LEVEL.to_bits() >> 16) as u16;

/// A level's value, exact.
pub fn decode(level: u16) -> f32 {
    f32::from_bits(u32::from(level) << 16)
}

/// The bfloat16 nearest to a level, of two equally near ones the larger.
fn encode(level: f32) -> u16 {
    ((level.to_bits() + 0x8000) >> 16) as u16
}

/// Codes a chunk's values, leaves of each what its code does not say, and fills in the chunk's levels: two, or one.
///
/// Sums are taken in sixteen lanes, value `i` in lane `i mod 16`, and then halved, which every path does alike.
#[inline(always)]
pub(crate) fn encode_all(values: &mut [f32], levels: &mut [u16], codes: &mut [u8]) {
    let count = values.len();
    let (mut all, mut upper, mut in_upper) = ([0f32; 16], [0f32; 16], 0u32);
    for sixteen in values.chunks(16) {
        all.iter_mut().zip(sixteen).for_each(|(sum, v)| *sum += v.abs());
    }
    let total = tree(all);
    let mean = total / count as f32;
    if let [lower, high] = levels {
        for sixteen in values.chunks(16) {
            for (sum, v) in upper.iter_mut().zip(sixteen) {
                let above = v.abs() >= mean;
                *sum += if above { v.abs() } else { 0.0 };
                in_upper += u32::from(above);
            }
        }
        let sum = tree(upper);
        *high = encode(sum / in_upper.max(1) as f32);
        *lower = encode((total - sum).max(0.0) / (count as u32 - in_upper).max(1) as f32);
    } else if let [level] = levels {
        *level = encode(mean);
    }
    let (lower, high) =
        (levels.first().map_or(0.0, |l| decode(*l)), levels.get(1).map_or(0.0, |l| decode(*l)));
    let two = levels.len() == 2;
    for (value, code) in values.iter_mut().zip(codes) {
        let sign = value.to_bits() & 0x8000_0000;
        let above = two && value.abs() >= mean;
        let level = if above { high } else { lower };
        *code = (sign >> 24) as u8 | (1 + u8::from(above));
        *value -= f32::from_bits(level.to_bits() | sign);
    }
}

fn tree(mut lanes: [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// What the codes of a chunk stand for: the lower level, the upper one, and both negative.
#[inline(always)]
pub(crate) fn table<T: Copy + Default>(levels: &[u16], value: impl Fn(f32) -> T) -> [T; 4] {
    let level = |i: usize| levels.get(i).map_or(0.0, |level| decode(*level));
    [value(level(0)), value(level(1)), value(-level(0)), value(-level(1))]
}

/// A code's value. Choices and no look-up, so that it is done to many codes at once.
#[inline(always)]
pub(crate) fn choose<T: Copy>(table: &[T; 4], code: u8) -> T {
    let upper = code & 2 != 0;
    let (positive, negative) = if upper { (table[1], table[3]) } else { (table[0], table[2]) };
    if code & NEGATIVE == 0 { positive } else { negative }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_levels_are_the_means_of_the_two_halves() {
        let mut values = [1.0f32, -3.0, 1.0, -1.0, 5.0, 1.0];
        let (mut levels, mut codes) = ([0; 2], [0; 6]);
        encode_all(&mut values, &mut levels, &mut codes);
        assert_eq!(levels.map(decode), [1.0, 4.0]);
        assert_eq!(codes, [1, 0x82, 1, 0x81, 2, 1]);
        assert_eq!(values, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn one_level_is_the_mean() {
        let mut values = [1.0f32, -3.0];
        let (mut levels, mut codes) = ([0; 1], [0; 2]);
        encode_all(&mut values, &mut levels, &mut codes);
        assert_eq!((levels.map(decode), codes, values), ([2.0], [1, 0x81], [-1.0, -1.0]));
    }

    #[test]
    fn a_chunk_of_zeros_stays_one() {
        let (mut values, mut levels, mut codes) = ([0f32; 20], [9; 2], [0; 20]);
        encode_all(&mut values, &mut levels, &mut codes);
        assert_eq!((values, levels), ([0.0; 20], [0; 2]));
    }

    proptest! {
        #[test]
        fn levels_are_the_means_of_a_float64_reference(values in prop::collection::vec(-1e3..1e3f32, 1..130)) {
            let (mut left, mut levels, mut codes) = (values.clone(), [0; 2], vec![0; values.len()]);
            encode_all(&mut left, &mut levels, &mut codes);
            let mean_of = |upper: bool| {
                let of: Vec<f64> = values.iter().zip(&codes).filter(|(_, c)| (**c & 2 != 0) == upper)
                    .map(|(v, _)| f64::from(v.abs())).collect();
                of.iter().sum::<f64>() / of.len().max(1) as f64
            };
            for (level, upper) in levels.iter().zip([false, true]) {
                prop_assert!((f64::from(decode(*level)) - mean_of(upper)).abs() <= mean_of(upper) / 200.0 + 1e-3);
            }
            let values_of = table(&levels, |level| level);
            for ((value, left), code) in values.iter().zip(&left).zip(&codes) {
                prop_assert_eq!(value - choose(&values_of, *code), *left);
                prop_assert_eq!(*code & NEGATIVE != 0, value.is_sign_negative());
            }
        }
    }
}

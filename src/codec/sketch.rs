//! What a gradient was, in a few numbers: its sketch, by which somebody who computes the same gradient recognises it.
//!
//! A CountSketch (Charikar, Chen and Farach-Colton, 2002) of [`BUCKETS`] buckets: value `i` goes to bucket `i mod 64`, with a sign that
//! a hash of the seed and of `i` draws. It is linear, so that the sketch of a sum is the sum of the sketches, and the squared length of
//! a sketch is that of the vector on average, with a standard deviation of `sqrt(2 / 64)` of it or less; that of many tensors
//! together is closer. How far two gradients are apart can therefore be read off their sketches alone.
//!
//! The hash is public: who knows it still has to compute the gradient, because it takes part in every sum with every value.

use rayon::prelude::*;

/// Numbers in the sketch of one tensor.
pub const BUCKETS: usize = 64;
/// Bytes of a sealed sketch of one tensor: a scale and 16 bits a bucket.
pub const SEALED_BYTES: usize = 4 + 2 * BUCKETS;

/// The sums of one tensor's values, a bucket each.
pub type Sums = [f64; BUCKETS];

/// The seed of one tensor's signs, from that of all.
pub fn tensor_seed(seed: u64, tensor: usize) -> u64 {
    mixed(seed ^ mixed(tensor as u64 + 1))
}

/// The signs of 64 values in a row, one bit each: of those from `64 * block` on. A bit that is set turns its value around.
pub fn signs(tensor_seed: u64, block: u64) -> u64 {
    mixed(tensor_seed.wrapping_add((block + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The sketch of a tensor.
pub fn of_tensor(tensor_seed: u64, values: &[f32]) -> Sums {
    let mut sums = [0.0; BUCKETS];
    for (block, part) in (0..).zip(values.chunks(BUCKETS)) {
        let signs = signs(tensor_seed, block);
        // The sign bit of a float is its first, so a sign is an exclusive or.
        let turned = |(bucket, value): (usize, &f32)| {
            let turn = ((signs >> bucket) as u32 & 1) << 31;
            f64::from(f32::from_bits(value.to_bits() ^ turn))
        };
        if let Ok(whole) = <&[f32; BUCKETS]>::try_from(part) {
            for bucket in 0..BUCKETS {
                sums[bucket] += turned((bucket, &whole[bucket]));
            }
        } else {
            for (sum, value) in sums.iter_mut().zip(part.iter().enumerate().map(turned)) {
                *sum += value;
            }
        }
    }
    sums
}

/// The sketches of a gradient's tensors, in their order; threads take a tensor each.
pub fn of_gradient(seed: u64, tensors: &[&[f32]]) -> Vec<Sums> {
    let tensors = tensors.par_iter().enumerate();
    tensors.map(|(at, values)| of_tensor(tensor_seed(seed, at), values)).collect()
}

/// What a peer commits to: the sketches as they are sent, `[scale f32, 64 times i16]` for each tensor, little-endian. A bucket is its
/// number times the scale, and off by half of the scale at most: 1/65534 of the largest of its tensor.
///
/// A tensor with a sum that is not finite is all zeros with a scale of NaN, which agrees with nothing.
pub fn seal(sketches: &[Sums]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(sketches.len() * SEALED_BYTES);
    for sums in sketches {
        let largest = sums.iter().fold(0.0f64, |most, sum| most.max(sum.abs()));
        let finite = sums.iter().all(|sum| sum.is_finite()) && ((largest / STEPS) as f32).is_finite();
        let scale = if finite { (largest / STEPS) as f32 } else { f32::NAN };
        sealed.extend_from_slice(&scale.to_le_bytes());
        for sum in sums {
            // Beyond the largest only by the rounding of the scale; of a scale that is too small for a float nothing is left.
            let steps = if scale > 0.0 { (sum / f64::from(scale)).round() } else { 0.0 };
            sealed.extend_from_slice(&(steps.clamp(-STEPS, STEPS) as i16).to_le_bytes());
        }
    }
    sealed
}

const STEPS: f64 = 32767.0;

/// Reads what [`seal`] wrote, for so many tensors; none if it has another length.
pub fn open(sealed: &[u8], tensors: usize) -> Option<Vec<Sums>> {
    if sealed.len() != tensors.checked_mul(SEALED_BYTES)? {
        return None;
    }
    let sums = sealed.chunks_exact(SEALED_BYTES).map(|tensor| {
        let (scale, steps) = tensor.split_at(4);
        let scale = f64::from(f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]));
        let mut sums = [0.0; BUCKETS];
        for (sum, step) in sums.iter_mut().zip(steps.chunks_exact(2)) {
            *sum = f64::from(i16::from_le_bytes([step[0], step[1]])) * scale;
        }
        sums
    });
    Some(sums.collect())
}

/// SplitMix64's output function (Steele, Lea and Flood, 2014).
fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let uniform =
            |i: u64| (mixed(seed.wrapping_add(i * 0x9e37_79b9_7f4a_7c15)) >> 40) as f32 / 2f32.powi(23) - 1.0;
        (0..count as u64).map(uniform).collect()
    }

    fn squared(sums: &Sums) -> f64 {
        sums.iter().map(|sum| sum * sum).sum()
    }

    #[test]
    fn it_is_linear_whatever_the_length() {
        for length in [1, 63, 64, 65, 1000] {
            let (a, b) = (numbers(1, length), numbers(2, length));
            let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let parts = [&a, &b].map(|values| of_tensor(7, values));
            for (bucket, whole) in of_tensor(7, &sum).iter().enumerate() {
                let (whole, parts) = (*whole, parts[0][bucket] + parts[1][bucket]);
                assert!((whole - parts).abs() < 1e-5, "{length} {bucket}: {whole} {parts}");
            }
        }
    }

    #[test]
    fn a_value_counts_once_in_its_bucket_with_its_sign() {
        let mut values = vec![0.0; 200];
        values[130] = 3.0;
        let sums = of_tensor(9, &values);
        let turned = signs(9, 2) >> 2 & 1 == 1;
        assert_eq!(sums[2], if turned { -3.0 } else { 3.0 });
        assert_eq!(squared(&sums), 9.0);
    }

    #[test]
    fn lengths_are_kept_on_average_and_seeds_differ() {
        let values = numbers(3, 4096);
        let length: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        let ratios: Vec<f64> =
            (0..400).map(|seed| squared(&of_tensor(tensor_seed(seed, 0), &values)) / length).collect();
        let mean = ratios.iter().sum::<f64>() / 400.0;
        let variance = ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 400.0;
        // The standard error of the mean is sqrt(2 / 64 / 400) = 0.009.
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!((0.02..0.045).contains(&variance), "{variance}, expected about 2 / 64 = 0.031");
    }

    #[test]
    fn signs_are_fair_and_not_those_of_a_neighbour() {
        let of = |seed| (0..1000).map(move |block| signs(seed, block));
        let ones: u32 = of(5).map(u64::count_ones).sum();
        // 64,000 fair coins have a standard deviation of 126.
        assert!(ones.abs_diff(32_000) < 700, "{ones}");
        let [one, other] = [0, 1].map(|tensor| tensor_seed(5, tensor));
        let same: u32 = of(one).zip(of(other)).map(|(a, b)| (a ^ b).count_zeros()).sum();
        assert!(same.abs_diff(32_000) < 700, "{same}");
        let next: u32 = of(one).zip(of(one).skip(1)).map(|(a, b)| (a ^ b).count_zeros()).sum();
        assert!(next.abs_diff(32_000) < 700, "{next}");
    }

    #[test]
    fn sealed_sketches_are_what_they_were_within_a_step() {
        let sketches = of_gradient(1, &[&numbers(1, 5000), &numbers(2, 100), &[0.0; 70]]);
        let sealed = seal(&sketches);
        assert_eq!(sealed.len(), 3 * SEALED_BYTES);
        let opened = open(&sealed, 3).unwrap();
        for (was, is) in sketches.iter().zip(&opened) {
            let largest = was.iter().fold(0.0f64, |most, sum| most.max(sum.abs()));
            for (was, is) in was.iter().zip(is) {
                assert!((was - is).abs() <= largest / 65_000.0, "{was} {is}");
            }
        }
        assert_eq!(opened[2], [0.0; BUCKETS]);
        assert_eq!(seal(&opened), sealed, "what is sealed again is the same bytes");
        assert!(open(&sealed, 2).is_none() && open(&sealed[1..], 3).is_none());
    }

    #[test]
    fn what_is_not_finite_agrees_with_nothing() {
        for bad in [f32::NAN, f32::INFINITY] {
            let opened = open(&seal(&of_gradient(1, &[&[1.0, bad, 2.0]])), 1).unwrap();
            assert!(opened[0].iter().all(|sum| sum.is_nan()));
        }
    }

    #[test]
    fn sums_of_any_size_survive() {
        for factor in [1e-30f32, 1e-12, 1e30] {
            let values: Vec<f32> = numbers(4, 640).iter().map(|v| v * factor).collect();
            let sketch = of_gradient(1, &[&values]);
            let opened = open(&seal(&sketch), 1).unwrap();
            let off: f64 = sketch[0].iter().zip(&opened[0]).map(|(a, b)| (a - b).powi(2)).sum();
            assert!(off <= squared(&sketch[0]) * 1e-8, "{factor}");
        }
    }
}

//! Initial weights that are the same bits on every platform.

use std::thread;

/// Bytes of the stream for one value: twelve 16-bit numbers.
const PER_VALUE: usize = 24;
/// Twelve times the mean of a 16-bit number.
const MEAN: i32 = 12 * 65535 / 2;
/// Values drawn at a time: a whole number of the stream's 64-byte blocks.
const STRETCH: usize = 2048;
/// Values below which a second thread is not worth it.
const PER_THREAD: usize = 1 << 18;

/// The initial values of one parameter, in row-major order.
///
/// A vector (the weight of a norm) is all ones. A matrix is normal by Irwin and Hall: the `i`-th value is
/// `(s - 393210) * (std / 65536)` with `s` the sum of twelve numbers of 16 bits, bytes `24 i` to `24 i + 23`
/// of blake3-XOF(derived key "templar initial weights v1", seed LE u64 ‖ name). The sum of twelve has a
/// deviation of 65536 but for one part in 2^33. All of it is whole numbers, up to one multiplication in f32.
pub fn initial_values(name: &str, shape: &[usize], seed: u64, std: f64) -> Vec<f32> {
    let count = shape.iter().product();
    if shape.len() < 2 {
        return vec![1.0; count];
    }
    let mut hasher = blake3::Hasher::new_derive_key("templar initial weights v1");
    hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
    let scale = std as f32 / 65536.0;
    let mut values = vec![0f32; count];
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count / PER_THREAD).max(1);
    let share = count.div_ceil(threads).next_multiple_of(STRETCH);
    thread::scope(|scope| {
        let mut parts = values.chunks_mut(share).enumerate();
        let first = parts.next();
        for (index, part) in parts {
            let hasher = &hasher;
            scope.spawn(move || fill(hasher, index * share, part, scale));
        }
        if let Some((_, part)) = first {
            fill(&hasher, 0, part, scale);
        }
    });
    values
}

fn fill(hasher: &blake3::Hasher, start: usize, values: &mut [f32], scale: f32) {
    let mut stream = hasher.finalize_xof();
    stream.set_position((start * PER_VALUE) as u64);
    let mut buffer = vec![0u8; STRETCH * PER_VALUE];
    for stretch in values.chunks_mut(STRETCH) {
        let bytes = &mut buffer[..stretch.len() * PER_VALUE];
        stream.fill(bytes);
        for (value, draw) in stretch.iter_mut().zip(bytes.chunks_exact(PER_VALUE)) {
            let sum: i32 = draw.chunks_exact(2).map(|b| i32::from(u16::from_le_bytes([b[0], b[1]]))).sum();
            *value = (sum - MEAN) as f32 * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normal_and_do_not_depend_on_the_split() {
        let shape = [1024, 1024];
        let values = initial_values("w", &shape, 7, 0.02);
        let mut alone = vec![0f32; 5000];
        let mut hasher = blake3::Hasher::new_derive_key("templar initial weights v1");
        hasher.update(&7u64.to_le_bytes()).update(b"w");
        fill(&hasher, 600 * 1024, &mut alone, 0.02 / 65536.0);
        assert_eq!(alone, values[600 * 1024..][..5000]);
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let moment = |p| values.iter().map(|v| (f64::from(*v) / 0.02).powi(p)).sum::<f64>() / n;
        // Standard errors for 2^20 values: 2e-5, 1.4e-3, 1e-2; Irwin-Hall's fourth moment is 3 - 0.1.
        assert!(mean.abs() < 8e-5, "{mean}");
        assert!((moment(2) - 1.0).abs() < 6e-3, "{}", moment(2));
        assert!((moment(4) - 2.9).abs() < 4e-2, "{}", moment(4));
        assert_ne!(values, initial_values("w", &shape, 8, 0.02));
        assert_ne!(values, initial_values("v", &shape, 7, 0.02));
        assert_eq!(initial_values("norm", &[3], 7, 0.02), [1.0; 3]);
    }

    #[test]
    fn the_first_values_are_what_they_were() {
        // From the definition, by Python's blake3 and numpy.
        let first: Vec<u32> = initial_values("w", &[1, 4], 42, 0.02).iter().map(|v| v.to_bits()).collect();
        assert_eq!(first, [0x3cdd_6852, 0x3cc6_c333, 0xbc80_5c29, 0xbcb5_4000]);
    }
}

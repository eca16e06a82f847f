//! The reference implementation's codes: 12-bit positions and a quantiser of a few bins.
//!
//! Templar's own format does not use them; they are here to read what the reference writes, and to compare
//! sizes.
#![allow(dead_code, reason = "the reference has more than is compared")]

/// Packs positions below 4096, two in three bytes: `a`'s low byte; `a`'s high four bits, and `b`'s low four
/// above them; `b`'s high byte. An odd count is padded with 0.
pub fn pack12(positions: &[u16]) -> Vec<u8> {
    positions
        .chunks(2)
        .flat_map(|pair| {
            let (a, b) = (pair[0], pair.get(1).copied().unwrap_or(0));
            [a as u8, ((a >> 8) as u8 & 0xf) | ((b as u8 & 0xf) << 4), (b >> 4) as u8]
        })
        .collect()
}

/// Reads what [`pack12`] wrote; bytes that do not fill a pair are left out.
pub fn unpack12(bytes: &[u8]) -> Vec<u16> {
    bytes
        .chunks_exact(3)
        .flat_map(|c| {
            let [x, y, z] = [u16::from(c[0]), u16::from(c[1]), u16::from(c[2])];
            [x | (y & 0xf) << 8, y >> 4 | z << 4]
        })
        .collect()
}

/// Values in bins, with what it takes to read them.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    /// The mean, taken off before binning.
    pub shift: f32,
    /// The width of a bin.
    pub scale: f32,
    /// The bin of each value.
    pub bins: Vec<u8>,
    /// The mean of each bin's values less the shift; 0 for an empty bin.
    pub lookup: Vec<f32>,
}

impl Quantised {
    /// Quantises a tensor's values into `bins` bins (2 to 256) over six standard deviations.
    ///
    /// `bin = clamp(round_half_even(c / scale + bins / 2), 0, bins - 1)` for `c` the value less the mean,
    /// and `scale = 6 * std / bins` (1 where that is 0 or not finite). Sums are in f64, the binning in f32.
    pub fn new(values: &[f32], bins: u16) -> Self {
        let n = values.len() as f64;
        let shift = (values.iter().map(|v| f64::from(*v)).sum::<f64>() / n) as f32;
        let centred: Vec<f32> = values.iter().map(|v| v - shift).collect();
        let squares: f64 = centred.iter().map(|c| f64::from(*c).powi(2)).sum();
        let width = (6.0 * (squares / (n - 1.0)).sqrt() / f64::from(bins)) as f32;
        let scale = if width.is_finite() && width > 0.0 { width } else { 1.0 };
        let highest = f32::from(bins - 1);
        let bin = |c: &f32| (c / scale + f32::from(bins / 2)).round_ties_even().clamp(0.0, highest) as u8;
        let bins_of: Vec<u8> = centred.iter().map(bin).collect();
        let mut sums = vec![(0.0f64, 0u32); usize::from(bins)];
        for (c, bin) in centred.iter().zip(&bins_of) {
            let sum = &mut sums[usize::from(*bin)];
            *sum = (sum.0 + f64::from(*c), sum.1 + 1);
        }
        let lookup =
            sums.iter().map(|(s, n)| if *n == 0 { 0.0 } else { (s / f64::from(*n)) as f32 }).collect();
        Self { shift, scale, bins: bins_of, lookup }
    }

    /// The values that the bins stand for.
    pub fn values(&self) -> Vec<f32> {
        self.bins
            .iter()
            .map(|b| self.lookup.get(usize::from(*b)).copied().unwrap_or(0.0) + self.shift)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 6] = [1.0, -2.0, 0.5, 3.0, -0.25, 0.1];

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6)
    }

    #[test]
    fn twelve_bits_are_packed_like_the_reference() {
        assert_eq!(pack12(&[4095, 1, 0, 256]), [255, 31, 0, 0, 0, 16]);
        assert_eq!(unpack12(&[255, 31, 0, 0, 0, 16]), [4095, 1, 0, 256]);
        let all: Vec<u16> = (0..4096).collect();
        assert_eq!(unpack12(&pack12(&all)), all);
    }

    #[test]
    fn four_bins_give_the_golden_values() {
        let q = Quantised::new(&VALUES, 4);
        assert!((q.shift - 0.391_666_7).abs() < 1e-6);
        assert!((q.scale - 2.455_796_7).abs() < 1e-6);
        assert_eq!(q.bins, [2, 1, 2, 3, 2, 2]);
        assert!(close(&q.values(), &[0.3375, -2.0, 0.3375, 3.0, 0.3375, 0.3375]));
    }

    #[test]
    fn as_many_bins_as_values_give_them_back() {
        let q = Quantised::new(&VALUES, 256);
        assert!((q.scale - 0.038_371_8).abs() < 1e-6);
        assert_eq!(q.bins, [144, 66, 131, 196, 111, 120]);
        assert!(close(&q.values(), &VALUES));
    }

    #[test]
    fn equal_values_have_a_width_too() {
        let q = Quantised::new(&[2.0; 5], 4);
        assert_eq!((q.scale, q.bins.as_slice()), (1.0, &[2u8; 5][..]));
        assert_eq!(q.values(), [2.0; 5]);
    }

    #[test]
    fn the_published_ratios_follow_from_the_sizes() {
        // TEMPLAR-I: 32 times 4 + 2 bytes for 4096 fp32 values; 72B: 64 times 12 + 2 bits, or 20 as sent.
        let ratio = |bits: f64| 4096.0 * 32.0 / bits;
        assert!((ratio(32.0 * 48.0) - 85.3).abs() < 0.05);
        assert!((ratio(64.0 * 14.0) - 146.3).abs() < 0.05);
        assert!((ratio(64.0 * 20.0) - 102.4).abs() < 0.05);
        assert!((1_204_881_408.0f64 / 4096.0 * 192.0 / 1e6 - 56.5).abs() < 0.05);
    }
}

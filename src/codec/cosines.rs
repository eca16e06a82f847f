//! The orthonormal DCT-II as matrices, to the last bit.
//!
//! `X[k] = s_k * sum over n of x[n] cos(pi (2n + 1) k / 2N)`, `s_0 = sqrt(1/N)`, else `sqrt(2/N)`; its inverse
//! is its transpose. The basis is computed with additions, multiplications and square roots alone, which IEEE 754 defines
//! to the last bit: it is the same on every platform, which a library's cosine need not be.

use std::f64::consts::PI;

/// Fraction bits of [`whole_basis`].
pub(crate) const BASIS_BITS: u32 = 14;

/// The basis of length `n`, row-major `[sample][frequency]`.
pub fn basis(n: usize) -> Vec<f64> {
    let scale = |k| if k == 0 { (1.0 / n as f64).sqrt() } else { (2.0 / n as f64).sqrt() };
    (0..n * n).map(|i| (i / n, i % n)).map(|(s, k)| scale(k) * cosine((2 * s + 1) * k, n)).collect()
}

/// [`basis`] in whole numbers: times `factor`, rounded half away from zero.
pub(crate) fn whole_basis(n: usize, factor: f64) -> Vec<i32> {
    basis(n).iter().map(|v| (v * factor).round() as i32).collect()
}

/// `cos(pi * m / 2n)`: reduced to the first eighth of the circle in whole numbers, then a Taylor series.
pub(crate) fn cosine(m: usize, n: usize) -> f64 {
    let m = m % (4 * n);
    let m = if m > 2 * n { 4 * n - m } else { m };
    if m > n {
        return -cosine(2 * n - m, n);
    }
    // Sum of x^i / i! with alternating signs, for i even (cosine) or odd (sine of what is left to 90 degrees).
    let series = |m: usize, first: u32| {
        let x = PI * m as f64 / (2 * n) as f64;
        let start = if first == 0 { 1.0 } else { x };
        let next = |(term, i): (f64, u32)| (-term * x * x / f64::from((i + 1) * (i + 2)), i + 2);
        let terms = std::iter::successors(Some((start, first)), |t| Some(next(*t)));
        terms.take(11).map(|(term, _)| term).sum::<f64>()
    };
    if 2 * m <= n { series(m, 0) } else { series(n - m, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_transform_of_four_numbers() {
        let basis = basis(4);
        let x = [1.0, 2.0, 3.0, 4.0];
        let transform: Vec<f64> = (0..4).map(|k| (0..4).map(|n| x[n] * basis[n * 4 + k]).sum()).collect();
        for (found, golden) in transform.iter().zip([5.0, -2.230_442, 0.0, -0.158_513]) {
            assert!((found - golden).abs() < 1e-6, "{found} {golden}");
        }
    }

    #[test]
    fn cosines_are_right_to_the_last_bits_and_bases_orthonormal() {
        for n in [1usize, 2, 3, 5, 48, 63, 64] {
            for m in 0..8 * n {
                let exact = (PI * m as f64 / (2 * n) as f64).cos();
                assert!((cosine(m, n) - exact).abs() < 4e-15, "{m} {n}");
            }
            let b = basis(n);
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|s| b[s * n + i] * b[s * n + j]).sum();
                    assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-13);
                }
            }
        }
        assert_eq!(whole_basis(1, f64::from(1 << BASIS_BITS)), [1 << BASIS_BITS]);
    }
}

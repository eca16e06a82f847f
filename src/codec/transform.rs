//! Forward: a window's gradient goes through the DCT and onto the state, chunk by chunk.
//!
//! The state is kept as coefficients, `C <- beta C + DCT(G)`. The transform is linear, so that is the transform of the
//! momentum `M <- beta M + G`, and encoding needs no inverse transform at all: what is sent is taken off `C` where it is.
//!
//! A chunk of 64 x 64 takes the fast transform: B. G. Lee's factorisation (IEEE Transactions on Acoustics, Speech and
//! Signal Processing 32(6), 1984) halves a transform of `2n` into two of `n`,
//!
//! `U = DCT(x_i + x_(2n-1-i))`, `V = DCT((x_i - x_(2n-1-i)) / (2 cos(pi (2i+1) / 4n)))`,
//! `X_2k = U_k`, `X_(2k+1) = V_k + V_(k+1)`,
//!
//! twice by hand, so that 64 becomes four of 16, which a processor's registers hold. The columns are transformed first,
//! then the rows; there is one transpose between them and none after, and that is why a position is
//! `v * 64 + u` with `u` the frequency along the column. Other sides take the plain sum of products.

use crate::{
    cosines::basis,
    simd::{Simd, Tile},
};
use std::sync::LazyLock;

/// `1 / (2 cos(pi (2i + 1) / 2n))`: what Lee's factorisation of a transform of `n` multiplies the differences by.
const LEE_64: [f32; 32] = [
    0.500_150_6,
    0.501_358_45,
    0.503_788_7,
    0.507_471_14,
    0.512_451_47,
    0.518_792_7,
    0.526_577_3,
    0.535_909_83,
    0.546_920_4,
    0.559_769_8,
    0.574_655_2,
    0.591_818_5,
    0.611_557_36,
    0.634_238_96,
    0.660_319_8,
    0.690_372_1,
    0.725_120_54,
    0.765_494_17,
    0.812_702_1,
    0.868_344_7,
    0.934_583_6,
    1.014_408_2,
    1.112_071_6,
    1.233_832_7,
    1.389_293_9,
    1.593_972_3,
    1.874_676,
    2.282_050_1,
    2.924_628_5,
    4.084_611,
    6.796_750_5,
    20.373_878,
];
const LEE_32: [f32; 16] = [
    0.500_603,
    0.505_470_93,
    0.515_447_3,
    0.531_042_6,
    0.553_103_9,
    0.582_935,
    0.622_504_1,
    0.674_808_3,
    0.744_536_3,
    0.839_349_6,
    0.972_568_2,
    1.169_439_9,
    1.484_164_6,
    2.057_781,
    3.407_608_5,
    10.190_008,
];
const LEE_16: [f32; 8] =
    [0.502_419_3, 0.522_498_6, 0.566_944_06, 0.646_821_8, 0.788_154_6, 1.060_677_7, 1.722_447_2, 5.101_148_6];
const LEE_8: [f32; 4] = [0.509_795_6, 0.601_344_9, 0.899_976_2, 2.562_915_6];
const LEE_4: [f32; 2] = [0.541_196_1, 1.306_563];
const LEE_2: [f32; 1] = [0.707_106_77];

/// A transform of `$n` by two of half its length.
macro_rules! lee {
    ($name:ident, $half:ident, $n:literal, $h:literal, $factors:ident) => {
        #[inline(always)]
        fn $name<S: Simd>(s: S, x: [S::F; $n]) -> [S::F; $n] {
            let (mut sums, mut differences) = ([s.splat(0.0); $h], [s.splat(0.0); $h]);
            for i in 0..$h {
                sums[i] = s.add(x[i], x[$n - 1 - i]);
                differences[i] = s.mul(s.sub(x[i], x[$n - 1 - i]), s.splat($factors[i]));
            }
            let (even, odd) = ($half(s, sums), $half(s, differences));
            let mut out = [s.splat(0.0); $n];
            for k in 0..$h {
                out[2 * k] = even[k];
                out[2 * k + 1] = if k + 1 < $h { s.add(odd[k], odd[k + 1]) } else { odd[k] };
            }
            out
        }
    };
}

#[inline(always)]
fn lee_1<S: Simd>(_: S, x: [S::F; 1]) -> [S::F; 1] {
    x
}
lee!(lee_2, lee_1, 2, 1, LEE_2);
lee!(lee_4, lee_2, 4, 2, LEE_4);
lee!(lee_8, lee_4, 8, 4, LEE_8);
lee!(lee_16, lee_8, 16, 8, LEE_16);

/// Four transforms of 16, which [`four_frequencies`] puts together to one of 64. Each has a seventeenth entry of zeros.
type Quarters<S> = [[<S as Simd>::F; 17]; 4];

/// Room for the passes, kept from chunk to chunk.
pub(crate) struct Room<S: Simd> {
    quarters: Quarters<S>,
    between: Tile,
}

impl<S: Simd> Room<S> {
    #[inline(always)]
    pub(crate) fn new(s: S) -> Self {
        Self { quarters: [[s.splat(0.0); 17]; 4], between: [[0.0; 64]; 64] }
    }
}

/// Rows of 64 numbers, by their number.
trait Rows {
    fn row(&self, n: usize) -> &[f32; 64];
}

impl Rows for [&[f32; 64]; 64] {
    #[inline(always)]
    fn row(&self, n: usize) -> &[f32; 64] {
        self[n]
    }
}

impl Rows for Tile {
    #[inline(always)]
    fn row(&self, n: usize) -> &[f32; 64] {
        &self[n]
    }
}

/// What a pass asks of the memory for the chunk after: its 256 lines of 16 numbers, some with each step.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    from: &'a [f32],
    stride: usize,
}

impl Ahead<'_> {
    #[inline(always)]
    fn fetch<S: Simd>(self, s: S, step: usize) {
        let lines = S::LANES / 4;
        for line in step * lines..(step + 1) * lines {
            if let Some(ahead) = self.from.get((line / 4) * self.stride + (line % 4) * 16..) {
                s.prefetch(ahead);
            }
        }
    }
}

/// Sixty-four numbers of each of `LANES` columns from the column `at` on, down to transforms of 16.
#[inline(always)]
fn quarters<S: Simd>(s: S, rows: &impl Rows, at: usize, ahead: Ahead<'_>, out: &mut Quarters<S>) {
    for n in 0..16 {
        ahead.fetch(s, at / S::LANES * 16 + n);
        let (a, b) = (s.load(rows.row(n), at), s.load(rows.row(31 - n), at));
        let (c, d) = (s.load(rows.row(32 + n), at), s.load(rows.row(63 - n), at));
        let (u0, u1) = (s.add(a, d), s.add(b, c));
        let v0 = s.mul(s.sub(a, d), s.splat(LEE_64[n]));
        let v1 = s.mul(s.sub(b, c), s.splat(LEE_64[31 - n]));
        let factor = s.splat(LEE_32[n]);
        out[0][n] = s.add(u0, u1);
        out[1][n] = s.mul(s.sub(u0, u1), factor);
        out[2][n] = s.add(v0, v1);
        out[3][n] = s.mul(s.sub(v0, v1), factor);
    }
    for quarter in out {
        let mut x = [s.splat(0.0); 16];
        x.copy_from_slice(&quarter[..16]);
        quarter[..16].copy_from_slice(&lee_16(s, x));
    }
}

/// The frequencies `4k` to `4k + 3` of the transform of 64, without its scale.
#[inline(always)]
fn four_frequencies<S: Simd>(s: S, [uu, uv, vu, vv]: &Quarters<S>, k: usize) -> [S::F; 4] {
    let odd = s.add(vv[k], vv[k + 1]);
    [uu[k], s.add(vu[k], odd), s.add(uv[k], uv[k + 1]), s.add(odd, vu[k + 1])]
}

/// What one chunk of 64 x 64 is made from.
pub(crate) struct Source<'a> {
    /// The gradient from the chunk's first element on.
    pub gradient: &'a [f32],
    /// Elements from one row of the gradient to the next.
    pub stride: usize,
    /// The gradient from the next chunk's first element on, and that chunk's state: asked of the memory ahead of time,
    /// which is worth a third of the whole. Empty for the last chunk.
    pub next: (&'a [f32], &'a [f32]),
}

/// `C <- beta C + DCT(G)` for one chunk of 64 x 64. `maxima[u]` becomes the largest magnitude, as bits, among the
/// coefficients of frequency `u` along the column. Returns whether the gradient has 64 rows of 64 elements at all.
#[inline(always)]
pub(crate) fn update<S: Simd>(
    s: S,
    source: &Source<'_>,
    state: &mut Tile,
    beta: f32,
    maxima: &mut [i32; 64],
    room: &mut Room<S>,
) -> bool {
    let Room { quarters: quarter, between } = room;
    static NOTHING: [f32; 64] = [0.0; 64];
    let mut rows = [&NOTHING; 64];
    for (n, row) in rows.iter_mut().enumerate() {
        match source.gradient.get(n * source.stride..).and_then(|rest| rest.first_chunk()) {
            Some(found) => *row = found,
            None => return false,
        }
    }
    let (next_gradient, next_state) = source.next;
    let next_gradient = Ahead { from: next_gradient, stride: source.stride };
    let next_state = Ahead { from: next_state, stride: 64 };
    // The first frequency's scale is smaller than the others' by the root of one half.
    let half = s.splat(std::f32::consts::FRAC_1_SQRT_2);
    for group in 0..64 / S::LANES {
        let at = group * S::LANES;
        quarters(s, &rows, at, next_gradient, quarter);
        for block in 0..64 / S::LANES {
            let mut frequencies = [s.splat(0.0); 16];
            for i in 0..S::LANES / 4 {
                let four = four_frequencies(s, quarter, block * (S::LANES / 4) + i);
                frequencies[4 * i..4 * i + 4].copy_from_slice(&four);
            }
            if block == 0 {
                frequencies[0] = s.mul(frequencies[0], half);
            }
            let columns = s.transpose(frequencies);
            for i in 0..S::LANES {
                s.store(columns[i], &mut between[at + i], block * S::LANES);
            }
        }
    }
    // Each of the two passes has the scale sqrt(2/64): together 1/32, which is exact.
    let (beta, scale) = (s.splat(beta), s.splat(1.0 / 32.0));
    for group in 0..64 / S::LANES {
        let at = group * S::LANES;
        quarters(s, between, at, next_state, quarter);
        let mut most = s.splat_whole(0);
        for k in 0..16 {
            let mut four = four_frequencies(s, quarter, k);
            if k == 0 {
                four[0] = s.mul(four[0], half);
            }
            for i in 0..4 {
                let row = &mut state[4 * k + i];
                let c = s.add(s.mul(s.load(row, at), beta), s.mul(four[i], scale));
                s.store(c, row, at);
                most = s.max_magnitude(c, most);
            }
        }
        s.store_whole(most, maxima, at);
    }
    true
}

/// `C <- beta C + DCT(G)` for one chunk of any sides, by the plain sum of products in float32. `state[v * rows + u]`.
pub(crate) fn update_plain(
    gradient: &[f32],
    stride: usize,
    (rows, cols): (usize, usize),
    state: &mut [f32],
    beta: f32,
) {
    let (down, along) = (float_basis(rows), float_basis(cols));
    let mut between = vec![0f32; rows * cols];
    for (u, row) in between.chunks_exact_mut(cols).enumerate() {
        for n in 0..rows {
            let (factor, from) = (down[n * rows + u], &gradient[n * stride..n * stride + cols]);
            row.iter_mut().zip(from).for_each(|(sum, x)| *sum += factor * x);
        }
    }
    for (v, out) in state.chunks_exact_mut(rows).enumerate() {
        for (u, c) in out.iter_mut().enumerate() {
            let row = &between[u * cols..(u + 1) * cols];
            let sum = row.iter().enumerate().fold(0f32, |sum, (n, x)| sum + along[n * cols + v] * x);
            *c = *c * beta + sum;
        }
    }
}

/// The bases of all sides that a chunk can have, in float32.
fn float_basis(n: usize) -> &'static [f32] {
    static BASES: LazyLock<Vec<Vec<f32>>> =
        LazyLock::new(|| (0..=64).map(|n| basis(n).iter().map(|x| *x as f32).collect()).collect());
    &BASES[n]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cosines::cosine,
        simd::{Path, TILE, Work},
    };

    #[test]
    fn the_factors_are_those_of_the_factorisation() {
        let of = |n: usize| -> Vec<f32> { (0..n / 2).map(|i| (0.5 / cosine(2 * i + 1, n)) as f32).collect() };
        assert_eq!(of(64), LEE_64);
        assert_eq!(of(32), LEE_32);
        assert_eq!(of(16), LEE_16);
        assert_eq!(of(8), LEE_8);
        assert_eq!(of(4), LEE_4);
        assert_eq!(of(2), LEE_2);
    }

    struct One<'a> {
        gradient: &'a [f32],
        stride: usize,
        state: &'a mut Tile,
        maxima: &'a mut [i32; 64],
    }

    impl Work for One<'_> {
        type Out = bool;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> bool {
            let source = Source { gradient: self.gradient, stride: self.stride, next: (&[], &[]) };
            update(s, &source, self.state, 0.75, self.maxima, &mut Room::new(s))
        }
    }

    #[test]
    fn a_chunk_is_transformed_as_the_definition_says_on_every_path() {
        let mut x = 1u64;
        let mut draw = move || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let stride = 70;
        let gradient: Vec<f32> = (0..64 * stride).map(|_| draw()).collect();
        let before: Vec<f32> = (0..TILE).map(|_| draw()).collect();
        let basis = basis(64);
        // In float64: first down the columns, then along the rows.
        let mut between = vec![0f64; TILE];
        let mut exact = vec![0f64; TILE];
        for u in 0..64 {
            for x in 0..64 {
                between[u * 64 + x] =
                    (0..64).map(|n| basis[n * 64 + u] * f64::from(gradient[n * stride + x])).sum();
            }
        }
        for (u, v) in (0..TILE).map(|i| (i / 64, i % 64)) {
            let sum: f64 = (0..64).map(|n| basis[n * 64 + v] * between[u * 64 + n]).sum();
            exact[v * 64 + u] = 0.75 * f64::from(before[v * 64 + u]) + sum;
        }
        let mut first: Option<Vec<u32>> = None;
        for path in Path::all() {
            let mut state: Tile = [[0.0; 64]; 64];
            state.as_flattened_mut().copy_from_slice(&before);
            let mut maxima = [0; 64];
            assert!(path.run(One { gradient: &gradient, stride, state: &mut state, maxima: &mut maxima }));
            for (found, exact) in state.as_flattened().iter().zip(&exact) {
                assert!((f64::from(*found) - exact).abs() < 4e-6, "{}: {found} {exact}", path.name());
            }
            for (u, most) in maxima.iter().enumerate() {
                let largest = state.iter().map(|row| row[u].abs().to_bits()).max();
                assert_eq!(Some(*most as u32), largest);
            }
            let bits: Vec<u32> = state.as_flattened().iter().map(|c| c.to_bits()).collect();
            assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{}", path.name());
            let short = One {
                gradient: &gradient[..63 * stride + 63],
                stride,
                state: &mut state,
                maxima: &mut maxima,
            };
            assert!(!path.run(short));
        }
        let mut plain = before.clone();
        update_plain(&gradient, stride, (64, 64), &mut plain, 0.75);
        for (found, exact) in plain.iter().zip(&exact) {
            assert!((f64::from(*found) - exact).abs() < 2e-5, "{found} {exact}");
        }
    }

    #[test]
    fn other_sides_are_transformed_as_the_definition_says() {
        for (rows, cols) in [(1, 13), (48, 64), (3, 5), (1, 1), (7, 1)] {
            let gradient: Vec<f32> = (0..rows * cols).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let mut state = vec![0f32; rows * cols];
            update_plain(&gradient, cols, (rows, cols), &mut state, 0.5);
            let (down, along) = (basis(rows), basis(cols));
            for (u, v) in (0..rows * cols).map(|i| (i / cols, i % cols)) {
                let term =
                    |(y, x)| down[y * rows + u] * along[x * cols + v] * f64::from(gradient[y * cols + x]);
                let exact: f64 = (0..rows * cols).map(|i| term((i / cols, i % cols))).sum();
                assert!((f64::from(state[v * rows + u]) - exact).abs() < 1e-5, "{rows} {cols}");
            }
        }
    }
}

//! Backward: a chunk's few coefficients become its 4096 signs or numbers, in whole numbers.
//!
//! The basis is `round(32760 x)` of the orthonormal one, at most 5792; coefficients are at most 8191. By Cauchy and
//! Schwarz no sum of either pass reaches `2^31`: the norm of a column of the basis is below 32,761, that of 64
//! coefficients below `8 * 8191`, and `8 * 8191 * 32761 + 2^18 < 2^31`. Sums of 32 bits that wrap on the way there are
//! right in the end, so that neither the order of coefficients nor the width of the vectors can change a bit.
//!
//! Between the passes the largest sum of the chunk decides a shift that brings all of them to 13 bits again; a shift for
//! the worst case would cost ten times as many signs. Frequencies are even or odd about the middle of the chunk, so each
//! pass computes half of the places and adds or subtracts. Only rows that have a coefficient are visited, two at a time in
//! the halves of 32-bit numbers, as processors multiply them.

use crate::{
    cosines::{BASIS_BITS, whole_basis},
    simd::Simd,
};
use std::sync::LazyLock;

/// Bits of a coefficient before a pass.
pub(crate) const COEFFICIENT_BITS: u32 = 13;
/// The largest coefficient.
pub(crate) const LARGEST_COEFFICIENT: i64 = (1 << COEFFICIENT_BITS) - 1;
/// What the basis of 64 is multiplied by before it is rounded.
pub(crate) const FACTOR: f64 = 32760.0;

/// A chunk's coefficients: their positions, and themselves.
pub(crate) type Coefficients<'a> = (&'a [u16], &'a [i32]);

/// The basis of 64, as the passes read it. The second half of each row of numbers belongs to the next row of the basis.
struct Basis {
    /// For each frequency its first 32 places, in the low half of each number.
    low: [[i32; 64]; 32],
    /// The frequencies in pairs, both in one number: (0, 2), (4, 6) ... then (1, 3), (5, 7) ...
    pairs: [[i32; 64]; 16],
}

static BASIS: LazyLock<Box<Basis>> = LazyLock::new(|| {
    let whole = whole_basis(64, FACTOR);
    let at = |frequency: usize, place: usize| whole[place * 64 + frequency] & 0xffff;
    let mut basis = Box::new(Basis { low: [[0; 64]; 32], pairs: [[0; 64]; 16] });
    for frequency in 0..64 {
        for place in 0..32 {
            basis.low[frequency / 2][frequency % 2 * 32 + place] = at(frequency, place);
        }
    }
    for pair in 0..32 {
        let first = if pair < 16 { 4 * pair } else { 4 * (pair - 16) + 1 };
        for place in 0..32 {
            basis.pairs[pair / 2][pair % 2 * 32 + place] = at(first, place) | at(first + 2, place) << 16;
        }
    }
    basis
});

static NOTHING: [i32; 64] = [0; 64];

/// Room for one chunk's inverse.
pub(crate) struct Room {
    /// For each row of frequencies, the sums over its coefficients: the even half of the places, then the odd half. All
    /// zero between chunks.
    halves: [[i32; 64]; 64],
    /// Two rows in one, rounded: the first 32 places, then the mirrored ones.
    pairs: [[i32; 64]; 32],
    /// The basis rows of those pairs.
    basis: [[i32; 64]; 16],
}

impl Room {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self { halves: [[0; 64]; 64], pairs: [[0; 64]; 32], basis: [[0; 64]; 16] })
    }
}

/// Where the rows of an inverse go.
pub(crate) trait Emit {
    /// Gets each row of the chunk, the shift between the passes, and the row's even and odd parts: their sums are the
    /// places from the left, their differences those from the right, in units of `2^shift / FACTOR^2` of the coefficients'.
    fn row<S: Simd>(&mut self, s: S, row: usize, shift: u32, even: &[S::I; 8], odd: &[S::I; 8]);
}

/// The sums and differences of half a row from the place `at` on, shifted down.
#[inline(always)]
fn rounded<S: Simd>(s: S, row: &[i32; 64], at: usize, half: S::I, shift: u32) -> (S::I, S::I) {
    let (even, odd) = (s.load_whole(row, at), s.load_whole(row, 32 + at));
    let (sum, difference) = (s.add_whole(even, odd), s.sub_whole(even, odd));
    (s.shift_right(s.add_whole(sum, half), shift), s.shift_right(s.add_whole(difference, half), shift))
}

/// Adds what one pair of rows does to some rows of the chunk, half of their places.
#[inline(always)]
fn add_pair<S: Simd>(s: S, sums: &mut [[S::I; 8]; 4], numbers: &[i32], basis: &[i32; 64], half: usize) {
    for (i, x) in numbers.iter().enumerate() {
        let x = s.splat_whole(*x);
        for j in 0..32 / S::LANES {
            sums[i][j] = s.dot(sums[i][j], x, s.load_whole(basis, half + j * S::LANES));
        }
    }
}

/// The inverse of a chunk of 64 x 64.
#[inline(always)]
pub(crate) fn inverse<S: Simd>(
    s: S,
    (positions, coefficients): Coefficients<'_>,
    room: &mut Room,
    emit: &mut impl Emit,
) {
    let basis: &Basis = &BASIS;
    let vectors = 32 / S::LANES;
    // Columns first: each coefficient adds its frequency along the column, half of the places, to its row.
    let mut touched = 0u64;
    for (&position, &c) in positions.iter().zip(coefficients) {
        let (v, u) = (usize::from(position >> 6) & 63, usize::from(position & 63));
        touched |= 1 << v;
        let c = s.splat_whole(c & 0xffff);
        let (row, from) = (&mut room.halves[v], &basis.low[u / 2]);
        let half = u % 2 * 32;
        for j in 0..vectors {
            let at = half + j * S::LANES;
            s.store_whole(s.dot(s.load_whole(row, at), c, s.load_whole(from, at)), row, at);
        }
    }
    let mut most = s.splat_whole(0);
    for v in rows_of(touched) {
        let row = &room.halves[v];
        for j in 0..vectors {
            let (even, odd) = (s.load_whole(row, j * S::LANES), s.load_whole(row, 32 + j * S::LANES));
            most = s.max_whole(most, s.add_whole(s.abs_whole(even), s.abs_whole(odd)));
        }
    }
    let shift = shift_of(s.largest(most));
    let half = s.splat_whole((1 << shift) >> 1);
    // Rows of one parity are paired; one that is left over goes with nothing.
    let all = touched == u64::MAX;
    let mut counts = [0; 2];
    for (parity, count) in counts.iter_mut().enumerate() {
        let mut rows = rows_of(touched & (0x5555_5555_5555_5555 << parity));
        while let Some(first) = rows.next() {
            let second = rows.next();
            let pair = parity * 16 + *count;
            *count += 1;
            let b = second.map_or(&NOTHING, |v| &room.halves[v]);
            let (a, out) = (&room.halves[first], &mut room.pairs[pair]);
            for j in 0..vectors {
                let at = j * S::LANES;
                let (a_left, a_right) = rounded(s, a, at, half, shift);
                let (b_left, b_right) = rounded(s, b, at, half, shift);
                s.store_whole(s.pack(a_left, b_left), out, at);
                s.store_whole(s.pack(a_right, b_right), out, 32 + at);
            }
            room.halves[first] = NOTHING;
            if let Some(second) = second {
                room.halves[second] = NOTHING;
            }
            if !all {
                let to = &mut room.basis[pair / 2];
                for j in 0..vectors {
                    let at = |v: usize| v % 2 * 32 + j * S::LANES;
                    let low = s.load_whole(&basis.low[first / 2], at(first));
                    let high = match second {
                        Some(v) => s.load_whole(&basis.low[v / 2], at(v)),
                        None => s.splat_whole(0),
                    };
                    s.store_whole(s.pack(low, high), to, at(pair));
                }
            }
        }
    }
    let basis = if all { &basis.pairs } else { &room.basis };
    // Rows: some of them at a time, as many as there are registers for.
    let at_once = S::LANES / 4;
    for start in (0..64).step_by(at_once) {
        let zero = [s.splat_whole(0); 8];
        let (mut even, mut odd) = ([zero; 4], [zero; 4]);
        for pair in 0..counts[0] {
            let numbers = &room.pairs[pair][start..start + at_once];
            add_pair(s, &mut even, numbers, &basis[pair / 2], pair % 2 * 32);
        }
        for pair in 16..16 + counts[1] {
            let numbers = &room.pairs[pair][start..start + at_once];
            add_pair(s, &mut odd, numbers, &basis[pair / 2], pair % 2 * 32);
        }
        for i in 0..at_once {
            let place = start + i;
            emit.row(s, if place < 32 { place } else { 95 - place }, shift, &even[i], &odd[i]);
        }
    }
}

/// How far the first pass's sums, the largest of them `most`, are shifted to be at most 8191 after rounding.
fn shift_of(most: u32) -> u32 {
    let shift = (u32::BITS - most.leading_zeros()).saturating_sub(COEFFICIENT_BITS);
    let rounded = (u64::from(most) + ((1 << shift) >> 1)) >> shift;
    shift + u32::from(rounded > LARGEST_COEFFICIENT as u64)
}

/// The numbers of the bits that are set.
#[inline(always)]
fn rows_of(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let row = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(row)
    })
}

/// What [`inverse_plain`] multiplies by: the basis of each pass in 14 bits.
pub(crate) const PLAIN_FACTOR: f64 = (1u64 << (2 * BASIS_BITS)) as f64;

/// The inverse of a chunk of any sides, exact: row after row, `rows x cols` numbers in units of `1 / PLAIN_FACTOR` of the
/// coefficients'. By Cauchy and Schwarz no sum reaches `2^48`.
pub(crate) fn inverse_plain(
    (positions, coefficients): Coefficients<'_>,
    (rows, cols): (usize, usize),
    out: &mut [i64],
) {
    static BASES: LazyLock<Vec<Vec<i32>>> =
        LazyLock::new(|| (0..=64).map(|n| whole_basis(n, f64::from(1 << BASIS_BITS))).collect());
    let (down, along) = (&BASES[rows], &BASES[cols]);
    let mut between = vec![0i64; rows * cols];
    for (&position, &c) in positions.iter().zip(coefficients) {
        let (v, u) = (usize::from(position) / rows, usize::from(position) % rows);
        for y in 0..rows {
            between[y * cols + v] += i64::from(c) * i64::from(down[y * rows + u]);
        }
    }
    for (row, out) in between.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        for (x, out) in out.iter_mut().enumerate() {
            let factors = &along[x * cols..(x + 1) * cols];
            *out = row.iter().zip(factors).map(|(t, factor)| t * i64::from(*factor)).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cosines::basis,
        simd::{Path, Work},
    };

    struct One<'a>(Coefficients<'a>);

    struct Both(Vec<i8>, Vec<f32>);

    impl Emit for Both {
        fn row<S: Simd>(&mut self, s: S, row: usize, shift: u32, even: &[S::I; 8], odd: &[S::I; 8]) {
            let scale = (f64::from(1u32 << shift) / (FACTOR * FACTOR)) as f32;
            s.row_of_signs(even, odd, self.0[row * 64..].first_chunk_mut().unwrap());
            s.row_of_floats(even, odd, scale, self.1[row * 64..].first_chunk_mut().unwrap());
        }
    }

    impl Work for One<'_> {
        type Out = (Vec<i8>, Vec<f32>);
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Out {
            let mut room = Room::new();
            let mut both = Both(vec![0; 4096], vec![0.0; 4096]);
            for _ in 0..2 {
                // Twice: the room is left as it was found.
                inverse(s, self.0, &mut room, &mut both);
            }
            (both.0, both.1)
        }
    }

    #[test]
    fn the_bound_of_every_sum_holds() {
        let whole = whole_basis(64, FACTOR);
        for i in 0..64 {
            let column: i64 = (0..64).map(|n| i64::from(whole[n * 64 + i]).pow(2)).sum();
            let row: i64 = (0..64).map(|n| i64::from(whole[i * 64 + n]).pow(2)).sum();
            for squares in [column, row] {
                assert!((squares as f64).sqrt() * 8191.0 * 8.0 + 262_144.0 < 2_147_483_647.0);
            }
            for n in 0..32 {
                let mirrored = whole[(63 - n) * 64 + i] * if i % 2 == 0 { 1 } else { -1 };
                assert_eq!(whole[n * 64 + i], mirrored);
            }
        }
    }

    #[test]
    fn few_or_all_coefficients_give_the_float64_inverse_on_every_path() {
        let basis = basis(64);
        let mut x = 5u64;
        let mut draw = move |below: u64| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % below
        };
        let mut lists: Vec<Vec<(u16, i32)>> = vec![
            vec![],
            vec![(0, 8191)],
            vec![(4095, -8191)],
            (0..4096).map(|p| (p, 8191)).collect(),
            (0..4096).map(|p| (p, if p % 3 == 0 { -8191 } else { 8191 })).collect(),
            // All in one row, and all in one column.
            (0..64).map(|p| (p, 8191)).collect(),
            (0..64).map(|p| (p * 64 + 5, -8191)).collect(),
        ];
        for count in [1, 2, 31, 32, 240, 480, 2000] {
            let mut places: Vec<u16> = (0..4096).collect();
            (0..count).for_each(|i| places.swap(i, i + draw(4096 - i as u64) as usize));
            lists.push(places[..count].iter().map(|p| (*p, draw(16_383) as i32 - 8191)).collect());
        }
        for list in &lists {
            let mut between = vec![0f64; 4096];
            for &(p, c) in list {
                for y in 0..64 {
                    between[y * 64 + usize::from(p >> 6)] +=
                        f64::from(c) * basis[y * 64 + usize::from(p & 63)];
                }
            }
            let exact: Vec<f64> = (0..4096)
                .map(|i| (0..64).map(|v| between[i / 64 * 64 + v] * basis[i % 64 * 64 + v]).sum())
                .collect();
            let largest = exact.iter().fold(0f64, |a, v| a.max(v.abs())).max(1.0);
            let (positions, coefficients): (Vec<u16>, Vec<i32>) = list.iter().copied().unzip();
            let list = (&positions[..], &coefficients[..]);
            let mut first = None;
            for path in Path::all() {
                let (signs, floats) = path.run(One(list));
                let mut wrong = 0;
                for ((sign, float), exact) in signs.iter().zip(&floats).zip(&exact) {
                    // Each of 64 rounded sums is off by half a step of 2^-13 of the largest, times the basis.
                    assert!(
                        (f64::from(*float) - exact).abs() < largest * 2e-3 + 0.01,
                        "{float} {exact} {largest}"
                    );
                    assert_eq!(i32::from(*sign), (float.partial_cmp(&0.0).map_or(0, |o| o as i32)));
                    wrong += u32::from(f64::from(*sign) != exact.signum() && exact.abs() > largest * 1e-3);
                }
                assert_eq!(wrong, 0, "{}", positions.len());
                let bits: Vec<u32> = floats.iter().map(|x| x.to_bits()).collect();
                assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{}", path.name());
            }
            // The exact one for any sides agrees with the definition too.
            let mut plain = vec![0; 4096];
            inverse_plain(list, (64, 64), &mut plain);
            for (found, exact) in plain.iter().zip(&exact) {
                assert!((*found as f64 / PLAIN_FACTOR - exact).abs() < largest * 1e-3 + 0.5);
            }
        }
    }
}

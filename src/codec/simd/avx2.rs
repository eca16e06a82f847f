//! AVX2: eight numbers at a time.
#![allow(unsafe_code, reason = "instructions that the processor was found to have; see the notes")]

use super::{SLACK, Simd, TILE, Tile, Work};
use std::arch::x86_64::*;

/// Exists only on a processor with AVX2, BMI1, BMI2, LZCNT and POPCNT: every `unsafe` block of this file rests on that,
/// and reads or writes only inside of a slice whose length it has just asserted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Self(()))
    }
}

type F = __m256;
type I = __m256i;

/// Four rows, transposed inside of each part of 128 bits.
#[inline(always)]
fn quad(r: &[F; 16], a: usize) -> [F; 4] {
    unsafe {
        let (t0, t1) = (_mm256_unpacklo_ps(r[a], r[a + 1]), _mm256_unpackhi_ps(r[a], r[a + 1]));
        let (t2, t3) = (_mm256_unpacklo_ps(r[a + 2], r[a + 3]), _mm256_unpackhi_ps(r[a + 2], r[a + 3]));
        let (t0, t1) = (_mm256_castps_pd(t0), _mm256_castps_pd(t1));
        let (t2, t3) = (_mm256_castps_pd(t2), _mm256_castps_pd(t3));
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(t0, t2)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(t0, t2)),
            _mm256_castpd_ps(_mm256_unpacklo_pd(t1, t3)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(t1, t3)),
        ]
    }
}

/// The signs of 32 numbers. Narrowing saturates, which keeps the sign; it works half by half, so the order is mended after
/// it.
#[inline(always)]
fn signs(v: [I; 4]) -> I {
    unsafe {
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
        let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_sign_epi8(_mm256_set1_epi8(1), bytes)
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F = F;
    type I = I;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Out {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn inner<W: Work>(simd: Avx2, work: W) -> W::Out {
            work.run(simd)
        }
        unsafe { inner(self, work) }
    }
    #[inline(always)]
    fn load(self, from: &[f32; 64], at: usize) -> F {
        assert!(at <= 64 - 8);
        unsafe { _mm256_loadu_ps(from.as_ptr().add(at)) }
    }
    #[inline(always)]
    fn store(self, value: F, to: &mut [f32; 64], at: usize) {
        assert!(at <= 64 - 8);
        unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(at), value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn transpose(self, r: [F; 16]) -> [F; 16] {
        unsafe {
            // Pairs of rows, then of pairs, inside of each half; then the halves change places.
            let (upper, lower) = (quad(&r, 0), quad(&r, 4));
            let mut out = [_mm256_setzero_ps(); 16];
            for j in 0..4 {
                out[j] = _mm256_permute2f128_ps::<0x20>(upper[j], lower[j]);
                out[j + 4] = _mm256_permute2f128_ps::<0x31>(upper[j], lower[j]);
            }
            out
        }
    }
    #[inline(always)]
    fn max_magnitude(self, value: F, most: I) -> I {
        unsafe {
            _mm256_max_epu32(
                most,
                _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(0x7fff_ffff)),
            )
        }
    }
    #[inline(always)]
    fn load_whole(self, from: &[i32; 64], at: usize) -> I {
        assert!(at <= 64 - 8);
        unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) }
    }
    #[inline(always)]
    fn store_whole(self, value: I, to: &mut [i32; 64], at: usize) {
        assert!(at <= 64 - 8);
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), value) }
    }
    #[inline(always)]
    fn splat_whole(self, value: i32) -> I {
        unsafe { _mm256_set1_epi32(value) }
    }
    #[inline(always)]
    fn add_whole(self, a: I, b: I) -> I {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_whole(self, a: I, b: I) -> I {
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn dot(self, sum: I, a: I, b: I) -> I {
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    fn abs_whole(self, a: I) -> I {
        unsafe { _mm256_abs_epi32(a) }
    }
    #[inline(always)]
    fn max_whole(self, a: I, b: I) -> I {
        unsafe { _mm256_max_epu32(a, b) }
    }
    #[inline(always)]
    fn largest(self, a: I) -> u32 {
        let mut numbers = [0u32; 8];
        unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), a) };
        numbers.iter().fold(0, |most, x| most.max(*x))
    }
    #[inline(always)]
    fn shift_right(self, a: I, bits: u32) -> I {
        unsafe { _mm256_sra_epi32(a, _mm_cvtsi32_si128(bits as i32)) }
    }
    #[inline(always)]
    fn pack(self, low: I, high: I) -> I {
        unsafe { _mm256_blend_epi16::<0xaa>(low, _mm256_slli_epi32::<16>(high)) }
    }
    #[inline(always)]
    fn row_of_signs(self, even: &[I; 8], odd: &[I; 8], out: &mut [i8; 64]) {
        unsafe {
            let forward = signs([
                _mm256_add_epi32(even[0], odd[0]),
                _mm256_add_epi32(even[1], odd[1]),
                _mm256_add_epi32(even[2], odd[2]),
                _mm256_add_epi32(even[3], odd[3]),
            ]);
            let backward = signs([
                _mm256_sub_epi32(even[0], odd[0]),
                _mm256_sub_epi32(even[1], odd[1]),
                _mm256_sub_epi32(even[2], odd[2]),
                _mm256_sub_epi32(even[3], odd[3]),
            ]);
            let order = _mm256_setr_epi8(
                15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,
                4, 3, 2, 1, 0,
            );
            let backward = _mm256_permute4x64_epi64::<0x4e>(_mm256_shuffle_epi8(backward, order));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), forward);
            _mm256_storeu_si256(out.as_mut_ptr().add(32).cast(), backward);
        }
    }
    #[inline(always)]
    fn row_of_floats(self, even: &[I; 8], odd: &[I; 8], scale: f32, out: &mut [f32; 64]) {
        unsafe {
            let scale = _mm256_set1_ps(scale);
            let order = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
            for j in 0..4 {
                let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(even[j], odd[j]));
                let differences = _mm256_cvtepi32_ps(_mm256_sub_epi32(even[j], odd[j]));
                let backward = _mm256_permutevar8x32_ps(_mm256_mul_ps(differences, scale), order);
                self.store(_mm256_mul_ps(sums, scale), out, 8 * j);
                self.store(backward, out, 56 - 8 * j);
            }
        }
    }
    #[inline(always)]
    fn count_at_least(self, keys: &[u32], bound: u32) -> usize {
        let Some(below) = bound.checked_sub(1) else { return keys.len() };
        unsafe {
            // Keys are below 2^31: a signed comparison is right.
            let below = _mm256_set1_epi32(below as i32);
            let mut found = 0;
            for eight in keys.as_chunks::<8>().0 {
                let more = _mm256_cmpgt_epi32(_mm256_loadu_si256(eight.as_ptr().cast()), below);
                found += (_mm256_movemask_ps(_mm256_castsi256_ps(more)) as u32).count_ones();
            }
            found as usize
        }
    }
    #[inline(always)]
    fn collect_at_least(self, tile: &Tile, bound: u32, out: &mut [u16; TILE + SLACK]) -> usize {
        let mut found = 0usize;
        for (row, values) in tile.iter().enumerate() {
            let mut mask = 0u64;
            if let Some(below) = bound.checked_sub(1) {
                unsafe {
                    let (below, all) = (_mm256_set1_epi32(below as i32), _mm256_set1_epi32(0x7fff_ffff));
                    for j in 0..8 {
                        let bits = _mm256_and_si256(_mm256_castps_si256(self.load(values, 8 * j)), all);
                        let more = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(bits, below)));
                        mask |= u64::from(more as u8) << (8 * j);
                    }
                }
            } else {
                mask = u64::MAX;
            }
            let count = mask.count_ones() as usize;
            // Few rows have more than four: those are written without asking, and only more takes a loop.
            for place in &mut out[found..found + 4] {
                *place = (row * 64) as u16 | (mask.trailing_zeros() & 63) as u16;
                mask &= mask.wrapping_sub(1);
            }
            let mut at = found + 4;
            while mask != 0 {
                out[at] = (row * 64) as u16 | mask.trailing_zeros() as u16;
                mask &= mask - 1;
                at += 1;
            }
            found += count;
        }
        found
    }
    #[inline(always)]
    fn prefetch(self, from: &[f32]) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().cast()) }
    }
}

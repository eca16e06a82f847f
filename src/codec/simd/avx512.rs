//! AVX-512 with VNNI, VBMI and VBMI2: sixteen numbers at a time.
#![allow(unsafe_code, reason = "instructions that the processor was found to have; see the notes")]

use super::{SLACK, Simd, TILE, Tile, Work};
use std::arch::x86_64::*;

/// Exists only on a processor with the instruction sets of [`Avx512::detect`]: every `unsafe` block of this file rests on
/// that, and reads or writes only inside of a slice whose length it has just asserted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Self(()))
    }
}

type F = __m512;
type I = __m512i;

/// Where the bytes of a row's signs are after narrowing: each quarter of the register has four of the first sums, four
/// of the second, then the same of the differences, which are wanted backwards.
static ROW: [u8; 64] = {
    let mut row = [0; 64];
    let mut m = 0;
    while m < 32 {
        let place = (m % 16 / 4) * 16 + m / 16 * 4 + m % 4;
        row[m] = place as u8;
        row[63 - m] = (place + 8) as u8;
        m += 1;
    }
    row
};

static COUNTING: [u16; 32] = {
    let mut numbers = [0; 32];
    let mut i = 0;
    while i < 32 {
        numbers[i] = i as u16;
        i += 1;
    }
    numbers
};

/// Four rows, transposed inside of each part of 128 bits.
#[inline(always)]
fn quad(r: &[F; 16], a: usize) -> [F; 4] {
    unsafe {
        let (t0, t1) = (_mm512_unpacklo_ps(r[a], r[a + 1]), _mm512_unpackhi_ps(r[a], r[a + 1]));
        let (t2, t3) = (_mm512_unpacklo_ps(r[a + 2], r[a + 3]), _mm512_unpackhi_ps(r[a + 2], r[a + 3]));
        let (t0, t1) = (_mm512_castps_pd(t0), _mm512_castps_pd(t1));
        let (t2, t3) = (_mm512_castps_pd(t2), _mm512_castps_pd(t3));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(t0, t2)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(t0, t2)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(t1, t3)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(t1, t3)),
        ]
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F = F;
    type I = I;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Out {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
        )]
        fn inner<W: Work>(simd: Avx512, work: W) -> W::Out {
            work.run(simd)
        }
        unsafe { inner(self, work) }
    }
    #[inline(always)]
    fn load(self, from: &[f32; 64], at: usize) -> F {
        assert!(at <= 64 - 16);
        unsafe { _mm512_loadu_ps(from.as_ptr().add(at)) }
    }
    #[inline(always)]
    fn store(self, value: F, to: &mut [f32; 64], at: usize) {
        assert!(at <= 64 - 16);
        unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(at), value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn transpose(self, r: [F; 16]) -> [F; 16] {
        unsafe {
            // Pairs of rows, then of pairs, inside of each quarter; then the quarters change places.
            let (q0, q1, q2, q3) = (quad(&r, 0), quad(&r, 4), quad(&r, 8), quad(&r, 12));
            let mut out = [_mm512_setzero_ps(); 16];
            for j in 0..4 {
                let a = _mm512_shuffle_f32x4::<0x88>(q0[j], q1[j]);
                let b = _mm512_shuffle_f32x4::<0xdd>(q0[j], q1[j]);
                let c = _mm512_shuffle_f32x4::<0x88>(q2[j], q3[j]);
                let d = _mm512_shuffle_f32x4::<0xdd>(q2[j], q3[j]);
                out[j] = _mm512_shuffle_f32x4::<0x88>(a, c);
                out[j + 4] = _mm512_shuffle_f32x4::<0x88>(b, d);
                out[j + 8] = _mm512_shuffle_f32x4::<0xdd>(a, c);
                out[j + 12] = _mm512_shuffle_f32x4::<0xdd>(b, d);
            }
            out
        }
    }
    #[inline(always)]
    fn max_magnitude(self, value: F, most: I) -> I {
        unsafe {
            _mm512_max_epu32(
                most,
                _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(0x7fff_ffff)),
            )
        }
    }
    #[inline(always)]
    fn load_whole(self, from: &[i32; 64], at: usize) -> I {
        assert!(at <= 64 - 16);
        unsafe { _mm512_loadu_si512(from.as_ptr().add(at).cast()) }
    }
    #[inline(always)]
    fn store_whole(self, value: I, to: &mut [i32; 64], at: usize) {
        assert!(at <= 64 - 16);
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(at).cast(), value) }
    }
    #[inline(always)]
    fn splat_whole(self, value: i32) -> I {
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    fn add_whole(self, a: I, b: I) -> I {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_whole(self, a: I, b: I) -> I {
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn dot(self, sum: I, a: I, b: I) -> I {
        unsafe { _mm512_dpwssd_epi32(sum, a, b) }
    }
    #[inline(always)]
    fn abs_whole(self, a: I) -> I {
        unsafe { _mm512_abs_epi32(a) }
    }
    #[inline(always)]
    fn max_whole(self, a: I, b: I) -> I {
        unsafe { _mm512_max_epu32(a, b) }
    }
    #[inline(always)]
    fn largest(self, a: I) -> u32 {
        unsafe { _mm512_reduce_max_epu32(a) }
    }
    #[inline(always)]
    fn shift_right(self, a: I, bits: u32) -> I {
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(bits as i32)) }
    }
    #[inline(always)]
    fn pack(self, low: I, high: I) -> I {
        unsafe { _mm512_mask_blend_epi16(0xaaaa_aaaa, low, _mm512_slli_epi32::<16>(high)) }
    }
    #[inline(always)]
    fn row_of_signs(self, even: &[I; 8], odd: &[I; 8], out: &mut [i8; 64]) {
        unsafe {
            // Narrowing saturates, which keeps the sign.
            let sums =
                _mm512_packs_epi32(_mm512_add_epi32(even[0], odd[0]), _mm512_add_epi32(even[1], odd[1]));
            let differences =
                _mm512_packs_epi32(_mm512_sub_epi32(even[0], odd[0]), _mm512_sub_epi32(even[1], odd[1]));
            let bytes = _mm512_packs_epi16(sums, differences);
            let signs = _mm512_max_epi8(_mm512_min_epi8(bytes, _mm512_set1_epi8(1)), _mm512_set1_epi8(-1));
            let row = _mm512_permutexvar_epi8(_mm512_loadu_si512(ROW.as_ptr().cast()), signs);
            _mm512_storeu_si512(out.as_mut_ptr().cast(), row);
        }
    }
    #[inline(always)]
    fn row_of_floats(self, even: &[I; 8], odd: &[I; 8], scale: f32, out: &mut [f32; 64]) {
        unsafe {
            let scale = _mm512_set1_ps(scale);
            let order = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            for j in 0..2 {
                let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(even[j], odd[j]));
                let differences = _mm512_cvtepi32_ps(_mm512_sub_epi32(even[j], odd[j]));
                let backward = _mm512_permutexvar_ps(order, _mm512_mul_ps(differences, scale));
                self.store(_mm512_mul_ps(sums, scale), out, 16 * j);
                self.store(backward, out, 48 - 16 * j);
            }
        }
    }
    #[inline(always)]
    fn count_at_least(self, keys: &[u32], bound: u32) -> usize {
        unsafe {
            let bound = _mm512_set1_epi32(bound as i32);
            let mut found = 0;
            for sixteen in keys.as_chunks::<16>().0 {
                found +=
                    _mm512_cmpge_epu32_mask(_mm512_loadu_si512(sixteen.as_ptr().cast()), bound).count_ones();
            }
            found as usize
        }
    }
    #[inline(always)]
    fn collect_at_least(self, tile: &Tile, bound: u32, out: &mut [u16; TILE + SLACK]) -> usize {
        unsafe {
            let (bound, all) = (_mm512_set1_epi32(bound as i32), _mm512_set1_epi32(0x7fff_ffff));
            let mut places = _mm512_loadu_si512(COUNTING.as_ptr().cast());
            let mut found = 0usize;
            for row in tile {
                for half in [0, 32] {
                    let a = _mm512_and_si512(_mm512_castps_si512(self.load(row, half)), all);
                    let b = _mm512_and_si512(_mm512_castps_si512(self.load(row, half + 16)), all);
                    let (a, b) = (_mm512_cmpge_epu32_mask(a, bound), _mm512_cmpge_epu32_mask(b, bound));
                    let mask = _mm512_kunpackw(u32::from(b), u32::from(a));
                    // Packed in a register, then stored whole: the instruction that does both is slow on some.
                    let room = &mut out[found..found + 32];
                    _mm512_storeu_si512(room.as_mut_ptr().cast(), _mm512_maskz_compress_epi16(mask, places));
                    found += mask.count_ones() as usize;
                    places = _mm512_add_epi16(places, _mm512_set1_epi16(32));
                }
            }
            found
        }
    }
    #[inline(always)]
    fn prefetch(self, from: &[f32]) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().cast()) }
    }
}

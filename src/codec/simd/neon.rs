//! NEON: four numbers at a time.
#![allow(unsafe_code, reason = "instructions that the processor was found to have; see the notes")]

use super::{SLACK, Simd, TILE, Tile, Work};
use std::arch::aarch64::*;

/// Exists only on a processor with NEON: every `unsafe` block of this file rests on that, and reads or writes only inside
/// of a slice whose length it has just asserted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

type F = float32x4_t;
type I = int32x4_t;

#[inline(always)]
fn unsigned(a: I) -> uint32x4_t {
    unsafe { vreinterpretq_u32_s32(a) }
}

#[inline(always)]
fn signed(a: uint32x4_t) -> I {
    unsafe { vreinterpretq_s32_u32(a) }
}

/// The four numbers in the other order.
#[inline(always)]
fn backwards(a: I) -> I {
    unsafe {
        let pairs = vrev64q_s32(a);
        vextq_s32::<2>(pairs, pairs)
    }
}

/// The signs of 16 numbers: narrowing saturates, which keeps the sign.
#[inline(always)]
fn signs(v: [I; 4]) -> int8x16_t {
    unsafe {
        let low = vcombine_s16(vqmovn_s32(v[0]), vqmovn_s32(v[1]));
        let high = vcombine_s16(vqmovn_s32(v[2]), vqmovn_s32(v[3]));
        let bytes = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
        vmaxq_s8(vminq_s8(bytes, vdupq_n_s8(1)), vdupq_n_s8(-1))
    }
}

impl Simd for Neon {
    const LANES: usize = 4;
    type F = F;
    type I = I;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Out {
        #[target_feature(enable = "neon")]
        fn inner<W: Work>(simd: Neon, work: W) -> W::Out {
            work.run(simd)
        }
        unsafe { inner(self, work) }
    }
    #[inline(always)]
    fn load(self, from: &[f32; 64], at: usize) -> F {
        assert!(at <= 64 - 4);
        unsafe { vld1q_f32(from.as_ptr().add(at)) }
    }
    #[inline(always)]
    fn store(self, value: F, to: &mut [f32; 64], at: usize) {
        assert!(at <= 64 - 4);
        unsafe { vst1q_f32(to.as_mut_ptr().add(at), value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F {
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn transpose(self, r: [F; 16]) -> [F; 16] {
        unsafe {
            let (a, b) = (vtrnq_f32(r[0], r[1]), vtrnq_f32(r[2], r[3]));
            let mut out = [vdupq_n_f32(0.0); 16];
            out[0] = vcombine_f32(vget_low_f32(a.0), vget_low_f32(b.0));
            out[1] = vcombine_f32(vget_low_f32(a.1), vget_low_f32(b.1));
            out[2] = vcombine_f32(vget_high_f32(a.0), vget_high_f32(b.0));
            out[3] = vcombine_f32(vget_high_f32(a.1), vget_high_f32(b.1));
            out
        }
    }
    #[inline(always)]
    fn max_magnitude(self, value: F, most: I) -> I {
        unsafe {
            signed(vmaxq_u32(
                unsigned(most),
                vandq_u32(vreinterpretq_u32_f32(value), vdupq_n_u32(0x7fff_ffff)),
            ))
        }
    }
    #[inline(always)]
    fn load_whole(self, from: &[i32; 64], at: usize) -> I {
        assert!(at <= 64 - 4);
        unsafe { vld1q_s32(from.as_ptr().add(at)) }
    }
    #[inline(always)]
    fn store_whole(self, value: I, to: &mut [i32; 64], at: usize) {
        assert!(at <= 64 - 4);
        unsafe { vst1q_s32(to.as_mut_ptr().add(at), value) }
    }
    #[inline(always)]
    fn splat_whole(self, value: i32) -> I {
        unsafe { vdupq_n_s32(value) }
    }
    #[inline(always)]
    fn add_whole(self, a: I, b: I) -> I {
        unsafe { vaddq_s32(a, b) }
    }
    #[inline(always)]
    fn sub_whole(self, a: I, b: I) -> I {
        unsafe { vsubq_s32(a, b) }
    }
    #[inline(always)]
    fn dot(self, sum: I, a: I, b: I) -> I {
        unsafe {
            // The low halves side by side, then the high ones, each product added in 32 bits.
            let low = vmull_s16(vmovn_s32(a), vmovn_s32(b));
            let high = vmull_s16(vshrn_n_s32::<16>(a), vshrn_n_s32::<16>(b));
            vaddq_s32(sum, vaddq_s32(low, high))
        }
    }
    #[inline(always)]
    fn abs_whole(self, a: I) -> I {
        unsafe { vabsq_s32(a) }
    }
    #[inline(always)]
    fn max_whole(self, a: I, b: I) -> I {
        unsafe { signed(vmaxq_u32(unsigned(a), unsigned(b))) }
    }
    #[inline(always)]
    fn largest(self, a: I) -> u32 {
        unsafe { vmaxvq_u32(unsigned(a)) }
    }
    #[inline(always)]
    fn shift_right(self, a: I, bits: u32) -> I {
        unsafe { vshlq_s32(a, vdupq_n_s32(-(bits as i32))) }
    }
    #[inline(always)]
    fn pack(self, low: I, high: I) -> I {
        unsafe { vsliq_n_s32::<16>(low, high) }
    }
    #[inline(always)]
    fn row_of_signs(self, even: &[I; 8], odd: &[I; 8], out: &mut [i8; 64]) {
        unsafe {
            for i in 0..2 {
                let j = 4 * i;
                let forward = signs([
                    vaddq_s32(even[j], odd[j]),
                    vaddq_s32(even[j + 1], odd[j + 1]),
                    vaddq_s32(even[j + 2], odd[j + 2]),
                    vaddq_s32(even[j + 3], odd[j + 3]),
                ]);
                let backward = signs([
                    backwards(vsubq_s32(even[j + 3], odd[j + 3])),
                    backwards(vsubq_s32(even[j + 2], odd[j + 2])),
                    backwards(vsubq_s32(even[j + 1], odd[j + 1])),
                    backwards(vsubq_s32(even[j], odd[j])),
                ]);
                vst1q_s8(out.as_mut_ptr().add(16 * i), forward);
                vst1q_s8(out.as_mut_ptr().add(48 - 16 * i), backward);
            }
        }
    }
    #[inline(always)]
    fn row_of_floats(self, even: &[I; 8], odd: &[I; 8], scale: f32, out: &mut [f32; 64]) {
        unsafe {
            let scale = vdupq_n_f32(scale);
            for j in 0..8 {
                let sums = vcvtq_f32_s32(vaddq_s32(even[j], odd[j]));
                let differences = vcvtq_f32_s32(backwards(vsubq_s32(even[j], odd[j])));
                self.store(vmulq_f32(sums, scale), out, 4 * j);
                self.store(vmulq_f32(differences, scale), out, 60 - 4 * j);
            }
        }
    }
    #[inline(always)]
    fn count_at_least(self, keys: &[u32], bound: u32) -> usize {
        unsafe {
            let bound = vdupq_n_u32(bound);
            let mut found = vdupq_n_u32(0);
            for four in keys.as_chunks::<4>().0 {
                // A comparison that holds is all ones, which is -1.
                found = vsubq_u32(found, vcgeq_u32(vld1q_u32(four.as_ptr()), bound));
            }
            vaddvq_u32(found) as usize
        }
    }
    #[inline(always)]
    fn collect_at_least(self, tile: &Tile, bound: u32, out: &mut [u16; TILE + SLACK]) -> usize {
        let mut found = 0usize;
        for (row, values) in tile.iter().enumerate() {
            for at in (0..64).step_by(4) {
                let (least, any) = unsafe {
                    let bits =
                        vandq_u32(vreinterpretq_u32_f32(self.load(values, at)), vdupq_n_u32(0x7fff_ffff));
                    let least = vcgeq_u32(bits, vdupq_n_u32(bound));
                    (least, vmaxvq_u32(least))
                };
                if any == 0 {
                    continue;
                }
                let mut lanes = [0u32; 4];
                unsafe { vst1q_u32(lanes.as_mut_ptr(), least) };
                for (i, lane) in lanes.iter().enumerate() {
                    out[found] = (row * 64 + at + i) as u16;
                    found += usize::from(*lane != 0);
                }
            }
        }
        found
    }
    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}
}

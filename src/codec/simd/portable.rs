//! Plain Rust, four numbers at a time: what every processor runs. On its own it is also what the others are compared with.

use super::{SLACK, Simd, TILE, Tile, Work};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

type F = [f32; 4];
type I = [i32; 4];

#[inline(always)]
fn each<T: Copy, U: Copy, V: Copy + Default>(a: [T; 4], b: [U; 4], f: impl Fn(T, U) -> V) -> [V; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

#[inline(always)]
fn four<T: Copy>(from: &[T; 64], at: usize) -> [T; 4] {
    [from[at], from[at + 1], from[at + 2], from[at + 3]]
}

impl Simd for Portable {
    const LANES: usize = 4;
    type F = F;
    type I = I;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Out {
        work.run(self)
    }
    #[inline(always)]
    fn load(self, from: &[f32; 64], at: usize) -> F {
        four(from, at)
    }
    #[inline(always)]
    fn store(self, value: F, to: &mut [f32; 64], at: usize) {
        to[at..at + 4].copy_from_slice(&value);
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F {
        [value; 4]
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn transpose(self, rows: [F; 16]) -> [F; 16] {
        let mut out = [[0.0; 4]; 16];
        for (j, column) in out.iter_mut().take(4).enumerate() {
            *column = [rows[0][j], rows[1][j], rows[2][j], rows[3][j]];
        }
        out
    }
    #[inline(always)]
    fn max_magnitude(self, value: F, most: I) -> I {
        each(value, most, |v, m| (m as u32).max(v.to_bits() & 0x7fff_ffff) as i32)
    }
    #[inline(always)]
    fn load_whole(self, from: &[i32; 64], at: usize) -> I {
        four(from, at)
    }
    #[inline(always)]
    fn store_whole(self, value: I, to: &mut [i32; 64], at: usize) {
        to[at..at + 4].copy_from_slice(&value);
    }
    #[inline(always)]
    fn splat_whole(self, value: i32) -> I {
        [value; 4]
    }
    #[inline(always)]
    fn add_whole(self, a: I, b: I) -> I {
        each(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn sub_whole(self, a: I, b: I) -> I {
        each(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    fn dot(self, sum: I, a: I, b: I) -> I {
        let products = each(a, b, |a, b| {
            let low = i32::from(a as i16) * i32::from(b as i16);
            low.wrapping_add((a >> 16) * (b >> 16))
        });
        each(sum, products, i32::wrapping_add)
    }
    #[inline(always)]
    fn abs_whole(self, a: I) -> I {
        a.map(i32::wrapping_abs)
    }
    #[inline(always)]
    fn max_whole(self, a: I, b: I) -> I {
        each(a, b, |a, b| (a as u32).max(b as u32) as i32)
    }
    #[inline(always)]
    fn largest(self, a: I) -> u32 {
        a.iter().fold(0, |most, x| most.max(*x as u32))
    }
    #[inline(always)]
    fn shift_right(self, a: I, bits: u32) -> I {
        a.map(|x| x >> bits)
    }
    #[inline(always)]
    fn pack(self, low: I, high: I) -> I {
        each(low, high, |low, high| (low & 0xffff) | (high << 16))
    }
    #[inline(always)]
    fn row_of_signs(self, even: &[I; 8], odd: &[I; 8], out: &mut [i8; 64]) {
        for (j, (e, o)) in even.iter().zip(odd).enumerate() {
            let (sums, differences) = (self.add_whole(*e, *o), self.sub_whole(*e, *o));
            for i in 0..4 {
                out[4 * j + i] = sums[i].signum() as i8;
                out[63 - 4 * j - i] = differences[i].signum() as i8;
            }
        }
    }
    #[inline(always)]
    fn row_of_floats(self, even: &[I; 8], odd: &[I; 8], scale: f32, out: &mut [f32; 64]) {
        for (j, (e, o)) in even.iter().zip(odd).enumerate() {
            let (sums, differences) = (self.add_whole(*e, *o), self.sub_whole(*e, *o));
            for i in 0..4 {
                out[4 * j + i] = sums[i] as f32 * scale;
                out[63 - 4 * j - i] = differences[i] as f32 * scale;
            }
        }
    }
    #[inline(always)]
    fn count_at_least(self, keys: &[u32], bound: u32) -> usize {
        keys.iter().map(|key| u32::from(*key >= bound)).sum::<u32>() as usize
    }
    #[inline(always)]
    fn collect_at_least(self, tile: &Tile, bound: u32, out: &mut [u16; TILE + SLACK]) -> usize {
        let mut found = 0;
        for (place, value) in tile.as_flattened().iter().enumerate() {
            // Written always, kept only where it counts: no branch to guess wrong.
            out[found] = place as u16;
            found += usize::from(value.to_bits() & 0x7fff_ffff >= bound);
        }
        found
    }
    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}
}

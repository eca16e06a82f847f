//! Vectors: what the kernels ask of a processor, and the choice among what it has.
//!
//! A kernel is written once, over [`Simd`], and compiled for each instruction set. All of them give the same bytes: of
//! floats there are additions, subtractions and products only, each rounded by itself (never fused), in an order that
//! the kernel fixes; everything else is whole numbers.
//!
//! This folder is the only place of the codec that is `unsafe`. A value of an instruction set's type exists only where
//! the processor was found to have it ([`Path::detect`]), and that is what makes its instructions sound to use; memory is
//! read and written through references of known length.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use portable::Portable;

/// A chunk of 64 x 64.
pub(crate) type Tile = [[f32; 64]; 64];
/// Elements of a [`Tile`].
pub(crate) const TILE: usize = 4096;
/// Room that [`Simd::collect_at_least`] may write to behind its last entry.
pub(crate) const SLACK: usize = 64;

/// What a kernel asks of an instruction set.
///
/// `F` holds [`Simd::LANES`] float32 and `I` as many 32-bit whole numbers, which wrap. Loads and stores name a place in
/// a row of 64; a place from which a whole vector does not fit is a mistake of the kernel and ends the program.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Numbers in a vector: 4, 8 or 16.
    const LANES: usize;
    /// Float32.
    type F: Copy;
    /// Whole numbers of 32 bits.
    type I: Copy;

    /// Runs a kernel compiled for this instruction set.
    fn vectorize<W: Work>(self, work: W) -> W::Out;

    fn load(self, from: &[f32; 64], at: usize) -> Self::F;
    fn store(self, value: Self::F, to: &mut [f32; 64], at: usize);
    fn splat(self, value: f32) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// The transpose of the first `LANES` vectors.
    fn transpose(self, rows: [Self::F; 16]) -> [Self::F; 16];
    /// The larger of `most` and the bits of `|value|`, as unsigned numbers.
    fn max_magnitude(self, value: Self::F, most: Self::I) -> Self::I;

    fn load_whole(self, from: &[i32; 64], at: usize) -> Self::I;
    fn store_whole(self, value: Self::I, to: &mut [i32; 64], at: usize);
    fn splat_whole(self, value: i32) -> Self::I;
    fn add_whole(self, a: Self::I, b: Self::I) -> Self::I;
    fn sub_whole(self, a: Self::I, b: Self::I) -> Self::I;
    /// `sum + a.low * b.low + a.high * b.high` with the signed 16-bit halves of each number.
    fn dot(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// `|a|`; of `i32::MIN` its bits.
    fn abs_whole(self, a: Self::I) -> Self::I;
    /// The larger, as unsigned numbers.
    fn max_whole(self, a: Self::I, b: Self::I) -> Self::I;
    /// The largest number of a vector, unsigned.
    fn largest(self, a: Self::I) -> u32;
    /// Shifts right, copies of the sign coming in.
    fn shift_right(self, a: Self::I, bits: u32) -> Self::I;
    /// The low half of `low` and, above it, the low half of `high`.
    fn pack(self, low: Self::I, high: Self::I) -> Self::I;

    /// A row from its two symmetries, `32 / LANES` vectors each: the signs of `even + odd`, then, backwards, of
    /// `even - odd`.
    fn row_of_signs(self, even: &[Self::I; 8], odd: &[Self::I; 8], out: &mut [i8; 64]);
    /// The same in float32, each times `scale`.
    fn row_of_floats(self, even: &[Self::I; 8], odd: &[Self::I; 8], scale: f32, out: &mut [f32; 64]);

    /// How many of `keys` (below `2^31`, a multiple of 16 of them) are at least `bound`.
    fn count_at_least(self, keys: &[u32], bound: u32) -> usize;
    /// The places whose magnitude has bits of at least `bound`, in order, as `row * 64 + column`; returns how many.
    fn collect_at_least(self, tile: &Tile, bound: u32, out: &mut [u16; TILE + SLACK]) -> usize;

    /// Asks for the memory at the start of `from` ahead of its use.
    fn prefetch(self, from: &[f32]);
}

/// A kernel. `run` must be `#[inline(always)]`, or it is compiled without the instruction set.
pub(crate) trait Work {
    type Out;
    fn run<S: Simd>(self, simd: S) -> Self::Out;
}

/// Plain loops over numbers, for [`Path::compile`]. `run` must be `#[inline(always)]`, or it is compiled without the instruction set.
pub trait Loops {
    /// What comes out.
    type Out;
    /// The loops.
    fn run(self) -> Self::Out;
}

/// Loops as a kernel.
struct Plain<L>(L);

impl<L: Loops> Work for Plain<L> {
    type Out = L::Out;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> L::Out {
        self.0.run()
    }
}

/// Which instruction set runs the kernels; all of them give the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Path(Set);

#[derive(Debug, Clone, Copy)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    Portable(Portable),
}

impl Path {
    /// The widest that this processor has.
    pub fn detect() -> Self {
        Self::all().first().copied().unwrap_or(Self::portable())
    }

    /// All that this processor has, the widest first; the portable one is always among them.
    pub fn all() -> Vec<Self> {
        let sets = [
            #[cfg(target_arch = "x86_64")]
            avx512::Avx512::detect().map(Set::Avx512),
            #[cfg(target_arch = "x86_64")]
            avx2::Avx2::detect().map(Set::Avx2),
            #[cfg(target_arch = "aarch64")]
            neon::Neon::detect().map(Set::Neon),
            Some(Set::Portable(Portable)),
        ];
        sets.into_iter().flatten().map(Self).collect()
    }

    /// Plain Rust, four numbers at a time.
    pub fn portable() -> Self {
        Self(Set::Portable(Portable))
    }

    /// Its name: `avx512`, `avx2`, `neon` or `portable`.
    pub fn name(&self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "neon",
            Set::Portable(_) => "portable",
        }
    }

    /// Runs loops that the compiler has put into this instruction set's vectors by itself.
    pub fn compile<L: Loops>(self, loops: L) -> L::Out {
        self.run(Plain(loops))
    }

    pub(crate) fn run<W: Work>(self, work: W) -> W::Out {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(simd) => simd.vectorize(work),
            Set::Portable(simd) => simd.vectorize(work),
        }
    }
}

#[cfg(test)]
mod tests;

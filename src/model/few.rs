//! Products of a few vectors with weights, for texts that are written token after token: each weight is read from memory once,
//! and little else takes time. libtorch's products of one row reach a third of the memory's speed on the machine that was
//! measured (docs/benchmarks.md).

use super::memory::floats_in_place;
use rayon::prelude::*;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tch::{Device, Tensor};

/// More rows are left to libtorch, whose blocks pay then.
const MOST_ROWS: usize = 8;
/// Weights of one piece of work, at least: sharing out less takes longer than it saves.
const PIECE: usize = 1 << 15;

/// Products of `x`, `[rows, length, inputs]`, with the transpose of each of `weights`, `[outputs, inputs]`: `[rows, length, outputs]`.
pub(super) type Products = fn(&Tensor, &[&Tensor]) -> Vec<Tensor>;

/// Threads that share out the products of [`few`].
static WORKERS: AtomicUsize = AtomicUsize::new(1);

/// Does work whose products are those of [`few`]: all threads are for them, and libtorch's own wait asleep. (After each piece
/// of theirs they would spin, in the way of the others.)
pub(super) fn writing<T>(work: impl FnOnce() -> T) -> T {
    /// How many do such work now, and libtorch's threads before the first of them.
    static NOW: Mutex<(usize, i32)> = Mutex::new((0, 1));
    let now = || NOW.lock().unwrap_or_else(PoisonError::into_inner);
    {
        let mut now = now();
        if now.0 == 0 {
            now.1 = tch::get_num_threads();
            WORKERS.store(usize::try_from(now.1).unwrap_or(1), Ordering::Relaxed);
            tch::set_num_threads(1);
        }
        now.0 += 1;
    }
    let done = work();
    let mut now = now();
    now.0 -= 1;
    if now.0 == 0 {
        tch::set_num_threads(now.1);
    }
    done
}

/// libtorch's.
pub(super) fn libtorch(x: &Tensor, weights: &[&Tensor]) -> Vec<Tensor> {
    weights.iter().map(|weight| x.linear::<&Tensor>(weight, None)).collect()
}

/// Those of a few rows; what is larger, or not float32 on the CPU, is libtorch's. There is no gradient.
pub(super) fn few(x: &Tensor, weights: &[&Tensor]) -> Vec<Tensor> {
    let inputs = *x.size().last().unwrap_or(&1) as usize;
    let rows = x.numel() / inputs.max(1);
    let x_floats = floats_in_place(x);
    let in_place: Vec<&[f32]> = weights.iter().filter_map(|weight| floats_in_place(weight)).collect();
    let Some(x_floats) =
        x_floats.filter(|_| (1..=MOST_ROWS).contains(&rows) && in_place.len() == weights.len())
    else {
        return libtorch(x, weights);
    };
    let workers = WORKERS.load(Ordering::Relaxed).max(1);
    // For each weight, of each output the products of all rows.
    let mut found: Vec<Vec<f32>> =
        in_place.iter().map(|weight| vec![0.0; weight.len() / inputs * rows]).collect();
    let all: usize = in_place.iter().map(|weight| weight.len()).sum();
    let outputs = (all / workers).max(PIECE).div_ceil(inputs);
    let mut pieces: Vec<(&[f32], &mut [f32])> = Vec::new();
    for (weight, found) in in_place.iter().zip(&mut found) {
        pieces.extend(weight.chunks(outputs * inputs).zip(found.chunks_mut(outputs * rows)));
    }
    let work = |(weight, out): &mut (&[f32], &mut [f32])| dots(x_floats, weight, inputs, rows, out);
    if workers == 1 || pieces.len() == 1 {
        pieces.iter_mut().for_each(work);
    } else {
        pieces.par_iter_mut().with_max_len(1).for_each(work);
    }
    let mut shape = x.size();
    let shaped = |found: Vec<f32>| {
        let count = found.len() / rows;
        if let Some(last) = shape.last_mut() {
            *last = count as i64;
        }
        let by_output = Tensor::from_slice(&found).view([count as i64, rows as i64]);
        by_output.transpose(0, 1).contiguous().view(shape.as_slice())
    };
    found.into_iter().map(shaped).collect()
}

/// `out[output * rows + row]`: the product of a row of `x` with an output's weights.
fn dots(x: &[f32], weight: &[f32], inputs: usize, rows: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        return x86::dots_512(x, weight, inputs, rows, out);
    } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return x86::dots_256(x, weight, inputs, rows, out);
    }
    portable(x, weight, inputs, rows, out);
}

/// Without any special instruction: sixteen sums side by side.
fn portable(x: &[f32], weight: &[f32], inputs: usize, rows: usize, out: &mut [f32]) {
    for (weight, out) in weight.chunks_exact(inputs).zip(out.chunks_exact_mut(rows)) {
        for (x, out) in x.chunks_exact(inputs).zip(out) {
            let mut sums = [0.0f32; 16];
            let (blocks, rest) = (weight.chunks_exact(16), weight.chunks_exact(16).remainder());
            for (weight, x) in blocks.zip(x.chunks_exact(16)) {
                for ((sum, weight), x) in sums.iter_mut().zip(weight).zip(x) {
                    *sum += weight * x;
                }
            }
            let rest = rest.iter().zip(&x[inputs - rest.len()..]).map(|(w, x)| w * x).sum::<f32>();
            *out = sums.iter().sum::<f32>() + rest;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// One function for each number of rows: every sum is a variable of its own, so that it stays in a register whatever the
    /// compiler's level.
    macro_rules! rows {
        ($width:literal, $features:literal, $zero:ident, $load:ident, $fused:ident, $sum:ident;
         $($name:ident: $(($row:literal, $even:ident, $odd:ident))*;)*) => {$(
            #[allow(unsafe_code, reason = "numbers are loaded without a check of each place")]
            #[target_feature(enable = $features)]
            fn $name(x: &[f32], weight: &[f32], inputs: usize, out: &mut [f32]) {
                let rows = [$($row),*].len();
                assert!(inputs > 0 && x.len() == rows * inputs);
                let done = inputs / (2 * $width) * 2 * $width;
                for (weight, out) in weight.chunks_exact(inputs).zip(out.chunks_exact_mut(rows)) {
                    $(let (mut $even, mut $odd) = ($zero(), $zero());)*
                    let (from, x_from) = (weight.as_ptr(), x.as_ptr());
                    let mut at = 0;
                    while at < done {
                        // SAFETY: `at + 2 * width` is at most `done`, and that at most `inputs`, the length of `weight` and
                        // of each row of `x`.
                        unsafe {
                            let first = $load(from.add(at));
                            let second = $load(from.add(at + $width));
                            $(
                                $even = $fused(first, $load(x_from.add($row * inputs + at)), $even);
                                $odd = $fused(second, $load(x_from.add($row * inputs + at + $width)), $odd);
                            )*
                        }
                        at += 2 * $width;
                    }
                    $(
                        let mut sum = $sum($even) + $sum($odd);
                        for at in done..inputs {
                            sum += weight[at] * x[$row * inputs + at];
                        }
                        out[$row] = sum;
                    )*
                }
            }
        )*};
    }

    /// All of them for one width of registers, and their choice.
    macro_rules! dots {
        ($name:ident, $module:ident, $width:literal, $features:literal, $zero:ident, $load:ident, $fused:ident, $sum:ident) => {
            mod $module {
                use super::*;

                rows! {
                    $width, $features, $zero, $load, $fused, $sum;
                    one: (0, a, b);
                    two: (0, a, b) (1, c, d);
                    three: (0, a, b) (1, c, d) (2, e, f);
                    four: (0, a, b) (1, c, d) (2, e, f) (3, g, h);
                    five: (0, a, b) (1, c, d) (2, e, f) (3, g, h) (4, i, j);
                    six: (0, a, b) (1, c, d) (2, e, f) (3, g, h) (4, i, j) (5, k, l);
                    seven: (0, a, b) (1, c, d) (2, e, f) (3, g, h) (4, i, j) (5, k, l) (6, m, n);
                    eight: (0, a, b) (1, c, d) (2, e, f) (3, g, h) (4, i, j) (5, k, l) (6, m, n) (7, o, p);
                }

                /// See [`super::super::dots`]; called only where the processor has these instructions.
                #[allow(unsafe_code, reason = "instructions that the caller has found")]
                pub(in super::super) fn $name(
                    x: &[f32],
                    weight: &[f32],
                    inputs: usize,
                    rows: usize,
                    out: &mut [f32],
                ) {
                    // SAFETY: the caller has found the instructions.
                    unsafe {
                        match rows {
                            1 => one(x, weight, inputs, out),
                            2 => two(x, weight, inputs, out),
                            3 => three(x, weight, inputs, out),
                            4 => four(x, weight, inputs, out),
                            5 => five(x, weight, inputs, out),
                            6 => six(x, weight, inputs, out),
                            7 => seven(x, weight, inputs, out),
                            _ => eight(x, weight, inputs, out),
                        }
                    }
                }
            }
            pub(super) use $module::$name;
        };
    }

    dots!(
        dots_512,
        wide,
        16,
        "avx512f",
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_fmadd_ps,
        _mm512_reduce_add_ps
    );
    dots!(dots_256, narrow, 8, "avx2,fma", _mm256_setzero_ps, _mm256_loadu_ps, _mm256_fmadd_ps, sum_256);

    #[target_feature(enable = "avx2")]
    fn sum_256(numbers: __m256) -> f32 {
        let halves = _mm_add_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps::<1>(numbers));
        let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
        _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
    }
}

/// Whether products of a few rows are faster here than libtorch's.
pub(super) fn for_writing(device: Device) -> Products {
    if device == Device::Cpu { few } else { libtorch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn products_are_libtorchs() {
        for rows in 1..=9 {
            for inputs in [1, 7, 16, 33, 64, 100, 512] {
                let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
                let x = random(&[rows, 1, inputs]);
                let weights = [random(&[700, inputs]), random(&[3, inputs]), random(&[1, inputs])];
                let weights: Vec<&Tensor> = weights.iter().collect();
                for (ours, theirs) in few(&x, &weights).iter().zip(libtorch(&x, &weights)) {
                    assert_eq!(ours.size(), theirs.size());
                    let far = (ours - &theirs).abs().max().double_value(&[]);
                    assert!(far < 1e-4, "{rows} x {inputs}: {far}");
                }
                if rows <= 8 {
                    let (x, weight) = (floats_in_place(&x).unwrap(), floats_in_place(weights[0]).unwrap());
                    let (rows, inputs) = (rows as usize, inputs as usize);
                    let run = |work: &dyn Fn(&mut [f32])| {
                        let mut out = vec![0.0; 700 * rows];
                        work(&mut out);
                        out
                    };
                    let plain = run(&|out| portable(x, weight, inputs, rows, out));
                    let best = run(&|out| dots(x, weight, inputs, rows, out));
                    #[cfg(target_arch = "x86_64")]
                    if std::arch::is_x86_feature_detected!("fma") {
                        let other = run(&|out| x86::dots_256(x, weight, inputs, rows, out));
                        assert!(plain.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-4));
                    }
                    assert!(plain.iter().zip(&best).all(|(a, b)| (a - b).abs() < 1e-4), "{rows} x {inputs}");
                }
            }
        }
    }
}

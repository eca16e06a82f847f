//! On a processor: plain loops, compiled for each instruction set and run on the widest, parts of them side by side.

use rayon::prelude::*;
use templar_codec::{Loops, Path};

/// Elements of the rows that a thread takes at once.
const PART: usize = 1 << 15;

/// Angles of the rotary positions: cosines and sines, `[length, head width / 2]`, row after row.
#[derive(Debug, Clone)]
pub struct Turns {
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
    /// Positions.
    pub length: usize,
}

/// The kernels, compiled for a processor.
#[derive(Debug, Clone, Copy)]
pub struct Host(Path);

impl Default for Host {
    /// On the widest instruction set of this processor.
    fn default() -> Self {
        Self(Path::detect())
    }
}

impl Host {
    /// On one instruction set.
    pub fn on(path: Path) -> Self {
        Self(path)
    }

    /// `out = row / sqrt(mean(row^2) + epsilon) * weight` for the rows of `x`, or of `x + add`, which is written to `sum`;
    /// `scales` gets what each row was multiplied by.
    pub fn rms_norm(
        self,
        x: &[f32],
        added: Option<(&[f32], &mut [f32])>,
        weight: &[f32],
        epsilon: f32,
        out: &mut [f32],
        scales: &mut [f32],
    ) {
        let part = rows_together(weight.len()) * weight.len();
        let outs = out.chunks_mut(part).zip(scales.chunks_mut(part / weight.len()));
        let parts = x.chunks(part).zip(outs);
        match added {
            None => self.all(
                parts
                    .map(|(x, (out, scales))| Norm { weight, epsilon, x, added: None, out, scales })
                    .collect(),
            ),
            Some((add, sum)) => self.all(
                parts
                    .zip(add.chunks(part).zip(sum.chunks_mut(part)))
                    .map(|((x, (out, scales)), added)| Norm {
                        weight,
                        epsilon,
                        x,
                        added: Some(added),
                        out,
                        scales,
                    })
                    .collect(),
            ),
        };
    }

    /// What [`Self::rms_norm`] gave, from the rows and what they were multiplied by.
    pub fn rms_norm_again(self, x: &[f32], scales: &[f32], weight: &[f32], out: &mut [f32]) {
        let rows = rows_together(weight.len());
        let parts = x.chunks(rows * weight.len()).zip(scales.chunks(rows));
        let outs = out.chunks_mut(rows * weight.len());
        self.all(parts.zip(outs).map(|((x, scales), out)| Again { weight, x, scales, out }).collect());
    }

    /// Gradients of [`Self::rms_norm`]: `change` is that of `out`; that of `x` is added to `gradient`, or written to it where
    /// it is `new`, and that of the weight is added to `of_weight`.
    #[expect(clippy::too_many_arguments, reason = "a function's inputs, and its gradients")]
    pub fn rms_norm_backward(
        self,
        x: &[f32],
        scales: &[f32],
        weight: &[f32],
        change: &[f32],
        gradient: &mut [f32],
        new: bool,
        of_weight: &mut [f32],
    ) {
        let rows = rows_together(weight.len());
        let part = rows * weight.len();
        let parts = x.chunks(part).zip(scales.chunks(rows)).zip(change.chunks(part));
        let parts = parts.zip(gradient.chunks_mut(part));
        let sums = self.all(
            parts
                .map(|(((x, scales), change), gradient)| NormBackward {
                    weight,
                    x,
                    scales,
                    change,
                    gradient,
                    new,
                })
                .collect(),
        );
        for sums in sums {
            of_weight.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }

    /// Turns the heads of queries or keys (`[rows, width]`, heads after each other; the row's position is its number modulo the length) by their
    /// angles, or back.
    pub fn rotate(self, x: &mut [f32], width: usize, turns: &Turns, back: bool) {
        let rows = rows_together(width);
        let parts = x.chunks_mut(rows * width).enumerate();
        self.all(parts.map(|(at, x)| Rotate { turns, first: at * rows, width, x, back }).collect());
    }

    /// `out = silu(gate) * up`.
    pub fn swiglu(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        let parts = gate.chunks(PART).zip(up.chunks(PART)).zip(out.chunks_mut(PART));
        self.all(parts.map(|((gate, up), out)| Swiglu { gate, up, out }).collect());
    }

    /// Gradients of [`Self::swiglu`], in place: `gate` and `up` become theirs, and `change`, which is that of what came out, becomes
    /// what came out.
    pub fn swiglu_backward(self, gate: &mut [f32], up: &mut [f32], change: &mut [f32]) {
        let both = gate.chunks_mut(PART).zip(up.chunks_mut(PART));
        let parts = both.zip(change.chunks_mut(PART));
        self.all(parts.map(|((gate, up), change)| SwigluBackward { gate, up, change }).collect());
    }

    /// Cross-entropy in nats of each row of `logits` (`[rows, width]`) with its target; with a weight the logits become the
    /// gradient of the sum of all losses times it.
    pub fn cross_entropy(
        self,
        logits: &mut [f32],
        width: usize,
        targets: &[i64],
        weight: Option<f32>,
        losses: &mut [f32],
    ) {
        let rows = rows_together(width);
        let parts = logits.chunks_mut(rows * width).zip(targets.chunks(rows));
        let parts = parts.zip(losses.chunks_mut(rows));
        self.all(
            parts
                .map(|((logits, targets), losses)| CrossEntropy { width, logits, targets, weight, losses })
                .collect(),
        );
    }

    /// Runs parts of one job, side by side where there are several; results are in their order.
    fn all<L>(self, parts: Vec<L>) -> Vec<L::Out>
    where
        L: Loops + Send,
        L::Out: Send,
    {
        if parts.len() < 2 {
            parts.into_iter().map(|part| self.0.compile(part)).collect()
        } else {
            parts.into_par_iter().map(|part| self.0.compile(part)).collect()
        }
    }
}

fn rows_together(width: usize) -> usize {
    (PART / width.max(1)).max(1)
}

/// `e^x`, off by two roundings at most; below -87 and above 88 it is that of the bound.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: what is added to it is rounded to a whole number, which its last bits then are.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first has few bits, so that its product with a whole number is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let r = (x - whole * HIGH) - whole * LOW;
    // Taylor's polynomial: |r| is at most ln 2 / 2.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = (p * r) * r + r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// The sum of `f(0)` to `f(count - 1)`, in sixteen parts that are added at the end.
#[inline(always)]
fn sum(count: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; 16];
    let whole = count / 16 * 16;
    for first in (0..whole).step_by(16) {
        for lane in 0..16 {
            lanes[lane] += f(first + lane);
        }
    }
    let mut rest = 0.0;
    for at in whole..count {
        rest += f(at);
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0] + rest
}

struct Norm<'a> {
    weight: &'a [f32],
    epsilon: f32,
    x: &'a [f32],
    added: Option<(&'a [f32], &'a mut [f32])>,
    out: &'a mut [f32],
    scales: &'a mut [f32],
}

impl Loops for Norm<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { weight, epsilon, mut x, added, out, scales } = self;
        let width = weight.len();
        if let Some((add, sum)) = added {
            for ((sum, x), add) in sum.iter_mut().zip(x).zip(add) {
                *sum = x + add;
            }
            x = sum;
        }
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for ((x, out), scale) in rows.zip(scales) {
            let squares = sum(width, |i| x[i] * x[i]);
            *scale = 1.0 / (squares / width as f32 + epsilon).sqrt();
            for i in 0..width {
                out[i] = x[i] * *scale * weight[i];
            }
        }
    }
}

struct Again<'a> {
    weight: &'a [f32],
    x: &'a [f32],
    scales: &'a [f32],
    out: &'a mut [f32],
}

impl Loops for Again<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { weight, x, scales, out } = self;
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for ((x, out), scale) in rows.zip(scales) {
            for i in 0..width {
                out[i] = x[i] * *scale * weight[i];
            }
        }
    }
}

struct NormBackward<'a> {
    weight: &'a [f32],
    x: &'a [f32],
    scales: &'a [f32],
    change: &'a [f32],
    gradient: &'a mut [f32],
    new: bool,
}

impl Loops for NormBackward<'_> {
    type Out = Vec<f32>;

    #[inline(always)]
    fn run(self) -> Vec<f32> {
        let Self { weight, x, scales, change, gradient, new } = self;
        let width = weight.len();
        let mut of_weight = vec![0f32; width];
        let rows = x.chunks_exact(width).zip(change.chunks_exact(width));
        for (((x, change), gradient), scale) in rows.zip(gradient.chunks_exact_mut(width)).zip(scales) {
            let along = sum(width, |i| weight[i] * change[i] * x[i]);
            let pull = along * scale * scale * scale / width as f32;
            if new {
                // Whatever the memory held before, NaN too.
                gradient.fill(0.0);
            }
            for i in 0..width {
                gradient[i] += weight[i] * change[i] * scale - x[i] * pull;
                of_weight[i] += change[i] * x[i] * scale;
            }
        }
        of_weight
    }
}

struct Rotate<'a> {
    turns: &'a Turns,
    first: usize,
    width: usize,
    x: &'a mut [f32],
    back: bool,
}

impl Loops for Rotate<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { turns, first, width, x, back } = self;
        let half = turns.cos.len() / turns.length.max(1);
        let sign = if back { -1.0 } else { 1.0 };
        for (at, row) in x.chunks_exact_mut(width).enumerate() {
            let position = (first + at) % turns.length;
            let (cos, sin) = (&turns.cos[position * half..][..half], &turns.sin[position * half..][..half]);
            for head in row.chunks_exact_mut(2 * half) {
                let (low, high) = head.split_at_mut(half);
                for i in 0..half {
                    let (a, b, sin) = (low[i], high[i], sin[i] * sign);
                    low[i] = a * cos[i] - b * sin;
                    high[i] = b * cos[i] + a * sin;
                }
            }
        }
    }
}

struct Swiglu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Loops for Swiglu<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

struct SwigluBackward<'a> {
    gate: &'a mut [f32],
    up: &'a mut [f32],
    change: &'a mut [f32],
}

impl Loops for SwigluBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        for ((gate, up), change) in self.gate.iter_mut().zip(self.up).zip(self.change) {
            let sigmoid = 1.0 / (1.0 + exp(-*gate));
            let silu = *gate * sigmoid;
            let out = silu * *up;
            *gate = *change * *up * (sigmoid + silu * (1.0 - sigmoid));
            *up = *change * silu;
            *change = out;
        }
    }
}

struct CrossEntropy<'a> {
    width: usize,
    logits: &'a mut [f32],
    targets: &'a [i64],
    weight: Option<f32>,
    losses: &'a mut [f32],
}

impl Loops for CrossEntropy<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { width, logits, targets, weight, losses } = self;
        let rows = logits.chunks_exact_mut(width).zip(targets);
        for ((row, target), loss) in rows.zip(losses) {
            let mut lanes = [f32::NEG_INFINITY; 16];
            let (whole, rest) = row.as_chunks::<16>();
            for part in whole {
                for lane in 0..16 {
                    lanes[lane] = if part[lane] > lanes[lane] { part[lane] } else { lanes[lane] };
                }
            }
            let largest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
            let right = usize::try_from(*target).ok().and_then(|at| row.get(at)).copied().unwrap_or(f32::NAN);
            let total;
            match weight {
                None => total = sum(width, |i| exp(row[i] - largest)),
                Some(weight) => {
                    row.iter_mut().for_each(|logit| *logit = exp(*logit - largest));
                    total = sum(width, |i| row[i]);
                    let factor = weight / total;
                    row.iter_mut().for_each(|chance| *chance *= factor);
                    if let Some(right) = usize::try_from(*target).ok().and_then(|at| row.get_mut(at)) {
                        *right -= weight;
                    }
                }
            }
            *loss = total.ln() + (largest - right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_off_by_two_roundings_at_most() {
        let mut worst = 0f64;
        for step in 0..2_000_000 {
            let x = -86.0 + step as f32 * 8.6e-5;
            let right = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - right) / right).abs());
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
        assert_eq!((exp(0.0), exp(-1000.0)), (1.0, exp(-87.0)));
        assert!(exp(f32::NAN).is_nan());
    }

    /// Nothing is fused or put in another order, so that what two machines compute differs by their products alone.
    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let numbers = |seed: usize, count: usize| -> Vec<f32> {
            (0..count).map(|at| ((at * 37 + seed * 101) % 211) as f32 / 50.0 - 2.0).collect()
        };
        let (rows, width) = (700, 93);
        let results = Path::all().into_iter().map(|path| {
            let host = Host::on(path);
            let (x, change, weight) = (numbers(1, rows * width), numbers(2, rows * width), numbers(3, width));
            let (mut out, mut scales) = (vec![0.0; rows * width], vec![0.0; rows]);
            host.rms_norm(&x, None, &weight, 1e-5, &mut out, &mut scales);
            let (mut gradient, mut of_weight) = (vec![f32::NAN; rows * width], vec![0.0; width]);
            host.rms_norm_backward(&x, &scales, &weight, &change, &mut gradient, true, &mut of_weight);
            let (mut gate, mut up, mut back) = (x.clone(), change.clone(), out.clone());
            host.swiglu_backward(&mut gate, &mut up, &mut back);
            let (mut logits, mut losses) = (x.clone(), vec![0.0; rows]);
            let targets: Vec<i64> = (0..rows as i64).map(|row| row % width as i64).collect();
            host.cross_entropy(&mut logits, width, &targets, Some(0.5), &mut losses);
            let all = [out, scales, gradient, of_weight, gate, up, back, logits, losses];
            (path.name(), all.map(|v| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()))
        });
        let results: Vec<_> = results.collect();
        for (name, result) in &results[1..] {
            assert!(*result == results[0].1, "{name} and {} differ", results[0].0);
        }
    }
}

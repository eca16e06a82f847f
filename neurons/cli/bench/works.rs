//! What the codec's works take. Slices of numbers and nothing else, so that `tests/bench/codec.rs` measures with the same
//! lines in a program that needs no libtorch.
//!
//! Whatever a work writes to is there before it is measured, and was written to once; what the codec hands out as its result
//! (the coefficients of [`ErrorFeedback::encode`] and of [`wire::decode`]) is made in the measured time.

use super::codec::{Codec, ErrorFeedback, Rule, SparseTensor, wire};
use std::hint::black_box;

/// Peers of an aggregate.
pub(super) const PEERS: usize = 15;
/// Parameters where nobody asks for another number: 3072 x 3072.
pub(super) const PARAMETERS: u64 = (SIDE * SIDE) as u64;
/// Elements of a chunk.
pub(super) const CHUNK: u64 = 4096;
const SIDE: usize = 3072;
/// The size of a step. It changes nothing in what a step takes.
const STEP: f32 = 1e-3;

pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A group of works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// A gradient into the state, through the transform, the choice and the codes, which are taken off.
    Encode,
    /// One peer's coefficients as float32.
    Decode,
    /// Fifteen peers: the signs of their update, the update itself, and the step in place.
    Aggregate,
    /// One peer's coefficients to bytes and back, on one thread.
    Wire,
    /// One peer judged, without the losses: the weights after its step, and after the step of the fourteen others.
    Judge,
}

/// Who measures: it is told the name of a work and the bytes that it reads or makes, and does it as often as it likes.
pub(super) trait Clock {
    fn time(
        &mut self,
        name: &'static str,
        bytes: usize,
        work: &mut dyn FnMut() -> Result<(), Failed>,
    ) -> Result<(), Failed>;
}

/// Measures a group. Of [`Group::Wire`] it gives the bits of a position.
pub(super) fn measure(
    group: Group,
    codec: &Codec,
    rule: Rule,
    clock: &mut dyn Clock,
) -> Result<Option<f64>, Failed> {
    match group {
        Group::Encode => encode(codec, clock)?,
        Group::Decode => decode(codec, clock)?,
        Group::Aggregate => aggregate(codec, rule, clock)?,
        Group::Wire => return on_the_wire(codec, clock).map(Some),
        Group::Judge => judge(codec, rule, clock)?,
    }
    Ok(None)
}

fn encode(codec: &Codec, clock: &mut dyn Clock) -> Result<(), Failed> {
    let normal = Normal::new();
    let mut gradients = zeros::<f32>(codec);
    gradients.iter_mut().enumerate().for_each(|(tensor, gradient)| normal.fill(gradient, 0, tensor));
    let gradients: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
    let mut miner = ErrorFeedback::new(codec);
    clock.time("encode", 4 * codec.parameters(), &mut || {
        black_box(miner.encode(&gradients)?);
        Ok(())
    })
}

fn decode(codec: &Codec, clock: &mut dyn Clock) -> Result<(), Failed> {
    let sent = peers(codec, 1)?;
    let mut out = zeros::<f32>(codec);
    clock.time("decode", 4 * codec.parameters(), &mut || {
        for (tensor, out) in out.iter_mut().enumerate() {
            codec.decode(tensor, &sent[0][tensor], out)?;
        }
        Ok(())
    })
}

fn aggregate(codec: &Codec, rule: Rule, clock: &mut dyn Clock) -> Result<(), Failed> {
    let peers = peers(codec, PEERS)?;
    let peers: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
    // Under the other rule nobody takes signs.
    if rule == Rule::Sign {
        let mut signs = zeros::<i8>(codec);
        clock.time("signs-15", codec.parameters(), &mut || {
            let update = codec.aggregate(rule, &peers)?;
            signs.iter_mut().enumerate().for_each(|(tensor, out)| update.signs(tensor, out));
            Ok(())
        })?;
    }
    let mut numbers = zeros::<f32>(codec);
    clock.time("mean-15", 4 * codec.parameters(), &mut || {
        let update = codec.aggregate(rule, &peers)?;
        numbers.iter_mut().enumerate().for_each(|(tensor, out)| update.mean(tensor, out));
        Ok(())
    })?;
    clock.time("step-15", 4 * codec.parameters(), &mut || {
        let update = codec.aggregate(rule, &peers)?;
        numbers.iter_mut().enumerate().for_each(|(tensor, weights)| update.step(tensor, weights, STEP));
        Ok(())
    })
}

fn on_the_wire(codec: &Codec, clock: &mut dyn Clock) -> Result<f64, Failed> {
    let sent = peers(codec, 1)?;
    let mut bytes = Vec::with_capacity(codec.max_payload_bytes());
    // Where each tensor's positions and values end.
    let mut ends = vec![(0, 0); codec.tensors().len()];
    let mut write = || {
        bytes.clear();
        for ((layout, tensor), (positions, values)) in codec.tensors().iter().zip(&sent[0]).zip(&mut ends) {
            let start = bytes.len();
            *positions = start + wire::encode(layout, tensor, &mut bytes).ok_or("a tensor does not fit")?;
            *values = bytes.len();
        }
        Ok::<usize, Failed>(bytes.len())
    };
    let length = write()?;
    clock.time("write", length, &mut || write().map(|_| ()))?;
    clock.time("read", length, &mut || {
        let mut start = 0;
        for ((layout, tensor), (positions, values)) in codec.tensors().iter().zip(&sent[0]).zip(&ends) {
            let (positions, rest) = (&bytes[start..*positions], &bytes[*positions..*values]);
            black_box(wire::decode(layout, tensor.exponent, positions, rest)?);
            start = *values;
        }
        Ok(())
    })?;
    let kept: usize = codec.tensors().iter().map(|t| t.kept_values()).sum();
    let starts = [0].into_iter().chain(ends.iter().map(|(_, end)| *end));
    let positions: usize = ends.iter().zip(starts).map(|((positions, _), start)| positions - start).sum();
    Ok(8.0 * positions as f64 / kept as f64)
}

fn judge(codec: &Codec, rule: Rule, clock: &mut dyn Clock) -> Result<(), Failed> {
    let peers = peers(codec, PEERS)?;
    let peers: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
    let (normal, mut before) = (Normal::new(), zeros::<f32>(codec));
    before.iter_mut().enumerate().for_each(|(tensor, weights)| normal.fill(weights, 0, tensor));
    let mut weights = before.clone();
    clock.time("judge-14", 4 * codec.parameters(), &mut || {
        for members in [&peers[..1], &peers[1..]] {
            let update = codec.aggregate(rule, members)?;
            for (tensor, (before, weights)) in before.iter().zip(&mut weights).enumerate() {
                update.step_from(tensor, before, weights, STEP);
            }
        }
        Ok(())
    })
}

fn zeros<T: Clone + Default>(codec: &Codec) -> Vec<Vec<T>> {
    codec.tensors().iter().map(|layout| vec![T::default(); layout.len()]).collect()
}

/// What some miners send in their first window, each of a gradient of its own.
pub(super) fn peers(codec: &Codec, count: usize) -> Result<Vec<Vec<SparseTensor>>, Failed> {
    let normal = Normal::new();
    let mut peers = vec![Vec::new(); count];
    // Tensor by tensor: a whole gradient and state more would decide how large a model can be measured.
    for (index, layout) in codec.tensors().iter().enumerate() {
        let one = Codec::new(&[(layout.name.clone(), layout.shape.clone())], codec.settings())?;
        let (mut miner, mut gradient) = (ErrorFeedback::new(&one), vec![0.0; layout.len()]);
        for (number, peer) in peers.iter_mut().enumerate() {
            normal.fill(&mut gradient, number, index);
            miner.clear();
            peer.append(&mut miner.encode(&[&gradient])?);
        }
    }
    Ok(peers)
}

/// Normally distributed numbers, again and again from the start: more than a chunk of any model here is drawn from.
struct Normal(Vec<f32>);

impl Normal {
    fn new() -> Self {
        // A prime number, so that no two rows of a matrix are the same.
        const LENGTH: usize = 1_048_573;
        let mut state = 7u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) + 1) as f32 / (1u64 << 24) as f32
        };
        let normal = |_| (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos();
        Self((0..LENGTH).map(normal).collect())
    }

    fn fill(&self, mut out: &mut [f32], peer: usize, tensor: usize) {
        let mut start = (peer * 65_537 + tensor * 7_919) % self.0.len();
        while !out.is_empty() {
            let (now, rest) = out.split_at_mut(out.len().min(self.0.len() - start));
            now.copy_from_slice(&self.0[start..start + now.len()]);
            (out, start) = (rest, 0);
        }
    }
}

/// Matrices of `params` elements in all, which are whole chunks: of 3072 x 3072, and one as square as the rest allows.
pub(super) fn shapes(params: u64) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![vec![SIDE, SIDE]; (params / PARAMETERS) as usize];
    let chunks = (params % PARAMETERS / CHUNK) as usize;
    if chunks > 0 {
        let rows = (1..=chunks.isqrt()).rev().find(|rows| chunks.is_multiple_of(*rows)).unwrap_or(1);
        shapes.push(vec![64 * rows, 64 * (chunks / rows)]);
    }
    shapes.into_iter().enumerate().map(|(number, shape)| (format!("tensor.{number}"), shape)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::codec::Settings;
    use super::*;

    #[test]
    fn shapes_have_as_many_elements_as_were_asked_for() {
        for chunks in [1, 7, 12, 2304, 2305, 5000] {
            let shapes = shapes(chunks * CHUNK);
            let elements = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>() as u64;
            assert_eq!(shapes.iter().map(elements).sum::<u64>(), chunks * CHUNK);
            assert!(shapes.iter().all(|(_, shape)| shape.iter().all(|side| side % 64 == 0)));
        }
        assert_eq!(shapes(12 * CHUNK)[0].1, [192, 256]);
    }

    /// What is measured is the work itself: every work is done, once a measurement, and moves what it should.
    #[test]
    fn every_group_does_its_works() {
        struct Names(Vec<&'static str>);
        impl Clock for Names {
            fn time(
                &mut self,
                name: &'static str,
                bytes: usize,
                work: &mut dyn FnMut() -> Result<(), Failed>,
            ) -> Result<(), Failed> {
                assert!(bytes > 0);
                self.0.push(name);
                work()
            }
        }
        let codec = Codec::new(&shapes(6 * CHUNK), &Settings::sparse_loco(0.95, 64, 64)).unwrap();
        let mut names = Names(Vec::new());
        for group in [Group::Encode, Group::Decode, Group::Aggregate, Group::Wire, Group::Judge] {
            let bits = measure(group, &codec, Rule::Mean, &mut names).unwrap();
            assert_eq!(bits.is_some(), group == Group::Wire);
            assert!(bits.is_none_or(|bits| (7.3..7.8).contains(&bits)), "{bits:?}");
        }
        assert_eq!(names.0, ["encode", "decode", "mean-15", "step-15", "write", "read", "judge-14"]);
        let sent = peers(&codec, 2).unwrap();
        assert!(sent[0] != sent[1]);
    }
}

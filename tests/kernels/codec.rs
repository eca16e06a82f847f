//! The codec on a GPU beside the processor's: aggregates to the last bit, what is sent as the processor would send it.

use crate::{buffer::Buffer, emulator::Emulator, llama::numbers};
use std::sync::Arc;
use templar_codec::{
    Codec, ErrorFeedback, PeerWeight, Rule, Settings, SparseTensor, TensorLayout, Transform, Values, basis,
    sketch,
};
use templar_kernels::{
    Device, Kind,
    device::{Bases, Encoded, Sent, Target},
};

/// Chunks of 64 x 64, of other sides, of a vector, and one of few numbers.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let shapes: [&[usize]; 5] = [&[64, 128], &[96, 40], &[65], &[2, 256], &[7]];
    shapes.iter().enumerate().map(|(at, shape)| (format!("w{at}"), shape.to_vec())).collect()
}

fn settings() -> Vec<Settings> {
    let of = |transform, values, top_k| Settings { momentum: 0.75, chunk: 64, top_k, transform, values };
    vec![
        of(Transform::Dct, Values::Eight, 32),
        of(Transform::Dct, Values::One, 256),
        of(Transform::Dct, Values::Two, 30),
        of(Transform::None, Values::Two, 64),
        of(Transform::None, Values::Eight, 100),
        of(Transform::None, Values::One, 4096),
    ]
}

fn devices() -> [Device; 2] {
    [false, true].map(|backwards| Device::new(Arc::new(Emulator::new().ordered(backwards)), Kind::F32))
}

fn lengths(codec: &Codec) -> Vec<usize> {
    codec.tensors().iter().map(TensorLayout::len).collect()
}

/// What one tensor's kernel leaves.
#[derive(Debug, PartialEq)]
struct Left {
    sent: SparseTensor,
    state: Vec<u32>,
}

fn encoded(device: &Device, layout: &TensorLayout, gradient: &[f32], state: &[f32], beta: f32) -> Left {
    let (mut gradient, mut state) = (Buffer::floats(gradient), Buffer::floats(state));
    let float_basis = |n: usize| Buffer::floats(&basis(n).iter().map(|x| *x as f32).collect::<Vec<f32>>());
    let (mut down, mut along) =
        (float_basis(layout.chunk_rows.min(64)), float_basis(layout.chunk_cols.min(64)));
    let bases =
        (layout.transform == Transform::Dct).then(|| Bases { down: down.span(), along: along.span() });
    let kept = layout.kept_values();
    let (mut positions, mut codes) = (Buffer::shorts(&vec![9; kept]), Buffer::bytes(&vec![9; kept]));
    let (mut levels, mut values) =
        (Buffer::shorts(&vec![9; layout.levels()]), Buffer::floats(&vec![0.0; kept]));
    let (mut most, mut exponent) = (Buffer::floats(&[0.0]), Buffer::bytes(&[0]));
    let out = Encoded {
        positions: positions.span(),
        codes: codes.span(),
        levels: levels.span(),
        values: values.span(),
        most: most.span(),
        exponent: exponent.span(),
    };
    device.encode(layout, gradient.span(), state.span(), bases, beta, out).unwrap();
    let sent = SparseTensor {
        exponent: exponent.raw()[0] as i8,
        levels: levels.words(),
        positions: positions.words(),
        codes: codes.raw(),
    };
    Left { sent, state: state.values().iter().map(|v| v.to_bits()).collect() }
}

#[test]
fn what_is_sent_is_what_the_processor_sends() {
    for settings in settings() {
        let codec = Codec::new(&shapes(), &settings).unwrap();
        let mut processor = ErrorFeedback::new(&codec);
        for window in 0..2u64 {
            let gradients: Vec<Vec<f32>> =
                lengths(&codec).iter().zip(window * 10..).map(|(n, seed)| numbers(seed + 1, *n)).collect();
            let before = processor.tensors().to_vec();
            let slices: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
            let expected = processor.encode(&slices).unwrap();
            for (at, layout) in codec.tensors().iter().enumerate() {
                let [left, again] =
                    devices().map(|device| encoded(&device, layout, &gradients[at], &before[at], 0.75));
                assert_eq!(left, again, "the order of threads matters");
                assert!(left.sent.fits(layout), "{settings:?} {}", layout.name);
                let state: Vec<f32> = left.state.iter().map(|bits| f32::from_bits(*bits)).collect();
                if settings.transform == Transform::None {
                    assert_eq!(left.sent, expected[at], "{settings:?} {}", layout.name);
                    assert_eq!(state, processor.tensors()[at]);
                    continue;
                }
                // The transform is of another order of sums: the same choice but where magnitudes are alike.
                let same = left.sent.positions.iter().zip(&expected[at].positions).filter(|(a, b)| a == b);
                assert!(same.count() * 100 >= 98 * layout.kept_values(), "{settings:?} {}", layout.name);
                let ascending = |chunk: &[u16]| chunk.windows(2).all(|pair| pair[0] < pair[1]);
                assert!(left.sent.positions.chunks(layout.kept).all(ascending));
                // What is left and what is sent are together what there was.
                for (chunk, (state, right)) in state
                    .chunks(layout.chunk_len())
                    .zip(processor.tensors()[at].chunks(layout.chunk_len()))
                    .enumerate()
                {
                    let whole = |state: &[f32], sent: &SparseTensor| {
                        let mut whole = state.to_vec();
                        let unit = sent.unit(layout);
                        let positions = &sent.positions[chunk * layout.kept..(chunk + 1) * layout.kept];
                        for (position, value) in positions.iter().zip(sent.values_of_chunk(layout, chunk)) {
                            whole[usize::from(*position)] += value * unit;
                        }
                        whole
                    };
                    let (found, right) = (whole(state, &left.sent), whole(right, &expected[at]));
                    for (found, right) in found.iter().zip(&right) {
                        assert!((found - right).abs() < 1e-4, "{found} {right}");
                    }
                }
            }
        }
    }
}

/// Tensors of some peers: honest ones, noise, one that sends nothing, and one whose numbers are large.
fn peers(codec: &Codec, count: usize) -> Vec<Vec<SparseTensor>> {
    let mut draw = {
        let mut state = 7u64;
        move |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        }
    };
    (0..count as u64)
        .map(|peer| match peer {
            1 => codec.tensors().iter().map(SparseTensor::nothing).collect(),
            2 => codec.tensors().iter().map(|layout| SparseTensor::noise(layout, &mut draw)).collect(),
            _ => {
                let gradients: Vec<Vec<f32>> =
                    lengths(codec).iter().zip(peer * 10..).map(|(n, seed)| numbers(seed + 3, *n)).collect();
                let slices: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
                let mut sent = ErrorFeedback::new(codec).encode(&slices).unwrap();
                if peer == 3 {
                    sent.iter_mut().for_each(|tensor| tensor.inflate(9));
                }
                sent
            }
        })
        .collect()
}

#[test]
fn the_aggregate_has_the_processors_bits() {
    for settings in settings() {
        let codec = Codec::new(&shapes(), &settings).unwrap();
        for count in [1, 6] {
            let peers = peers(&codec, count);
            let slices: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
            for rule in [Rule::Sign, Rule::Mean] {
                let aggregate = codec.aggregate(rule, &slices).unwrap();
                for (at, layout) in codec.tensors().iter().enumerate() {
                    let parts = aggregate.parts(at);
                    let all = |of: fn(&SparseTensor) -> Vec<u16>| -> Vec<u16> {
                        parts.peers.iter().flat_map(|(tensor, _)| of(tensor)).collect()
                    };
                    let mut positions = Buffer::shorts(&all(|tensor| tensor.positions.clone()));
                    let mut levels = Buffer::shorts(&all(|tensor| tensor.levels.clone()));
                    let codes: Vec<u8> =
                        parts.peers.iter().flat_map(|(tensor, _)| tensor.codes.clone()).collect();
                    let mut codes = Buffer::bytes(&codes);
                    let (mut tables, mut factors) = (Vec::new(), Vec::new());
                    for (_, weight) in &parts.peers {
                        match weight {
                            PeerWeight::Codes(table) => tables.extend_from_slice(table.as_slice()),
                            PeerWeight::Levels(factor) => factors.push(*factor),
                        }
                    }
                    let mut weights =
                        if tables.is_empty() { Buffer::doubles(&factors) } else { Buffer::longs(&tables) };
                    let sent = Sent {
                        peers: count,
                        positions: positions.span(),
                        codes: codes.span(),
                        levels: levels.span(),
                        weights: weights.span(),
                        unit: parts.unit,
                    };
                    let (down, along) = match layout.transform {
                        Transform::Dct => layout.whole_bases(),
                        Transform::None => (vec![0; 1], vec![0; 1]),
                    };
                    let shorts = |basis: &[i16]| {
                        Buffer::shorts(&basis.iter().map(|x| *x as u16).collect::<Vec<u16>>())
                    };
                    let (mut down, mut along) = (shorts(&down), shorts(&along));
                    let bases = Some(Bases { down: down.span(), along: along.span() });
                    let before = numbers(99, layout.len());
                    let mut expected = before.clone();
                    aggregate.step(at, &mut expected, 0.01);
                    let mut mean = vec![0.0; layout.len()];
                    aggregate.mean(at, &mut mean);
                    let mut expected_signs = vec![0; layout.len()];
                    if rule == Rule::Sign {
                        aggregate.signs(at, &mut expected_signs);
                    }
                    // One order of threads is enough for one peer.
                    for device in &devices()[..count.min(2)] {
                        let (mut from, mut to) =
                            (Buffer::floats(&before), Buffer::floats(&vec![0.0; layout.len()]));
                        let step = Target::Step {
                            before: from.span(),
                            parameters: to.span(),
                            copy: None,
                            size: 0.01,
                        };
                        device.aggregate(layout, rule, sent, bases, step).unwrap();
                        let said = format!("{settings:?} {count} {rule:?} {}", layout.name);
                        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
                        assert!(bits(&to.values()) == bits(&expected), "{said}");
                        if count == 1 {
                            continue;
                        }
                        if rule == Rule::Mean {
                            let target = Target::Floats(to.span());
                            device.aggregate(layout, rule, sent, bases, target).unwrap();
                            assert!(bits(&to.values()) == bits(&mean), "{said}");
                        } else {
                            let mut signs = Buffer::signs(&vec![5; layout.len()]);
                            let target = Target::Signs(signs.span());
                            device.aggregate(layout, rule, sent, bases, target).unwrap();
                            let signs: Vec<i8> = signs.raw().iter().map(|b| *b as i8).collect();
                            assert!(signs == expected_signs, "{said}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_sketch_is_the_processors() {
    for length in [1, 64, 100, 30_000] {
        let values = numbers(5, length);
        let expected = sketch::of_tensor(17, &values);
        for device in devices() {
            let mut tensor = Buffer::floats(&values);
            let mut parts = Buffer::doubles(&[f64::NAN; 3 * 64]);
            device.sketch(17, tensor.span(), parts.span()).unwrap();
            let parts = parts.wide();
            for bucket in 0..64 {
                let sum: f64 = (0..3).map(|part| parts[part * 64 + bucket]).sum();
                assert!((sum - expected[bucket]).abs() < 1e-9, "{sum} {}", expected[bucket]);
            }
        }
    }
}

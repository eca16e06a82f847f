//! Every kernel gives what the loops for processors give, whatever the order in which the threads of a block run.

use crate::{buffer::Buffer, emulator::Emulator};
use std::sync::Arc;
use templar_kernels::{Device, Host, KernelError, Kind, Turns, device::AdamW};

const KINDS: [Kind; 2] = [Kind::F32, Kind::Bf16];

/// Numbers from -1 to 1, the same each time.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// What a buffer of the kind holds of some numbers.
fn rounded(kind: Kind, values: &[f32]) -> Vec<f32> {
    Buffer::of(kind, values).values()
}

/// Runs a work with the threads in either order and gives the results of the first, which the second's equal bit for bit.
pub fn both_orders(kind: Kind, work: impl Fn(&Device) -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let emulator = Emulator::new();
    let with = |backwards| Device::new(Arc::new(emulator.ordered(backwards)), kind);
    let (first, second) = (work(&with(false)), work(&with(true)));
    let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|v| v.to_bits()).collect::<Vec<u32>>();
    assert!(bits(&first) == bits(&second), "the order of threads matters");
    first
}

/// Off by so much of the largest at most.
fn close(found: &[f32], expected: &[f32], kind: Kind) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-3f32, |most, v| most.max(v.abs()));
    let bound = match kind {
        Kind::F32 => 3e-6,
        Kind::Bf16 => 5e-3,
    };
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= bound * largest, "{at}: {found} {expected}, {kind:?}");
    }
}

#[test]
fn norms() {
    for kind in KINDS {
        for (rows, width) in [(5, 64), (3, 2056), (1, 8)] {
            let (x, add) = (numbers(1, rows * width), rounded(kind, &numbers(2, rows * width)));
            let (weight, epsilon) = (numbers(3, width), 1e-5);
            for added in [false, true] {
                let found = both_orders(kind, |device| {
                    let mut sum = Buffer::floats(&x);
                    let (mut from, mut add) = (Buffer::floats(&x), Buffer::of(kind, &add));
                    let mut weight = Buffer::floats(&weight);
                    let (mut out, mut scales) = (Buffer::of(kind, &x), Buffer::floats(&vec![0.0; rows]));
                    let mut again = Buffer::of(kind, &x);
                    let added = added.then(|| (add.span(), sum.span()));
                    device
                        .rms_norm(from.span(), added, weight.span(), epsilon, out.span(), scales.span())
                        .unwrap();
                    device.rms_norm_again(sum.span(), scales.span(), weight.span(), again.span()).unwrap();
                    [sum, out, scales, again].iter().map(Buffer::values).collect()
                });
                let (mut sum, mut out, mut scales) = (x.clone(), x.clone(), vec![0.0; rows]);
                let with = added.then_some((add.as_slice(), sum.as_mut_slice()));
                Host::default().rms_norm(&x, with, &weight, epsilon, &mut out, &mut scales);
                close(&found[0], &sum, Kind::F32);
                close(&found[1], &out, kind);
                close(&found[2], &scales, Kind::F32);
                assert_eq!(found[1], found[3]);
            }
        }
    }
}

#[test]
fn gradients_of_norms() {
    for kind in KINDS {
        // More rows than blocks too.
        for (rows, width) in [(5, 64), (1100, 8), (2, 4104)] {
            let (x, before) = (numbers(1, rows * width), numbers(4, rows * width));
            let change = rounded(kind, &numbers(2, rows * width));
            let (weight, scales) = (numbers(3, width), numbers(5, rows));
            for new in [false, true] {
                let found = both_orders(kind, |device| {
                    let (mut from, mut change) = (Buffer::floats(&x), Buffer::of(kind, &change));
                    let (mut weight, mut scales) = (Buffer::floats(&weight), Buffer::floats(&scales));
                    let mut gradient =
                        Buffer::floats(&if new { vec![f32::NAN; x.len()] } else { before.clone() });
                    let (mut copy, mut of_weight) = (Buffer::of(kind, &x), Buffer::floats(&vec![1.0; width]));
                    let mut room = Buffer::floats(&vec![f32::NAN; Device::norm_room(rows, width)]);
                    device
                        .rms_norm_backward(
                            (from.span(), scales.span(), weight.span()),
                            change.span(),
                            (gradient.span(), new),
                            Some(copy.span()),
                            (of_weight.span(), room.span()),
                        )
                        .unwrap();
                    [gradient, copy, of_weight].iter().map(Buffer::values).collect()
                });
                let (mut gradient, mut of_weight) = (before.clone(), vec![1.0; width]);
                Host::default().rms_norm_backward(
                    &x,
                    &scales,
                    &weight,
                    &change,
                    &mut gradient,
                    new,
                    &mut of_weight,
                );
                close(&found[0], &gradient, Kind::F32);
                close(&found[1], &gradient, kind);
                close(&found[2], &of_weight, Kind::F32);
            }
        }
    }
}

#[test]
fn rotations() {
    for kind in KINDS {
        let (length, half, heads) = (7, 5, 3);
        let width = 2 * half * heads;
        let x = rounded(kind, &numbers(1, 3 * length * width));
        let angles = numbers(2, length * half);
        let turns = Turns {
            cos: angles.iter().map(|a| a.cos()).collect(),
            sin: angles.iter().map(|a| a.sin()).collect(),
            length,
        };
        for back in [false, true] {
            let found = both_orders(kind, |device| {
                let (mut cos, mut sin) = (Buffer::floats(&turns.cos), Buffer::floats(&turns.sin));
                let mut x = Buffer::of(kind, &x);
                device.rotate(x.span(), width, (cos.span(), sin.span()), half, back).unwrap();
                vec![x.values()]
            });
            let mut expected = x.clone();
            Host::default().rotate(&mut expected, width, &turns, back);
            close(&found[0], &expected, kind);
        }
    }
}

#[test]
fn gated_products() {
    for kind in KINDS {
        let [gate, up, change] = [1, 2, 3].map(|seed| {
            let large: Vec<f32> = numbers(seed, 5000).iter().map(|v| v * 8.0).collect();
            rounded(kind, &large)
        });
        let found = both_orders(kind, |device| {
            let [mut gate, mut up, mut change] = [&gate, &up, &change].map(|v| Buffer::of(kind, v));
            let mut out = Buffer::of(kind, &vec![0.0; 5000]);
            device.swiglu(gate.span(), up.span(), out.span()).unwrap();
            device.swiglu_backward(gate.span(), up.span(), change.span()).unwrap();
            [out, gate, up, change].iter().map(Buffer::values).collect()
        });
        let mut out = vec![0.0; 5000];
        let host = Host::default();
        host.swiglu(&gate, &up, &mut out);
        let (mut gate, mut up, mut change) = (gate, up, change);
        host.swiglu_backward(&mut gate, &mut up, &mut change);
        for (found, expected) in found.iter().zip([&out, &gate, &up, &out]) {
            close(found, expected, kind);
        }
        close(&change, &out, Kind::F32);
    }
}

#[test]
fn losses() {
    for kind in KINDS {
        for (rows, width) in [(3, 64), (2, 4104)] {
            let logits: Vec<f32> = numbers(1, rows * width).iter().map(|v| v * 20.0).collect();
            let logits = rounded(kind, &logits);
            let targets: Vec<i64> = (0..rows as i64).map(|row| (row * 7919) % width as i64).collect();
            for weight in [None, Some(0.25)] {
                let found = both_orders(kind, |device| {
                    let (mut logits, mut targets) = (Buffer::of(kind, &logits), Buffer::longs(&targets));
                    let mut losses = Buffer::floats(&vec![0.0; rows]);
                    device
                        .cross_entropy(logits.span(), width, targets.span(), weight, losses.span())
                        .unwrap();
                    vec![losses.values(), logits.values()]
                });
                let (mut expected, mut losses) = (logits.clone(), vec![0.0; rows]);
                Host::default().cross_entropy(&mut expected, width, &targets, weight, &mut losses);
                close(&found[0], &losses, Kind::F32);
                close(&found[1], if weight.is_some() { &expected } else { &logits }, kind);
            }
        }
    }
}

#[test]
fn a_loss_of_what_is_not_a_number_is_none() {
    let found = both_orders(Kind::F32, |device| {
        let mut logits = vec![0.5; 16];
        logits[9] = f32::NAN;
        let (mut logits, mut targets) = (Buffer::floats(&logits), Buffer::longs(&[3]));
        let mut losses = Buffer::floats(&[0.0]);
        device.cross_entropy(logits.span(), 16, targets.span(), None, losses.span()).unwrap();
        vec![losses.values()]
    });
    assert!(found[0][0].is_nan());
    let mut losses = [0.0];
    let mut logits = [0.5; 16];
    logits[9] = f32::NAN;
    Host::default().cross_entropy(&mut logits, 16, &[3], None, &mut losses);
    assert!(losses[0].is_nan());
}

#[test]
fn steps_and_copies() {
    let count = 2 * 8 * 256 + 8;
    let (weight, gradient) = (numbers(1, count), numbers(2, count));
    let (first, second) = (numbers(3, count), numbers(4, count).iter().map(|v| v * v).collect::<Vec<f32>>());
    let step = AdamW { scale: 0.5, rate: 0.01, decay: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, step: 3 };
    let signs: Vec<i8> = (0..count).map(|at| (at % 3) as i8 - 1).collect();
    let found = both_orders(Kind::Bf16, |device| {
        let [mut w, mut m, mut v, mut g] = [&weight, &first, &second, &gradient].map(|v| Buffer::floats(v));
        let mut copy = Buffer::of(Kind::Bf16, &weight);
        device.adamw(w.span(), (m.span(), v.span()), g.span(), Some(copy.span()), step).unwrap();
        let (mut stepped, mut signs) = (Buffer::floats(&weight), Buffer::signs(&signs));
        device.sign_step(stepped.span(), signs.span(), None, 0.01).unwrap();
        let (mut sum, mut part) = (Buffer::floats(&weight), Buffer::of(Kind::Bf16, &gradient));
        device.accumulate(sum.span(), part.span()).unwrap();
        let mut parts = Buffer::floats(&[0.0; 3]);
        device.squares(g.span(), parts.span()).unwrap();
        let mut narrow = Buffer::of(Kind::Bf16, &vec![0.0; count]);
        device.to_bf16(w.span(), narrow.span()).unwrap();
        let (mut rows, mut chosen) = (Buffer::longs(&[5, 0, 512, 513, -1]), Buffer::floats(&[0.0; 40]));
        device.embed(w.span(), rows.span(), chosen.span(), 8).unwrap();
        [w, m, v, copy, stepped, sum, parts, narrow, chosen].iter().map(Buffer::values).collect()
    });
    // The formula of docs/protocol.md.
    let corrected = |beta: f64| 1.0 - beta.powi(3);
    let (mut w, mut m, mut v) = (weight.clone(), first, second);
    for at in 0..count {
        let g = gradient[at] * step.scale;
        m[at] = 0.9 * m[at] + 0.1 * g;
        v[at] = 0.95 * v[at] + 0.05 * g * g;
        let root = (f64::from(v[at]) / corrected(0.95)).sqrt() + 1e-8;
        w[at] = (f64::from(w[at]) * (1.0 - 0.001) - 0.01 / corrected(0.9) * f64::from(m[at]) / root) as f32;
    }
    close(&found[0], &w, Kind::F32);
    close(&found[1], &m, Kind::F32);
    close(&found[2], &v, Kind::F32);
    assert_eq!(found[3], rounded(Kind::Bf16, &found[0]));
    // The bits of the processor's step.
    let stepped: Vec<f32> = weight.iter().zip(&signs).map(|(w, sign)| w - 0.01 * f32::from(*sign)).collect();
    assert_eq!(found[4], stepped);
    let sum: Vec<f32> = weight.iter().zip(rounded(Kind::Bf16, &gradient)).map(|(a, b)| a + b).collect();
    assert_eq!(found[5], sum);
    let squares: f64 = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let total: f64 = found[6].iter().map(|part| f64::from(*part)).sum();
    assert!((total / squares - 1.0).abs() < 1e-6, "{total} {squares}");
    assert_eq!(found[7], found[3]);
    let rows: Vec<f32> = [5, 0, 512].iter().flat_map(|row| found[0][row * 8..][..8].to_vec()).collect();
    assert_eq!(found[8][..24], rows);
    assert!(found[8][24..].iter().all(|value| value.is_nan()), "tokens that there are not");
}

#[test]
fn spans_that_do_not_fit_are_refused() {
    let device = Device::new(Arc::new(Emulator::new()), Kind::F32);
    let of = |length: usize| Buffer::floats(&vec![0.0; length]).span();
    let (long, short, weight) = (of(64), of(32), of(16));
    let refused = [
        device.rms_norm(long, None, weight, 1e-5, short, of(4)),
        device.rms_norm(long, None, weight, 1e-5, long, of(3)),
        device.rms_norm(of(60), None, of(12), 1e-5, of(60), of(5)),
        device.swiglu(long, short, long),
        device.swiglu(of(12), of(12), of(12)),
        device.rotate(long, 16, (of(10), of(10)), 5, false),
        device.cross_entropy(long, 16, of(4), None, of(5)),
        device.sign_step(long, short, None, 1.0),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(KernelError::Shape(_))), "{refused:?}");
    }
}

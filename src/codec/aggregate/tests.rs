use super::*;
use crate::{ErrorFeedback, Path, Settings, cosines::basis};

fn draws(seed: u64) -> impl FnMut() -> f32 {
    let mut x = seed;
    move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = |bits: u64| (bits & 0xffff) as f32 / 65_536.0;
        // Four uniform ones: nearly normal.
        uniform(x >> 16) + uniform(x >> 32) + uniform(x >> 48) + uniform(x >> 24) - 2.0
    }
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    [&[128, 192][..], &[96, 80], &[65], &[64, 64], &[1, 7], &[4096]]
        .iter()
        .enumerate()
        .map(|(i, shape)| (format!("t{i}"), shape.to_vec()))
        .collect()
}

fn settings() -> Vec<Settings> {
    let demo = Settings::demo(0.9, 64, 32);
    let loco = Settings::sparse_loco(0.95, 64, 64);
    vec![
        Settings { values: Values::One, top_k: 256, ..demo.clone() },
        Settings { values: Values::Two, ..demo.clone() },
        Settings { values: Values::Eight, ..loco.clone() },
        Settings { values: Values::One, ..loco.clone() },
        demo,
        loco,
    ]
}

/// Peers that have a part in common, some longer than others, after two windows.
fn peers(codec: &Codec, count: usize) -> Vec<Vec<SparseTensor>> {
    let mut common = draws(1);
    let common: Vec<Vec<f32>> =
        codec.tensors().iter().map(|t| (0..t.len()).map(|_| common()).collect()).collect();
    let peer = |n: usize| {
        let mut own = draws(100 + n as u64);
        let mut state = ErrorFeedback::new(codec);
        let mut sent = Vec::new();
        for _ in 0..2 {
            let length = 1e-3 * (1.0 + n as f32);
            let gradients: Vec<Vec<f32>> =
                common.iter().map(|t| t.iter().map(|c| (0.5 * c + own()) * length).collect()).collect();
            sent = state.encode(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        }
        sent
    };
    (0..count).map(peer).collect()
}

fn refs(peers: &[Vec<SparseTensor>]) -> Vec<&[SparseTensor]> {
    peers.iter().map(Vec::as_slice).collect()
}

/// A tensor's values by the definition, in float64: `(position in the tensor's chunks, value)`.
fn value_of(tensor: &SparseTensor, layout: &TensorLayout, i: usize) -> f64 {
    let chunk = i / layout.kept;
    let value = tensor.values_of_chunk(layout, chunk).nth(i % layout.kept).unwrap();
    f64::from(value) * f64::from(tensor.unit(layout))
}

/// The inverse transform in float64 of dense coefficients, chunk after chunk, as rows of the tensor.
fn back(layout: &TensorLayout, coefficients: &[f64]) -> Vec<f64> {
    if layout.transform == crate::Transform::None {
        return coefficients.to_vec();
    }
    let (h, w) = (layout.chunk_rows, layout.chunk_cols);
    let (down, along) = (basis(h), basis(w));
    let mut out = vec![0.0; layout.len()];
    for (chunk, c) in coefficients.chunks_exact(h * w).enumerate() {
        let (cy, cx) = (chunk / layout.grid_cols(), chunk % layout.grid_cols());
        let mut between = vec![0.0; h * w];
        for (y, v) in (0..h).flat_map(|y| (0..w).map(move |v| (y, v))) {
            between[y * w + v] = (0..h).map(|u| c[v * h + u] * down[y * h + u]).sum();
        }
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let sum: f64 = (0..w).map(|v| between[y * w + v] * along[x * w + v]).sum();
            out[(cy * h + y) * layout.cols + cx * w + x] = sum;
        }
    }
    out
}

/// The rule in float64, without any of the whole numbers.
fn reference(codec: &Codec, rule: Rule, peers: &[&[SparseTensor]], index: usize) -> Vec<f64> {
    let layout = &codec.tensors()[index];
    let lengths: Vec<f64> = peers
        .iter()
        .map(|p| {
            (0..layout.kept_values()).map(|i| value_of(&p[index], layout, i).powi(2)).sum::<f64>().sqrt()
        })
        .collect();
    let mut sorted = lengths.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[(sorted.len() - 1) / 2];
    let (mut sums, mut counts) = (vec![0.0; layout.len()], vec![0u32; layout.len()]);
    for (peer, length) in peers.iter().zip(&lengths) {
        let factor = match rule {
            Rule::Sign => 1.0 / length,
            Rule::Mean => (median / length).min(1.0),
        };
        for i in 0..layout.kept_values() {
            let at = i / layout.kept * layout.chunk_len() + usize::from(peer[index].positions[i]);
            let value = value_of(&peer[index], layout, i);
            sums[at] += value * factor;
            counts[at] += u32::from(value != 0.0);
        }
    }
    for (sum, count) in sums.iter_mut().zip(&counts) {
        *sum /= match rule {
            Rule::Sign => f64::from(*count).max(1.0),
            Rule::Mean => peers.len() as f64,
        };
    }
    back(layout, &sums)
}

#[test]
fn the_rules_are_those_of_a_float64_reference() {
    for settings in settings() {
        let codec = Codec::new(&shapes(), &settings).unwrap();
        let peers = peers(&codec, 5);
        let peers = refs(&peers);
        let (mut differ, mut all) = (0, 0);
        for (index, layout) in codec.tensors().iter().enumerate() {
            let exact = reference(&codec, Rule::Sign, &peers, index);
            let mut signs = vec![0i8; layout.len()];
            codec.aggregate(Rule::Sign, &peers).unwrap().signs(index, &mut signs);
            for (sign, exact) in signs.iter().zip(&exact) {
                let expected = if exact.abs() < 1e-14 { 0 } else { exact.signum() as i8 };
                differ += u32::from(*sign != expected);
                all += 1;
            }
            let exact = reference(&codec, Rule::Mean, &peers, index);
            let mut mean = vec![0f32; layout.len()];
            codec.aggregate(Rule::Mean, &peers).unwrap().mean(index, &mut mean);
            let largest = exact.iter().fold(0f64, |a, x| a.max(x.abs()));
            let bound = if settings.transform == crate::Transform::Dct { 3e-3 } else { 1e-6 };
            for (found, exact) in mean.iter().zip(&exact) {
                assert!((f64::from(*found) - exact).abs() <= bound * largest, "{settings:?} {found} {exact}");
            }
            let mut stepped = vec![0.5f32; layout.len()];
            codec.aggregate(Rule::Mean, &peers).unwrap().step(index, &mut stepped, 0.25);
            assert!(stepped.iter().zip(&mean).all(|(theta, mean)| *theta == 0.5 - mean * 0.25));
            let (before, mut from) = (vec![0.5f32; layout.len()], vec![9f32; layout.len()]);
            codec.aggregate(Rule::Mean, &peers).unwrap().step_from(index, &before, &mut from, 0.25);
            assert_eq!(from, stepped);
        }
        println!("{settings:?}: {differ} of {all} signs differ");
        assert!(differ * 2000 <= all, "{settings:?}: {differ} of {all}");
    }
}

#[test]
fn every_path_every_number_of_threads_and_every_order_give_the_same_bytes() {
    let pools: Vec<_> =
        [1, 3].iter().map(|n| rayon::ThreadPoolBuilder::new().num_threads(*n).build().unwrap()).collect();
    for settings in settings() {
        let codec = Codec::new(&shapes(), &settings).unwrap();
        let mut expected = None;
        for path in Path::all() {
            let codec = codec.on(path);
            for pool in &pools {
                let mut everything = pool.install(|| {
                    let peers = peers(&codec, 6);
                    let mut refs = refs(&peers);
                    refs.rotate_left(pool.current_num_threads());
                    let mut results = Vec::new();
                    for (index, layout) in codec.tensors().iter().enumerate() {
                        let (mut signs, mut mean) = (vec![0i8; layout.len()], vec![0f32; layout.len()]);
                        let mut stepped = vec![1f32; layout.len()];
                        codec.aggregate(Rule::Sign, &refs).unwrap().signs(index, &mut signs);
                        codec.aggregate(Rule::Mean, &refs).unwrap().mean(index, &mut mean);
                        codec.aggregate(Rule::Sign, &refs).unwrap().step(index, &mut stepped, 0.125);
                        assert!(stepped.iter().zip(&signs).all(|(t, s)| *t == 1.0 - f32::from(*s) * 0.125));
                        results.push((signs, mean.iter().map(|x| x.to_bits()).collect::<Vec<_>>()));
                    }
                    (peers, results)
                });
                let expected = expected.get_or_insert_with(|| everything.clone());
                assert!(everything.0 == expected.0, "what is sent differs: {}", path.name());
                assert!(everything.1 == expected.1, "the aggregate differs: {}", path.name());
                everything.0.clear();
            }
        }
    }
}

#[test]
fn what_is_sent_and_what_is_left_add_up() {
    for settings in settings() {
        let codec = Codec::new(&shapes(), &settings).unwrap();
        let mut draw = draws(9);
        let mut state = ErrorFeedback::new(&codec);
        let mut exact: Vec<Vec<f64>> = codec.tensors().iter().map(|t| vec![0.0; t.len()]).collect();
        for _ in 0..4 {
            let gradients: Vec<Vec<f32>> =
                codec.tensors().iter().map(|t| (0..t.len()).map(|_| draw()).collect()).collect();
            let sent = state.encode(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            for (index, layout) in codec.tensors().iter().enumerate() {
                assert!(sent[index].fits(layout));
                // In float64 and in the tensor's own domain: m <- beta m + g - decode(sent).
                let mut dense = vec![0f64; layout.len()];
                for i in 0..layout.kept_values() {
                    let at = i / layout.kept * layout.chunk_len() + usize::from(sent[index].positions[i]);
                    dense[at] = value_of(&sent[index], layout, i);
                }
                let decoded = back(layout, &dense);
                for ((m, g), d) in exact[index].iter_mut().zip(&gradients[index]).zip(&decoded) {
                    *m = *m * f64::from(settings.momentum as f32) + f64::from(*g) - d;
                }
                let kept: Vec<f64> = state.tensors()[index].iter().map(|c| f64::from(*c)).collect();
                for (found, exact) in back(layout, &kept).iter().zip(&exact[index]) {
                    assert!((found - exact).abs() < 2e-5, "{settings:?}: {found} {exact}");
                }
                // And the product's own decoder agrees.
                let mut own = vec![0f32; layout.len()];
                codec.decode(index, &sent[index], &mut own).unwrap();
                let largest = decoded.iter().fold(0f64, |a, x| a.max(x.abs()));
                let bound = if settings.transform == crate::Transform::Dct { 1e-3 } else { 1e-6 };
                for (found, exact) in own.iter().zip(&decoded) {
                    assert!((f64::from(*found) - exact).abs() <= largest * bound, "{found} {exact}");
                }
            }
        }
    }
}

#[test]
fn one_peer_cannot_drown_the_others_or_take_their_precision() {
    let codec = Codec::new(&[("w".to_owned(), vec![64, 64])], &Settings::demo(0.9, 64, 32)).unwrap();
    let honest = peers(&codec, 3);
    // A peer whose every value but one is nothing, at the largest exponent.
    let mut hostile = SparseTensor::nothing(&codec.tensors()[0]);
    (hostile.exponent, hostile.codes[31]) = (100, 1);
    let hostile = vec![hostile];
    let with = |peers: &[&[SparseTensor]]| {
        let mut signs = vec![0i8; 4096];
        codec.aggregate(Rule::Sign, peers).unwrap().signs(0, &mut signs);
        signs
    };
    let mut all = refs(&honest);
    let before = with(&all);
    all.push(&hostile);
    let after = with(&all);
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(changed > 0 && changed < 3000, "{changed}");
    // Of a mean it can be no longer than the median peer.
    let mut mean = vec![0f32; 4096];
    codec.aggregate(Rule::Mean, &all).unwrap().mean(0, &mut mean);
    let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(length < 1.0, "{length}");
}

#[test]
fn misfits_are_refused() {
    let codec = Codec::new(&shapes(), &Settings::demo(0.9, 64, 32)).unwrap();
    let good = peers(&codec, 1).remove(0);
    let refused = |edit: &dyn Fn(&mut Vec<SparseTensor>)| {
        let mut bad = good.clone();
        edit(&mut bad);
        codec.aggregate(Rule::Sign, &[&bad]).err()
    };
    let misfit = |name: &str| Some(AggregateError::Misfit(name.to_owned()));
    assert_eq!(refused(&|_| {}), None);
    assert_eq!(refused(&|t| t[0].positions[3] = 4096), misfit("t0"));
    assert_eq!(refused(&|t| t[1].codes.truncate(1)), misfit("t1"));
    assert_eq!(refused(&|t| t[2].levels.push(0)), misfit("t2"));
    assert_eq!(refused(&|t| t[3].exponent = 101), misfit("t3"));
    assert_eq!(refused(&|t| t.truncate(5)), misfit("t5"));
    assert_eq!(codec.aggregate(Rule::Sign, &[]).err(), Some(AggregateError::NoPeers));
    let many = vec![good.as_slice(); MAX_PEERS + 1];
    assert_eq!(codec.aggregate(Rule::Sign, &many).err(), Some(AggregateError::TooManyPeers(MAX_PEERS + 1)));
}

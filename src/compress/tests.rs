use super::*;
use crate::manifest::CompressConfig;

fn layout() -> Layout {
    let shapes = [("a", vec![128, 192]), ("b", vec![96, 40]), ("c", vec![130]), ("d", vec![7, 64])];
    let named = shapes.map(|(n, s)| (n.to_owned(), s));
    Layout::new(&named, &CompressConfig { momentum: 0.9, chunk: 64, top_k: 32 }, 2).unwrap()
}

fn gradients(layout: &Layout, seed: i64) -> Vec<Tensor> {
    let config = crate::model::initial_values;
    layout
        .tensors()
        .iter()
        .map(|t| {
            let values = config(&t.name, &[1, t.len()], seed as u64, 1e-3);
            Tensor::from_slice(&values).view(t.shape.iter().map(|d| *d as i64).collect::<Vec<_>>().as_slice())
        })
        .collect()
}

/// Element `(y, x)` of a chunk of the matrix `values`.
fn chunk_of(t: &TensorLayout, values: &[f64], chunk: usize) -> Vec<f64> {
    let (cy, cx) = (chunk / t.grid_cols(), chunk % t.grid_cols());
    let at =
        |i: usize| (cy * t.chunk_rows + i / t.chunk_cols) * t.cols + cx * t.chunk_cols + i % t.chunk_cols;
    (0..t.chunk_len()).map(|i| values[at(i)]).collect()
}

fn doubles(t: &Tensor) -> Vec<f64> {
    floats(t).into_iter().map(f64::from).collect()
}

#[test]
fn it_sends_the_largest_coefficients_and_keeps_the_rest() {
    let layout = layout();
    let gradient = gradients(&layout, 1);
    let mut demo = Demo::new(&layout, 0.9, Device::Cpu);
    let sent = demo.encode(&gradient).unwrap();
    for (index, t) in layout.tensors().iter().enumerate() {
        let input = doubles(&gradient[index]);
        let kept = doubles(&demo.momentum()[index]);
        let (h, w) = (t.chunk_rows, t.chunk_cols);
        let (rows, cols) = (dct::basis(h), dct::basis(w));
        for chunk in 0..t.chunks() {
            let x = chunk_of(t, &input, chunk);
            let coefficient = |p: usize| -> f64 {
                (0..h * w).map(|i| x[i] * rows[i / w * h + p / w] * cols[i % w * w + p % w]).sum()
            };
            let range = chunk * t.kept..(chunk + 1) * t.kept;
            let positions = &sent[index].positions[range.clone()];
            assert!(positions.windows(2).all(|p| p[0] < p[1]));
            let decoded: Vec<f64> = sent[index].codes[range]
                .iter()
                .map(|c| coefficient::decode(*c, sent[index].exponent).into())
                .collect();
            // All coefficients of small chunks, the first chunk's of the large ones (it is slow).
            if chunk == 0 {
                let all: Vec<f64> = (0..h * w).map(coefficient).collect();
                let least = positions.iter().map(|p| all[usize::from(*p)].abs()).fold(f64::MAX, f64::min);
                let others = (0..h * w).filter(|p| !positions.contains(&(*p as u16)));
                assert!(others.map(|p| all[p].abs()).all(|v| v <= least * (1.0 + 1e-5)));
                for (p, d) in positions.iter().zip(&decoded) {
                    let exact = all[usize::from(*p)];
                    let smallest = f64::from(coefficient::scale(sent[index].exponent));
                    assert!((d - exact).abs() <= exact.abs() * 0.0626 + smallest, "{d} {exact}");
                }
            }
            // What was sent and what was kept give the input, in float64, to float32's rounding.
            let rest = chunk_of(t, &kept, chunk);
            for i in 0..h * w {
                let (y, x_) = (i / w, i % w);
                let inverse = |(p, d): (&u16, &f64)| {
                    d * rows[y * h + usize::from(*p) / w] * cols[x_ * w + usize::from(*p) % w]
                };
                let back: f64 = positions.iter().zip(&decoded).map(inverse).sum();
                assert!((back + rest[i] - x[i]).abs() < 2e-9, "{} {}", back + rest[i], x[i]);
            }
        }
    }
}

#[test]
fn what_was_kept_is_sent_later() {
    // With beta 1 and no new gradient, everything is sent in the end.
    let layout = layout();
    let mut demo = Demo::new(&layout, 1.0, Device::Cpu);
    let gradient = gradients(&layout, 2);
    demo.encode(&gradient).unwrap();
    let nothing: Vec<Tensor> = gradient.iter().map(Tensor::zeros_like).collect();
    let norm =
        |d: &Demo| d.momentum().iter().map(|m| doubles(m).iter().map(|v| v * v).sum::<f64>()).sum::<f64>();
    let first = norm(&demo);
    for _ in 0..200 {
        demo.encode(&nothing).unwrap();
    }
    assert!(norm(&demo) < first * 1e-3, "{first} {}", norm(&demo));
}

#[test]
fn a_restarted_miner_sends_the_same_bytes() {
    let layout = layout();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.safetensors");
    let mut demo = Demo::new(&layout, 0.9, Device::Cpu);
    demo.encode(&gradients(&layout, 3)).unwrap();
    let note = BTreeMap::from([("window".to_owned(), "3".to_owned())]);
    demo.save(&path, &note).unwrap();
    let (mut again, read) = Demo::load(&layout, 0.9, &path, Device::Cpu).unwrap();
    assert_eq!(read, note);
    let next = gradients(&layout, 4);
    assert_eq!(again.encode(&next).unwrap(), demo.encode(&next).unwrap());
    // Without the state it would be something else.
    assert_ne!(Demo::new(&layout, 0.9, Device::Cpu).encode(&next).unwrap(), demo.encode(&next).unwrap());
}

#[test]
fn equal_magnitudes_are_taken_from_the_front() {
    let rows = Tensor::from_slice(&[1f32, -2.0, 2.0, 0.0, -2.0, 1.0]).view([1, 6]);
    let positions = |k| Vec::<i64>::try_from(super::largest(&rows, k).view([-1])).unwrap();
    assert_eq!(positions(2), [1, 2]);
    assert_eq!(positions(3), [1, 2, 4]);
    assert_eq!(positions(4), [0, 1, 2, 4]);
    assert_eq!(positions(6), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn bad_gradients_are_refused_and_change_nothing() {
    let layout = layout();
    let mut demo = Demo::new(&layout, 0.9, Device::Cpu);
    demo.encode(&gradients(&layout, 5)).unwrap();
    let before: Vec<_> = demo.momentum().iter().map(floats).collect();
    let good = || gradients(&layout, 6);
    for bad in [f64::NAN, f64::INFINITY, 1e37] {
        let wrong = good();
        let _ = wrong[3].narrow(0, 0, 1).fill_(bad);
        assert_eq!(demo.encode(&wrong), Err(CompressError::NotFinite("d".to_owned())));
    }
    assert_eq!(demo.encode(&good()[..2]), Err(CompressError::Count { found: 2, expected: 4 }));
    let mut wrong = good();
    wrong[0] = wrong[0].tr();
    assert!(matches!(demo.encode(&wrong), Err(CompressError::Shape { .. })));
    let after: Vec<_> = demo.momentum().iter().map(floats).collect();
    assert_eq!(before, after);
}

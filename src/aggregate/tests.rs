use super::*;
use crate::manifest::CompressConfig;

/// Shapes with whole, uneven and one-sided chunks.
fn layout() -> Layout {
    let shapes = [("a", vec![128, 192]), ("b", vec![96, 40]), ("c", vec![130]), ("d", vec![7, 64])];
    let named = shapes.map(|(n, s)| (n.to_owned(), s));
    Layout::new(&named, &CompressConfig { momentum: 0.9, chunk: 64, top_k: 32 }, 2).unwrap()
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

fn peer(layout: &Layout, seed: u64) -> Vec<SparseTensor> {
    let mut random = Lcg(seed);
    let tensor = |t: &TensorLayout| {
        let mut positions = Vec::new();
        for _ in 0..t.chunks() {
            let mut all: Vec<u16> = (0..t.chunk_len() as u16).collect();
            (0..t.kept).for_each(|i| all.swap(i, i + random.below(t.chunk_len() - i)));
            let mut chosen = all[..t.kept].to_vec();
            chosen.sort_unstable();
            positions.extend(chosen);
        }
        let codes = (0..t.values()).map(|_| (128 * random.below(2) + 40 + random.below(80)) as u8).collect();
        SparseTensor { exponent: random.below(40) as i8 - 30, positions, codes }
    };
    layout.tensors().iter().map(tensor).collect()
}

fn as_bytes(update: &[Tensor]) -> Vec<Vec<i8>> {
    update.iter().map(|t| Vec::<i8>::try_from(t.contiguous().view([-1])).unwrap()).collect()
}

/// The module's definition, written plainly: 64-bit whole numbers and nothing else.
fn plain(peers: &[&[SparseTensor]], layout: &Layout) -> Vec<Vec<i8>> {
    let one = |(index, t): (usize, &TensorLayout)| {
        let mut update = vec![0i8; t.len()];
        let (h, w) = (t.chunk_rows, t.chunk_cols);
        let (rows, cols) = (dct::whole_basis(h), dct::whole_basis(w));
        for chunk in 0..t.chunks() {
            let mut sums = vec![(0i64, 0i64); h * w];
            for peer in peers {
                let codes = peer[index].codes.iter();
                let squares: i64 = codes.map(|c| i64::from(coefficient::magnitude(*c)).pow(2)).sum();
                let weight = (2f64.powi(52) / (squares as f64).sqrt()) as i64;
                for i in chunk * t.kept..(chunk + 1) * t.kept {
                    let magnitude = i64::from(coefficient::magnitude(peer[index].codes[i]));
                    let at = &mut sums[usize::from(peer[index].positions[i])];
                    at.0 += magnitude * weight;
                    at.1 += i64::from(magnitude != 0);
                }
            }
            let means: Vec<i64> = sums.iter().map(|(s, n)| if *n == 0 { 0 } else { s / n }).collect();
            let mut largest = means.iter().map(|m| m.abs()).max().unwrap();
            let mut shift = 0;
            while largest >= 1 << 13 {
                largest >>= 1;
                shift += 1;
            }
            let q: Vec<i64> = means
                .iter()
                .map(|m| if shift == 0 { *m } else { (m + (1 << (shift - 1))) >> shift })
                .collect();
            assert!(q.iter().all(|v| v.abs() <= 1 << 13));
            for y in 0..h {
                for x in 0..w {
                    let mut sum = 0i64;
                    for r in 0..h {
                        let across: i64 = (0..w).map(|c| q[r * w + c] * i64::from(cols[x * w + c])).sum();
                        // A side of 1 has the basis 2^14 alone, which the product leaves out.
                        sum += across * i64::from(rows[y * h + r]);
                    }
                    let (cy, cx) = (chunk / t.grid_cols(), chunk % t.grid_cols());
                    update[(cy * h + y) * t.cols + cx * w + x] = sum.signum() as i8;
                }
            }
        }
        update
    };
    layout.tensors().iter().enumerate().map(one).collect()
}

#[test]
fn the_aggregate_is_the_plain_definition_whatever_the_order_and_the_threads() {
    let layout = layout();
    let peers: Vec<_> = (0..5).map(|i| peer(&layout, 1000 + i)).collect();
    let mut refs: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
    let expected = plain(&refs, &layout);
    assert!(expected.iter().flatten().any(|s| *s == 1) && expected.iter().flatten().any(|s| *s == -1));
    let before = tch::get_num_threads();
    for threads in [1, 2, 5] {
        tch::set_num_threads(threads);
        assert_eq!(as_bytes(&aggregate(&refs, &layout, Device::Cpu).unwrap()), expected);
        refs.rotate_left(2);
        refs.swap(0, 3);
    }
    tch::set_num_threads(before);
}

#[test]
fn it_is_the_sign_of_the_mean_of_normalised_peers() {
    // The reference's formula in float64: v / |v|, mean over the contributors, inverse DCT, sign.
    let layout = layout();
    let peers: Vec<_> = (0..3).map(|i| peer(&layout, i)).collect();
    let refs: Vec<&[SparseTensor]> = peers.iter().map(Vec::as_slice).collect();
    let update = as_bytes(&aggregate(&refs, &layout, Device::Cpu).unwrap());
    let (mut agree, mut all) = (0, 0);
    for (index, t) in layout.tensors().iter().enumerate() {
        let (h, w) = (t.chunk_rows, t.chunk_cols);
        let (rows, cols) = (dct::basis(h), dct::basis(w));
        for chunk in 0..t.chunks() {
            let mut sums = vec![(0f64, 0f64); h * w];
            for peer in &peers {
                let p = &peer[index];
                let real = |c: &u8| f64::from(coefficient::decode(*c, p.exponent));
                let norm = p.codes.iter().map(|c| real(c).powi(2)).sum::<f64>().sqrt();
                for i in chunk * t.kept..(chunk + 1) * t.kept {
                    let at = &mut sums[usize::from(p.positions[i])];
                    *at = (at.0 + real(&p.codes[i]) / norm, at.1 + 1.0);
                }
            }
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                let term =
                    |i: usize| sums[i].0 / sums[i].1.max(1.0) * rows[y * h + i / w] * cols[x * w + i % w];
                let sum: f64 = (0..h * w).map(term).sum();
                let (cy, cx) = (chunk / t.grid_cols(), chunk % t.grid_cols());
                all += 1;
                agree +=
                    u64::from(f64::from(update[index][(cy * h + y) * t.cols + cx * w + x]) == sum.signum());
            }
        }
    }
    assert!(agree * 1000 >= all * 998, "{agree} of {all}");
}

#[test]
fn a_peer_of_zeros_changes_nothing_and_zeros_alone_give_no_update() {
    let layout = layout();
    let honest = peer(&layout, 3);
    let mut zeros = peer(&layout, 4);
    zeros.iter_mut().for_each(|t| t.codes.fill(0));
    let alone = as_bytes(&peer_update(&honest, &layout, Device::Cpu).unwrap());
    assert_eq!(as_bytes(&aggregate(&[&honest, &zeros], &layout, Device::Cpu).unwrap()), alone);
    assert!(as_bytes(&peer_update(&zeros, &layout, Device::Cpu).unwrap()).iter().flatten().all(|s| *s == 0));
}

#[test]
fn a_louder_peer_is_not_heard_more() {
    let layout = layout();
    let (a, b) = (peer(&layout, 5), peer(&layout, 6));
    let mut loud = b.clone();
    loud.iter_mut().for_each(|t| t.exponent += 40);
    let update = |peers: &[&[SparseTensor]]| as_bytes(&aggregate(peers, &layout, Device::Cpu).unwrap());
    assert_eq!(update(&[&a, &b]), update(&[&a, &loud]));
    assert_ne!(update(&[&a, &b]), update(&[&a]));
}

#[test]
fn misfits_are_refused() {
    let layout = layout();
    let good = peer(&layout, 1);
    assert_eq!(aggregate(&[], &layout, Device::Cpu).unwrap_err(), AggregateError::NoPeers);
    let many = vec![good.as_slice(); MAX_PEERS + 1];
    assert_eq!(aggregate(&many, &layout, Device::Cpu).unwrap_err(), AggregateError::TooManyPeers(513));
    let misfit = |tensors: &[SparseTensor]| {
        matches!(peer_update(tensors, &layout, Device::Cpu), Err(AggregateError::Misfit(_)))
    };
    assert!(misfit(&good[..3]));
    let mut wrong = good.clone();
    wrong[1].positions[0] = 48 * 40;
    assert!(misfit(&wrong));
    wrong = good.clone();
    wrong[2].codes.pop();
    assert!(misfit(&wrong));
}

#[test]
fn the_step_is_exact() {
    let parameters = [("p".to_owned(), Tensor::from_slice(&[0.1f32, 0.2, 0.3]).set_requires_grad(true))];
    apply(&parameters, &[Tensor::from_slice(&[1i8, 0, -1])], 0.003);
    let step = 0.003f64 as f32;
    let found = Vec::<f32>::try_from(parameters[0].1.detach()).unwrap();
    assert_eq!(found, [0.1 - step, 0.2, 0.3 + step]);
}

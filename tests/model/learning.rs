//! Whether the parts learn together: honest DeMo peers on real text, in one process.

use std::{fs, path::PathBuf, time::Instant};
use tch::{Device, Tensor};
use templar::{
    aggregate::{aggregate, apply},
    codec::Rule,
    compress::ErrorFeedback,
    gradient::{Layout, SparseTensor},
    manifest::{Manifest, ManifestFile},
    model::{Llama, parameter_shapes},
    train::{batch, local_step},
};

/// Rust sources of the cargo registry, up to `limit` bytes, in the order of their paths.
fn text(limit: usize) -> Vec<u8> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|h| h.join(".cargo"))).unwrap();
    let mut folders = vec![home.join("registry/src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if path.extension().is_some_and(|e| e == "rs") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    // Files from all over, so that a few megabytes are varied.
    let stride = (files.len() / 400).max(1);
    let mut text = Vec::with_capacity(limit);
    for file in files.iter().step_by(stride) {
        text.extend(fs::read(file).unwrap().into_iter().take(40_000));
    }
    text.truncate(limit);
    text
}

struct Corpus {
    text: Vec<u8>,
    length: usize,
    state: u64,
}

impl Corpus {
    /// Random sequences of the first nine tenths, or of the last tenth, which nobody trains on.
    fn draw(&mut self, count: usize, held_out: bool) -> Tensor {
        let border = self.text.len() / 10 * 9;
        let range = if held_out { border..self.text.len() - self.length } else { 0..border - self.length };
        let sequences: Vec<&[u8]> = (0..count)
            .map(|_| {
                self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = range.start + (self.state >> 20) as usize % range.len();
                &self.text[at..at + self.length]
            })
            .collect();
        batch(&sequences, Device::Cpu).unwrap()
    }
}

/// Mean held-out loss before each window and after the last.
fn learn(manifest: &Manifest, peers: usize, windows: u64) -> Vec<f64> {
    tch::set_num_threads(1);
    let mut corpus =
        Corpus { text: text(8 << 20), length: manifest.model.sequence_length as usize + 1, state: 1 };
    let mut model = Llama::new(&manifest.model, manifest.seed, Device::Cpu);
    let layout = Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, 2).unwrap();
    let mut miners: Vec<_> = (0..peers).map(|_| ErrorFeedback::new(&layout)).collect();
    let held_out = corpus.draw(128, true);
    let held_out_loss = |model: &Llama| {
        let losses = model.sequence_losses(&held_out, 64).unwrap();
        losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64
    };
    let mut losses = vec![held_out_loss(&model)];
    for window in 0..windows {
        let start = Instant::now();
        let mut sent: Vec<Vec<SparseTensor>> = Vec::new();
        for miner in &mut miners {
            let tokens = corpus.draw(manifest.train.sequences(), false);
            let step = local_step(&mut model, &tokens, manifest.train.micro_batch).unwrap();
            sent.push(miner.encode(&step.gradients).unwrap());
        }
        let mined = start.elapsed().as_secs_f64() / peers as f64;
        let sent: Vec<&[SparseTensor]> = sent.iter().map(Vec::as_slice).collect();
        let update = aggregate(Rule::Sign, &sent, &layout, Device::Cpu).unwrap();
        apply(model.parameters(), &update, manifest.outer.step(window));
        losses.push(held_out_loss(&model));
        println!("window {window}: {:.3} ({mined:.2} s a miner)", losses[losses.len() - 1]);
    }
    losses
}

#[test]
fn honest_peers_learn() {
    let manifest = ManifestFile::preset("local").unwrap().parsed;
    let full = std::env::var_os("TEMPLAR_FULL_TESTS").is_some();
    let (peers, windows, fall) = if full { (6, 20, 0.3) } else { (2, 6, 0.1) };
    let losses = learn(&manifest, peers, windows);
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < first * (1.0 - fall), "{first} {last}");
}

//! Does the pay follow the work in real training? The default localnet's model, four honest miners, one that does half of the work,
//! one that trains on other data and one that computes everything and sends random numbers, judged by the default rules and by the
//! paper's on the same measurements.
//!
//! `TEMPLAR_FULL_TESTS=1 cargo test --test gauntlet_training -- --nocapture` runs 20 seeds of 30 windows and
//! prints the table of `docs/gauntlet.md`; the short form is one seed of 12.
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use tch::{Device, Tensor};
use templar::{
    aggregate,
    codec::Rule,
    compress::ErrorFeedback,
    data::{self, Corpus, Sequences},
    gauntlet::{
        Evidence, Gauntlet, Hotkey, Observation, Peer, ScoreRecord,
        declared::{Spread, distance},
        overlap,
        proof::Claim,
        stage1::Stage1,
    },
    gradient::{Layout, SparseTensor, sketch_seed},
    manifest::{GauntletConfig, Manifest, ManifestFile, Proof, RatingUse},
    model::{Llama, parameter_shapes},
    train::sketches,
};
use templar_codec::sketch::Sums;

const HONEST: usize = 4;
const HALF: usize = 4;
const LAZY: usize = 5;
const NOISE: usize = 6;
const PEERS: usize = 7;
/// Windows within which other data is to be found out, and from which pay is to be even.
const FOUND: usize = 10;

fn key(n: usize) -> Hotkey {
    Hotkey::from([n as u8 + 1; 32])
}

/// The paper's rules, with the reference's constants.
fn paper(local: &GauntletConfig) -> GauntletConfig {
    GauntletConfig {
        proof: Proof::Sign,
        audit: None,
        proof_threshold: 0.0,
        proof_warmup: 0,
        rating: RatingUse::Ordinal,
        rating_beta: 7.0,
        overlap_max: 2.0,
        ..local.clone()
    }
}

struct Run {
    manifest: Manifest,
    run: [u8; 32],
    sequences: Sequences,
    layout: Layout,
    model: Llama,
    demos: Vec<ErrorFeedback>,
    gauntlets: [Gauntlet; 2],
    rng: StdRng,
    seed: u64,
}

impl Run {
    fn new(seed: u64, windows: usize, corpus: &Corpus) -> Self {
        let mut manifest = ManifestFile::preset("local").unwrap().parsed;
        manifest.outer.decay_windows = windows as u64 + 5;
        let sequences = corpus
            .sequences(manifest.model.sequence_length as usize, manifest.data.held_out_sequences)
            .unwrap();
        let layout = Layout::new(
            &parameter_shapes(&manifest.model),
            &manifest.compress,
            manifest.gauntlet.sync_samples,
        )
        .unwrap();
        let model = Llama::new(&manifest.model, seed, Device::Cpu);
        let demo = |_| ErrorFeedback::new(&layout);
        let demos = (0..PEERS).map(demo).collect();
        let peers: Vec<_> =
            (0..PEERS).map(|n| Peer { hotkey: key(n), uid: n as u16, registered_at_block: 0 }).collect();
        let gauntlets = [manifest.gauntlet.clone(), paper(&manifest.gauntlet)].map(|rules| {
            let mut gauntlet = Gauntlet::new(&rules);
            gauntlet.roster(&peers);
            gauntlet
        });
        let run = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        Self {
            manifest,
            run,
            sequences,
            layout,
            model,
            demos,
            gauntlets,
            rng: StdRng::seed_from_u64(seed),
            seed,
        }
    }

    fn tokens(&self, indices: &[u64]) -> Tensor {
        let ids = self.sequences.batch(indices).unwrap();
        Tensor::from_slice(&ids).view([indices.len() as i64, -1])
    }

    fn losses(&self, tokens: &Tensor) -> Vec<f64> {
        self.model.sequence_losses(tokens, 32).into_iter().map(f64::from).collect()
    }

    fn held_out(&self) -> f64 {
        let held_out: Vec<u64> = self.sequences.held_out().collect();
        let losses = self.losses(&self.tokens(&held_out));
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    /// What a peer sends, and the sketches that it declares.
    fn upload(&mut self, n: usize, window: u64) -> (Vec<SparseTensor>, Vec<Vec<Sums>>) {
        let count = self.manifest.train.sequences();
        let population = self.sequences.training();
        let mut indices = if n == LAZY {
            data::random(&self.rng.random(), window, count, population)
        } else {
            data::assigned(&self.run, key(n).as_ref(), window, count, population)
        };
        indices.truncate(claimed(n, count));
        let tokens = self.tokens(&indices);
        let (micro_batch, seed) = (self.manifest.train.micro_batch, sketch_seed(&self.run, window));
        let (step, sketches) =
            sketches::sketched_step_while(&mut self.model, &tokens, micro_batch, seed, || true).unwrap();
        let mut tensors = self.demos[n].encode(&step.gradients).unwrap();
        if n == NOISE {
            self.scramble(&mut tensors);
        }
        (tensors, sketches)
    }

    /// The sketches of some sequences' micro-batches, as a validator computes them.
    fn sketches(&mut self, sequences: &[u64], window: u64) -> Vec<Vec<Sums>> {
        let (micro_batch, seed) = (self.manifest.train.micro_batch, sketch_seed(&self.run, window));
        let parts: Vec<Tensor> = sequences.chunks(micro_batch).map(|part| self.tokens(part)).collect();
        parts.iter().map(|tokens| sketches::sketch(&mut self.model, tokens, seed).unwrap()).collect()
    }

    /// How far the drawn ones of a peer's sketches are from what comes out.
    fn audits(
        &mut self,
        n: usize,
        window: u64,
        seed: &[u8; 32],
        sketches: &[Vec<Sums>],
        spread: &Spread,
    ) -> Vec<f64> {
        let (rules, micro_batch) = (self.manifest.gauntlet.audit.unwrap(), self.manifest.train.micro_batch);
        let assigned = self.assigned(n, window);
        let drawn = data::audited(seed, key(n).as_ref(), sketches.len(), rules.micro_batches);
        let audit = |number: usize| {
            let part = assigned.chunks(micro_batch).nth(number).unwrap();
            distance(&sketches[number], &self.sketches(part, window)[0], spread)
        };
        drawn.into_iter().map(audit).collect()
    }

    fn scramble(&mut self, tensors: &mut [SparseTensor]) {
        for (tensor, shape) in tensors.iter_mut().zip(self.layout.tensors()) {
            for chunk in tensor.positions.chunks_mut(shape.kept) {
                let mut drawn = std::collections::BTreeSet::new();
                while drawn.len() < chunk.len() {
                    drawn.insert(self.rng.random_range(0..shape.chunk_len()) as u16);
                }
                chunk.iter_mut().zip(drawn).for_each(|(slot, position)| *slot = position);
            }
            tensor.codes.iter_mut().for_each(|code| *code = self.rng.random());
        }
    }

    /// One window; the records under each set of rules.
    fn window(&mut self, window: u64) -> [Vec<ScoreRecord>; 2] {
        let (uploads, declared): (Vec<_>, Vec<_>) = (0..PEERS).map(|n| self.upload(n, window)).unzip();
        let hotkeys: Vec<Hotkey> = (0..PEERS).map(key).collect();
        let candidates: Vec<_> = hotkeys
            .iter()
            .zip(&uploads)
            .map(|(hotkey, tensors)| overlap::Candidate { hotkey, tensors })
            .collect();
        let rules = self.manifest.gauntlet.clone();
        let seed = *blake3::hash(&[self.run.as_slice(), &window.to_le_bytes()].concat()).as_bytes();
        let overlapping = overlap::find(&candidates, &self.layout, &seed, rules.overlap_limit());
        let set = self.gauntlets[0].aggregate_set_without(&hotkeys, &overlapping, rules.top_g, &seed);
        let step = self.manifest.outer.step(window);
        let random = data::random(&seed, window, rules.random_sequences, self.sequences.training());
        let spread = Spread::of(&self.sketches(&random, window)).unwrap();
        let random = self.tokens(&random);
        let random_before = self.losses(&random);
        let before = self.model.snapshot();
        let observations: Vec<Observation> = (0..PEERS)
            .map(|n| {
                let audits = self.audits(n, window, &seed, &declared[n], &spread);
                let mut assigned = self.assigned(n, window);
                assigned.truncate(claimed(n, assigned.len()));
                let own = data::judged(&seed, key(n).as_ref(), &assigned, rules.own_sequences);
                let own = self.tokens(&own);
                let own_before = self.losses(&own);
                let mut after = |peers: &[&[SparseTensor]]| {
                    let update = aggregate::aggregate(Rule::Sign, peers, &self.layout, Device::Cpu).unwrap();
                    aggregate::apply(self.model.parameters(), &update, step * rules.evaluation_step);
                    let losses = (self.losses(&own), self.losses(&random));
                    self.model.restore(&before);
                    losses
                };
                let (own_after, random_after) = after(&[&uploads[n]]);
                let others = (0..PEERS).filter(|other| *other != n && set.contains(&key(*other)));
                let others: Vec<&[SparseTensor]> = others.map(|other| uploads[other].as_slice()).collect();
                let (own_comparator, random_comparator) =
                    if others.is_empty() { Default::default() } else { after(&others) };
                Observation {
                    hotkey: key(n),
                    stage1: Stage1::Accepted { seconds: 1, steps_behind: 0.0 },
                    evidence: Some(Evidence {
                        own_before,
                        own_after,
                        own_comparator,
                        random_before: random_before.clone(),
                        random_after,
                        random_comparator,
                        audits,
                    }),
                    aggregated: set.contains(&key(n)),
                }
            })
            .collect();
        let usual = self.manifest.train.sequences();
        let claim = |n| Claim { claimed: claimed(n, usual) as u64, usual: usual as u64 };
        let claims = (0..PEERS).map(|n| (key(n), claim(n))).collect();
        let records = [0, 1].map(|rules| {
            self.gauntlets[rules].update_with(window, step, &observations, &overlapping, &claims).unwrap()
        });
        let chosen: Vec<&[SparseTensor]> =
            (0..PEERS).filter(|n| set.contains(&key(*n))).map(|n| uploads[n].as_slice()).collect();
        let update = aggregate::aggregate(Rule::Sign, &chosen, &self.layout, Device::Cpu).unwrap();
        aggregate::apply(self.model.parameters(), &update, step);
        records
    }

    fn assigned(&self, n: usize, window: u64) -> Vec<u64> {
        let count = self.manifest.train.sequences();
        data::assigned(&self.run, key(n).as_ref(), window, count, self.sequences.training())
    }
}

/// The sequences that a peer says to have trained on.
fn claimed(n: usize, assigned: usize) -> usize {
    if n == HALF { assigned / 2 } else { assigned }
}

/// What one seed showed under one set of rules.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// The first window from which other data stays under half of the worst honest peer's pay.
    found: usize,
    /// Best over worst pay of honest peers at the end.
    spread: f64,
    /// Pay of half of the work at the end, of other data, and of random numbers, over the mean honest peer's.
    half: f64,
    lazy: f64,
    noise: f64,
}

fn shown(shares: &[[f64; PEERS]]) -> Shown {
    let worst = |s: &[f64; PEERS]| s[..HONEST].iter().copied().fold(f64::MAX, f64::min);
    let best = |s: &[f64; PEERS]| s[..HONEST].iter().copied().fold(0.0, f64::max);
    let paid = |s: &[f64; PEERS]| s[LAZY] >= 0.5 * worst(s);
    let found = shares.iter().rposition(paid).map_or(0, |last| last + 1);
    let end = shares.last().unwrap();
    let mean = end[..HONEST].iter().sum::<f64>() / HONEST as f64;
    let [half, lazy, noise] = [HALF, LAZY, NOISE].map(|n| end[n] / mean);
    Shown { found, spread: best(end) / worst(end), half, lazy, noise }
}

fn seed_of(seed: u64, windows: usize, corpus: &Corpus) -> [Shown; 2] {
    let mut run = Run::new(seed, windows, corpus);
    let start = run.held_out();
    let mut shares = [Vec::new(), Vec::new()];
    let mut t = BTreeMap::<u16, Vec<f64>>::new();
    for window in 0..windows as u64 {
        let records = run.window(window);
        for record in &records[0] {
            t.entry(record.uid).or_default().push(record.judged.unwrap().t);
        }
        for (shares, records) in shares.iter_mut().zip(&records) {
            let mut row = [0.0; PEERS];
            records.iter().for_each(|record| row[usize::from(record.uid)] = record.share);
            shares.push(row);
        }
    }
    // For whoever asks how `t` is distributed.
    t.values().for_each(|t| println!("t {seed} {t:.2?}"));
    let t: Vec<String> =
        t.values().map(|t| format!("{:.2}", t.iter().sum::<f64>() / windows as f64)).collect();
    let shown = shares.map(|shares| shown(&shares));
    println!(
        "seed {}: loss {start:.3} -> {:.3}, mean t {}; ours {:.3?}; paper {:.3?}",
        run.seed,
        run.held_out(),
        t.join(" "),
        shown[0],
        shown[1]
    );
    shown
}

#[test]
fn other_data_is_found_out_and_equal_peers_are_paid_alike() {
    let full = std::env::var_os("TEMPLAR_FULL_TESTS").is_some();
    let (seeds, windows) = if full { (20, 30) } else { (1, 12) };
    let folder = tempfile::tempdir().unwrap();
    Corpus::prepare(&data::default_sources().unwrap(), folder.path(), 8_000_000).unwrap();
    let corpus = Corpus::open(folder.path()).unwrap();
    let results: Vec<[Shown; 2]> = (1..=seeds).map(|n| seed_of(n, windows, &corpus)).collect();
    let found = results.iter().filter(|[ours, _]| ours.found <= FOUND).count();
    let even = results.iter().filter(|[ours, _]| ours.spread <= 1.1).count();
    let half = results.iter().filter(|[ours, _]| (0.4..=0.6).contains(&ours.half)).count();
    let paper = |good: fn(&Shown) -> bool| results.iter().filter(|[_, paper]| good(paper)).count();
    println!(
        "of {seeds} seeds: other data found within {FOUND} windows in {found} (paper's rule {}), honest peers paid within 10 % in {even} (paper's rule {}), half of the work paid 0.4 to 0.6 in {half} (paper's rule {})",
        paper(|s| s.found <= FOUND),
        paper(|s| s.spread <= 1.1),
        paper(|s| (0.4..=0.6).contains(&s.half))
    );
    assert!(20 * found >= 19 * seeds as usize, "other data was found in {found} of {seeds} only");
    assert!(!full || 20 * even >= 19 * seeds as usize, "honest pay was even in {even} of {seeds} only");
    assert!(
        !full || 20 * half >= 19 * seeds as usize,
        "half of the work was paid as such in {half} of {seeds} only"
    );
    assert!(results.iter().all(|[ours, _]| ours.noise < 0.1), "random numbers were paid");
    assert!(results.iter().filter(|[ours, _]| ours.lazy < 0.1).count() * 20 >= 19 * seeds as usize);
}

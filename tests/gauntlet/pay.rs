//! Does the pay follow the work? The default localnet's economy, a few hundred times over.
//!
//! Losses are drawn, not measured, with the strengths that real training of the default model showed:
//! an honest peer's counterfactual `t` has a mean of 1.2 to 2.2 a window and a spread of 1, everybody
//! else's a mean of 0; honest peers and `lazy` lower the loss on random data equally but for noise;
//! `noise` raises it. `cargo test --test gauntlet_pay -- --nocapture` prints the table of
//! `docs/gauntlet.md`.
use std::ops::{Range, RangeInclusive};

use rand::{Rng, SeedableRng, rngs::StdRng};
use templar::{
    gauntlet::{Evidence, Gauntlet, Hotkey, Observation, Peer, ScoreRecord, proof, stage1::Stage1},
    manifest::{GauntletConfig, ManifestFile, Proof, RatingUse},
};

const SEEDS: u64 = 200;
const SEQUENCES: usize = 64;

/// What a synthetic peer does.
#[derive(Clone, Copy)]
struct Worker {
    /// Mean of its counterfactual `t` in one window.
    t: f64,
    /// Mean drop of the loss on random data, in nats.
    drop: f64,
    /// Spread of that drop from window to window.
    luck: f64,
}

fn normal(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Losses such that `counterfactual_t` has the worker's mean and a spread of 1.
fn evidence(worker: &Worker, rng: &mut StdRng) -> Evidence {
    const COMMON: f64 = 0.01;
    const SPREAD: f64 = 0.006;
    let drop = worker.drop + worker.luck * normal(rng);
    // Own and random data both have 64 sequences; the differences are of two measured updates.
    let advantage = worker.t * (2.0 * 2.0 * SPREAD * SPREAD / SEQUENCES as f64).sqrt();
    let mut measure = |advantage: f64| {
        let (mut before, mut after, mut comparator) = (vec![], vec![], vec![]);
        for _ in 0..SEQUENCES {
            let base = 4.0 + 0.5 * normal(rng);
            before.push(base);
            after.push(base - drop - advantage + SPREAD * normal(rng));
            comparator.push(base - COMMON + SPREAD * normal(rng));
        }
        (before, after, comparator)
    };
    let (own_before, own_after, own_comparator) = measure(advantage);
    let (random_before, random_after, random_comparator) = measure(0.0);
    let audits = Vec::new();
    Evidence { own_before, own_after, own_comparator, random_before, random_after, random_comparator, audits }
}

fn key(n: usize) -> Hotkey {
    Hotkey::from([n as u8; 32])
}

/// All records of a run, window by window. The first worker is away in the windows of `away`.
fn run(
    config: &GauntletConfig,
    workers: &[Worker],
    windows: u64,
    away: &Range<u64>,
    rng: &mut StdRng,
) -> Vec<Vec<ScoreRecord>> {
    let mut gauntlet = Gauntlet::new(config);
    let peer = |n| Peer { hotkey: key(n), uid: n as u16, registered_at_block: 0 };
    gauntlet.roster(&(0..workers.len()).map(peer).collect::<Vec<_>>());
    (0..windows)
        .map(|window| {
            let observations: Vec<_> = workers
                .iter()
                .enumerate()
                .map(|(n, worker)| {
                    let here = n > 0 || !away.contains(&window);
                    let accepted = Stage1::Accepted { seconds: 0, steps_behind: 0.0 };
                    Observation {
                        hotkey: key(n),
                        stage1: if here { accepted } else { Stage1::Absent },
                        evidence: here.then(|| evidence(worker, rng)),
                        aggregated: here,
                    }
                })
                .collect();
            gauntlet.update(window, 1e-3, &observations).unwrap()
        })
        .collect()
}

/// What came of many runs of four honest peers, one `noise` and one `lazy`.
#[derive(Default)]
struct Outcome {
    /// Runs in which a saboteur's weight at the end is not below the worst honest one's.
    failures: u64,
    /// Runs in which an honest peer ends with weight 0.
    unpaid: u64,
    /// Best over worst honest share at the end, of each run.
    spread: Vec<f64>,
    /// A saboteur's share over the mean honest one's at the end, of each run.
    noise: Vec<f64>,
    lazy: Vec<f64>,
    /// The pay of the peer that was away over the mean of the other honest ones, of each run.
    away: Vec<f64>,
    /// The first window from which `lazy` stays under half the worst honest share.
    found: Vec<f64>,
}

fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

impl Outcome {
    fn of(config: &GauntletConfig, honest_t: RangeInclusive<f64>, windows: u64, away: Range<u64>) -> Self {
        let mut outcome = Self::default();
        for seed in 0..SEEDS {
            let mut rng = StdRng::seed_from_u64(seed);
            let drop = 0.01;
            let luck = 0.002;
            let mut workers: Vec<Worker> =
                (0..4).map(|_| Worker { t: rng.random_range(honest_t.clone()), drop, luck }).collect();
            workers.push(Worker { t: 0.0, drop: -0.01, luck });
            workers.push(Worker { t: 0.0, drop, luck });
            let history = run(config, &workers, windows, &away, &mut rng);

            let end = &history[history.len() - 1];
            let honest: Vec<f64> = end[..4].iter().map(|record| record.share).collect();
            let worst = quantile(&honest, 0.0);
            let least = end[..4].iter().map(|record| record.weight).min().unwrap();
            outcome.failures += u64::from(end[4..].iter().any(|record| record.weight >= least));
            outcome.unpaid += u64::from(least == 0);
            outcome.spread.push(quantile(&honest, 1.0) / worst);
            let mean = honest.iter().sum::<f64>() / 4.0;
            outcome.noise.push(end[4].share / mean);
            outcome.lazy.push(end[5].share / mean);
            outcome.away.push(honest[0] / ((mean * 4.0 - honest[0]) / 3.0));
            let late = history.iter().rposition(|records| {
                let worst = records[..4].iter().map(|record| record.share).fold(f64::INFINITY, f64::min);
                records[5].share >= worst / 2.0
            });
            outcome.found.push(late.map_or(0.0, |window| window as f64 + 1.0));
        }
        outcome
    }

    fn line(&self, name: &str) -> String {
        format!(
            "| {name} | {} of {SEEDS} | {} | {:.2} / {:.2} | {:.3} / {:.3} | {:.3} / {:.3} | {:.0} / {:.0} |",
            self.failures,
            self.unpaid,
            quantile(&self.spread, 0.5),
            quantile(&self.spread, 0.95),
            quantile(&self.noise, 0.5),
            quantile(&self.noise, 0.95),
            quantile(&self.lazy, 0.5),
            quantile(&self.lazy, 0.95),
            quantile(&self.found, 0.5),
            quantile(&self.found, 0.95),
        )
    }
}

/// The default run's rules with the proof that is estimated from losses alone.
fn local() -> GauntletConfig {
    ManifestFile::preset("local").unwrap().parsed.gauntlet.without_audits()
}

/// The paper's rules in a run of the default's length.
fn paper() -> GauntletConfig {
    GauntletConfig {
        proof: Proof::Sign,
        proof_alpha: 0.05,
        proof_threshold: 0.0,
        proof_warmup: 0,
        rating: RatingUse::Ordinal,
        rating_beta: 7.0,
        ..local()
    }
}

const NOBODY_AWAY: Range<u64> = 0..0;
const HEADER: &str = "| run | saboteur paid as honest | honest unpaid | honest best / worst (median, 95 %) \
                      | noise / honest | lazy / honest | window after which lazy is found |";

#[test]
fn synthetic_evidence_has_the_strength_it_is_given() {
    let mut rng = StdRng::seed_from_u64(7);
    for mean in [0.0, 1.2, 2.2] {
        let worker = Worker { t: mean, drop: 0.01, luck: 0.002 };
        let t: Vec<f64> = (0..2000).map(|_| proof::counterfactual_t(&evidence(&worker, &mut rng))).collect();
        let average = t.iter().sum::<f64>() / 2000.0;
        let spread = (t.iter().map(|t| (t - average).powi(2)).sum::<f64>() / 1999.0).sqrt();
        // Dividing by a measured spread makes it a little larger.
        assert!((average - mean).abs() < 0.12 && (spread - 1.0).abs() < 0.12, "{average} +- {spread}");
    }
}

#[test]
fn saboteurs_earn_less_than_the_worst_honest_peer() {
    let seen = Outcome::of(&local(), 1.7..=1.7, 20, NOBODY_AWAY);
    let unequal = Outcome::of(&local(), 1.2..=2.2, 20, NOBODY_AWAY);
    let weak = Outcome::of(&local(), 1.2..=1.2, 20, NOBODY_AWAY);
    println!("{HEADER}");
    println!("{}", seen.line("20 windows, honest t 1.7"));
    println!("{}", unequal.line("20 windows, honest t 1.2 to 2.2: unequal work"));
    println!("{}", weak.line("20 windows, honest t 1.2"));
    // At most one run in a hundred; none of these where honest peers are as strong as they were seen.
    assert!(seen.failures == 0 && seen.unpaid == 0 && unequal.failures == 0 && unequal.unpaid == 0);
    assert!(100 * weak.failures <= SEEDS && 100 * weak.unpaid <= SEEDS);
    assert!(quantile(&seen.spread, 0.5) < 1.15 && quantile(&seen.spread, 0.95) < 1.6);
    assert!(quantile(&seen.lazy, 0.5) < 0.01 && quantile(&seen.lazy, 0.95) < 0.1);
    assert!(quantile(&seen.noise, 0.95) < 0.05);
    assert!(quantile(&seen.found, 0.5) < 5.0 && quantile(&seen.found, 0.95) < 15.0);
}

#[test]
fn equal_peers_are_paid_alike_after_thirty_windows() {
    let outcome = Outcome::of(&local(), 1.6..=1.6, 30, NOBODY_AWAY);
    println!("{HEADER}\n{}", outcome.line("30 windows, honest t 1.6"));
    assert!(quantile(&outcome.spread, 0.95) < 1.25);
    assert_eq!(outcome.failures, 0);
}

#[test]
fn an_honest_peer_that_was_away_is_paid_again() {
    let outcome = Outcome::of(&local(), 1.7..=1.7, 20, 9..12);
    println!("{HEADER}\n{}", outcome.line("as first, one honest peer away for 3 windows"));
    println!("its pay over that of the others: median {:.2}", quantile(&outcome.away, 0.5));
    assert!(100 * outcome.failures <= SEEDS && outcome.unpaid == 0);
    assert!(quantile(&outcome.away, 0.5) > 0.5);
}

#[test]
fn the_papers_rule_leaves_it_to_luck() {
    let outcome = Outcome::of(&paper(), 1.2..=2.2, 20, NOBODY_AWAY);
    println!("{HEADER}\n{}", outcome.line("the paper's rule"));
    // Should it ever do as well as the default, the default is not worth its extra forward pass.
    assert!(outcome.failures > SEEDS / 4);
}

#[test]
fn a_wide_spread_of_performances_keeps_luck_out_of_the_pay() {
    println!("{HEADER}");
    let spreads = [7.0, 20.0, 40.0].map(|rating_beta| {
        let outcome = Outcome::of(&GauntletConfig { rating_beta, ..local() }, 1.7..=1.7, 20, NOBODY_AWAY);
        println!("{}", outcome.line(&format!("beta {rating_beta}")));
        quantile(&outcome.spread, 0.5)
    });
    assert!(spreads[2] < spreads[0] && spreads[2] < spreads[1]);
}

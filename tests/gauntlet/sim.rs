//! The economy of `tests/sim/everyone.toml`: whether pay follows work among 250 peers, and which defence is good for
//! what. `TEMPLAR_FULL_TESTS=1 cargo test --test sim -- --nocapture` prints the tables of `docs/gauntlet.md`.
use std::{collections::BTreeMap, time::Instant};
use templar::{
    data::{self, Corpus},
    sim::{Class, Defence, History, Outcome, Scenario, run, text::Text},
};

const EVERYONE: &str = include_str!("../sim/everyone.toml");
const TINY: &str = include_str!("../sim/tiny.toml");
const FEW: &str = include_str!("../sim/few.toml");

fn full() -> bool {
    std::env::var_os("TEMPLAR_FULL_TESTS").is_some()
}

fn text(scenario: &Scenario) -> Text {
    let folder = tempfile::tempdir().unwrap();
    Corpus::prepare(&data::default_sources().unwrap(), folder.path(), scenario.text_bytes).unwrap();
    Text::new(&Corpus::open(folder.path()).unwrap().token_bytes().unwrap(), scenario.sequence_length).unwrap()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn simulate(scenario: &Scenario, text: &Text) -> (History, Outcome) {
    let history = run(scenario, text, threads(), |_, _| ()).unwrap();
    let outcome = Outcome::new(&history, scenario.settle);
    (history, outcome)
}

fn print(outcome: &Outcome) {
    for kind in &outcome.kinds {
        println!(
            "| {} | {:?} | {} | {:.3} | {:.3} | {:.3} | {:.2?} | {:?} |",
            kind.kind,
            kind.class,
            kind.uids,
            kind.pay_per_uid_vs_honest_median,
            kind.work_per_uid_vs_honest_median,
            kind.benefit_per_uid_vs_honest_median,
            kind.mean_t,
            kind.windows_to_detection
        );
    }
    println!(
        "pay and contribution {:.3}, pay and work {:.3}, loss {:.4}",
        outcome.spearman, outcome.spearman_work, outcome.loss
    );
}

#[test]
fn everyone_is_paid_for_what_they_do() {
    let mut scenario = Scenario::parse(EVERYONE).unwrap();
    if let Some(seed) = std::env::var("TEMPLAR_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        scenario.seed = seed;
    }
    if !full() {
        scenario.windows = 120;
    }
    let text = text(&scenario);
    let start = Instant::now();
    let (_, outcome) = simulate(&scenario, &text);
    let (_, clean) = simulate(&scenario.clean(), &text);
    let ratio = outcome.loss / clean.loss;
    print(&outcome);
    println!("seed {}: {:.1?}, loss {ratio:.4} of that without attackers", scenario.seed, start.elapsed());
    let peers: usize = outcome.kinds.iter().map(|kind| kind.uids).sum();
    let honest: usize = outcome.kinds.iter().filter(|k| k.class == Class::Honest).map(|k| k.uids).sum();
    assert_eq!((peers, honest), (250, 200));
    let mut shortfalls = outcome.shortfalls(Some(ratio));
    if !full() {
        // Ninety windows are not enough for the last tenth of a rank correlation.
        shortfalls.retain(|s| !s.contains("rank correlation") || outcome.spearman < 0.75);
    }
    assert_eq!(shortfalls, [""; 0], "seed {}", scenario.seed);
    // Who does more of its work is paid more.
    let pay: Vec<f64> = outcome
        .kinds
        .iter()
        .filter(|k| k.class == Class::Honest)
        .map(|k| k.pay_per_uid_vs_honest_median)
        .collect();
    assert!(pay.is_sorted(), "{pay:?}");
}

#[test]
fn noise_does_little_harm_where_there_are_places_for_all() {
    for seed in 1..=3 {
        let mut scenario = Scenario::parse(FEW).unwrap();
        scenario.seed = seed;
        let text = text(&scenario);
        let (_, with) = simulate(&scenario, &text);
        let (_, clean) = simulate(&scenario.clean(), &text);
        let ratio = with.loss / clean.loss;
        println!("seed {seed}: loss {ratio:.4} of that without attackers");
        assert!(ratio < 1.007, "seed {seed}: {ratio}");
    }
}

/// What fails without some defences, and what each kind is paid. The loss is compared with that of the run without
/// attackers where `compare` says so.
fn lost(
    without: &[Defence],
    windows: u64,
    compare: bool,
    text: &Text,
) -> (Vec<String>, BTreeMap<String, f64>) {
    let mut scenario = Scenario::parse(EVERYONE).unwrap();
    scenario.windows = windows;
    scenario.without = without.to_vec();
    let (_, outcome) = simulate(&scenario, text);
    let ratio = compare.then(|| outcome.loss / simulate(&scenario.clean(), text).1.loss);
    let pay = outcome.kinds.iter().map(|k| (k.kind.clone(), k.pay_per_uid_vs_honest_median)).collect();
    let mut shortfalls = outcome.shortfalls(ratio);
    // So few windows are not enough for the last tenths of a rank correlation.
    shortfalls.retain(|s| !s.contains("rank correlation"));
    (shortfalls, pay)
}

#[test]
fn each_defence_is_good_for_something() {
    let windows = if full() { 150 } else { 80 };
    let text = text(&Scenario::parse(EVERYONE).unwrap());
    let with = lost(&[], windows, true, &text).0;
    println!("with all: {with:?}");
    assert_eq!(with, [""; 0]);
    let mut proof_off = BTreeMap::new();
    for (without, victim) in [
        (Defence::Proof, "other data"),
        (Defence::Sync, "old model"),
        (Defence::PutWindow, "late"),
        (Defence::PlackettLuce, "memoriser"),
        (Defence::NormClip, "loss"),
    ] {
        let (lost, pay) = lost(&[without], windows, without == Defence::NormClip, &text);
        println!("without {without:?}: {lost:#?}");
        if without == Defence::Proof {
            proof_off = pay;
        }
        assert!(lost.iter().any(|shortfall| shortfall.contains(victim)), "{without:?}: {lost:?}");
    }
    // The search for copies is a second lock: every copy fails the proof as well. Alone it changes no pay; where
    // the proof is weak, it is what stands.
    let (lost_overlap, _) = lost(&[Defence::Overlap], windows, false, &text);
    let (_, both_off) = lost(&[Defence::Proof, Defence::Overlap], windows, false, &text);
    println!(
        "without Overlap: {lost_overlap:?}; copier without Proof {}, without both {}",
        proof_off["copier"], both_off["copier"]
    );
    for copier in ["copier", "thief of slow uploads"] {
        assert!(proof_off[copier] < 0.1, "{copier}: {}", proof_off[copier]);
        assert!(both_off[copier] > 0.5, "{copier}: {}", both_off[copier]);
    }
}

#[test]
fn the_same_scenario_gives_the_same_run_on_any_number_of_threads() {
    let scenario = Scenario::parse(TINY).unwrap();
    let text = text(&scenario);
    let [one, three] = [1, 3].map(|threads| {
        let history = run(&scenario, &text, threads, |_, _| ()).unwrap();
        let outcome = Outcome::new(&history, scenario.settle);
        (history.losses, format!("{outcome:?}"))
    });
    assert_eq!(one, three);
}

#[test]
fn what_is_wrong_with_a_scenario_is_named() {
    let wrong = [
        ("settle = 2", "settle = 6", "the scenario's settle must be less than windows"),
        (
            "conduct = \"honest\"",
            "conduct = \"favours\"",
            "the scenario's validators must have an honest one: it leads",
        ),
        ("kind = \"random\"", "kind = \"random\"\nfails = 2.0", "the scenario's peers.fails must be 0 to 1"),
        ("kind = \"random\"", "kind = \"nobody\"", "not a scenario"),
        (
            "kind = \"random\"",
            "kind = \"random\"\ncuont = 3",
            "the scenario's peers of kind `random` have no `cuont`",
        ),
        ("count = 4", "cuont = 4", "not a scenario"),
        ("[outer]", "[gauntlet]\nno_such_rule = 1\n[outer]", "not a scenario"),
    ];
    for (good, bad, message) in wrong {
        let error = Scenario::parse(&TINY.replacen(good, bad, 1)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

//! The economy of `tests/sim/everyone.toml`: whether pay follows work among 250 peers, and which defence is good for
//! what. `TEMPLAR_FULL_TESTS=1 cargo test --test sim -- --nocapture` prints the tables of `docs/gauntlet.md`.
use std::{collections::BTreeMap, time::Instant};
use templar::manifest::ManifestFile;
use templar::sim::{
    Class, Conduct, Defence, History, Kind, KindOutcome, Outcome, PeerSpec, Scenario, ValidatorSpec, run,
    text::{self, Text},
};

const EVERYONE: &str = include_str!("../sim/everyone.toml");
const TINY: &str = include_str!("../sim/tiny.toml");
const SIXTEEN: &str = include_str!("../sim/sixteen.toml");
const FEW: &str = include_str!("../sim/few.toml");

fn full() -> bool {
    std::env::var_os("TEMPLAR_FULL_TESTS").is_some()
}

fn text(scenario: &Scenario) -> Text {
    Text::new(&text::made(scenario.seed, scenario.text_bytes), scenario.sequence_length).unwrap()
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
            "| {} | {:?} | {} | {:.3} | {:.3} | {:.3} | {:.2?} | {:?} | {:.2} {:.2}",
            kind.kind,
            kind.class,
            kind.uids,
            kind.pay_per_uid_vs_honest_median,
            kind.work_per_uid_vs_honest_median,
            kind.benefit_per_uid_vs_honest_median,
            kind.mean_t,
            kind.windows_to_detection,
            kind.mean_strength,
            kind.mean_rating
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
    assert_eq!((peers, honest), (250, 180));
    let mut shortfalls = outcome.shortfalls(Some(ratio));
    if !full() {
        // Ninety windows are not enough for the last of a rank correlation.
        shortfalls.retain(|s| !s.contains("rank correlation") || outcome.spearman_work < 0.8);
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
    paid_as_worked(&outcome);
    none_of_the_worthless_is_aggregated(&outcome);
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
        none_of_the_worthless_is_aggregated(&with);
    }
}

/// Sixteen peers, of which the honest ones alone make eight, and sixteen with the momentum of `templar-1`.
#[test]
fn work_is_paid_as_it_is_in_small_runs() {
    let sixteen = Scenario::parse(SIXTEEN).unwrap();
    let mut eight = sixteen.clean();
    eight.peers[0].count = 2;
    let mut slow = sixteen.clone();
    slow.compress.momentum = ManifestFile::preset("templar-2").unwrap().parsed.compress.momentum;
    let seeds = if full() { 1..=5 } else { 1..=1 };
    for (mut scenario, seed) in
        [sixteen, eight, slow].into_iter().flat_map(|s| seeds.clone().map(move |n| (s.clone(), n)))
    {
        scenario.seed = seed;
        if !full() {
            scenario.windows = 150;
        }
        let text = text(&scenario);
        let (_, outcome) = simulate(&scenario, &text);
        print(&outcome);
        let mut shortfalls = outcome.shortfalls(None);
        shortfalls.retain(|s| !s.contains("rank correlation"));
        assert_eq!(shortfalls, [""; 0], "seed {seed}");
        paid_as_worked(&outcome);
    }
}

/// Yuma consensus cuts a weight that less than half of the stake gives, whoever copies it.
#[test]
fn a_validator_without_half_of_the_stake_pays_no_friend() {
    for (friend, copies, is_paid) in [(0.45, 0.3, false), (0.49, 0.0, false), (0.55, 0.3, true)] {
        let mut scenario = Scenario::parse(SIXTEEN).unwrap();
        scenario.windows = if full() { 150 } else { 60 };
        scenario.peers.push(PeerSpec { kind: Kind::Friend, ..scenario.peers[0].clone() });
        let validator = |stake, conduct| ValidatorSpec { stake: 1000.0 * stake, conduct, misses: 0.02 };
        scenario.validators = vec![
            validator(1.0 - friend - copies, Conduct::Honest),
            validator(copies, Conduct::CopiesWeights),
            validator(friend, Conduct::Favours),
        ];
        let text = text(&scenario);
        let (_, outcome) = simulate(&scenario, &text);
        let pay = |name: &str| {
            let kind = outcome.kinds.iter().find(|kind| kind.kind == name).unwrap();
            kind.pay_per_uid_vs_honest_median
        };
        let paid = pay("friend of a validator");
        println!(
            "{friend} of the stake favours, {copies} copies: the friend earns {paid:.3}, {:.3} is whole work",
            pay("honest 1")
        );
        assert_eq!(paid > 0.1, is_paid, "{friend} {copies}: {paid}");
    }
}

/// The acceptance scenarios change none of the constants that a preset ships.
#[test]
fn scenarios_have_the_constants_of_the_presets() {
    let local = ManifestFile::preset("local").unwrap().parsed;
    for text in [EVERYONE, SIXTEEN, FEW, TINY] {
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.gauntlet().unwrap(), local.gauntlet, "{}", scenario.name);
        assert_eq!(scenario.compress, local.compress, "{}", scenario.name);
        assert!(scenario.gauntlet.is_empty() && scenario.without.is_empty());
    }
}

/// A place in the aggregate is for who has surely shown work.
fn none_of_the_worthless_is_aggregated(outcome: &Outcome) {
    for kind in outcome.kinds.iter().filter(|kind| kind.class == Class::Worthless) {
        assert!(kind.aggregated <= 0.01, "{}: in {:.3} of its windows", kind.kind, kind.aggregated);
    }
}

/// A leader decides whom everybody aggregates, and so what the model learns, until an audit finds it out; pay it does not decide.
#[test]
fn a_leader_that_misleads_changes_nobodys_pay() {
    let mut scenario = Scenario::parse(SIXTEEN).unwrap();
    if !full() {
        scenario.windows = 150;
    }
    let text = text(&scenario);
    let (_, honest) = simulate(&scenario, &text);
    scenario.validators[0].conduct = Conduct::Misleads;
    let (_, misled) = simulate(&scenario, &text);
    print(&misled);
    println!("the loss ends {:.3} times as high", misled.loss / honest.loss);
    paid_as_worked(&misled);
    none_of_the_worthless_is_aggregated(&honest);
    let taken = |kind: &KindOutcome| kind.aggregated > 0.9;
    assert!(misled.kinds.iter().filter(|kind| kind.class == Class::Worthless).all(taken), "{misled:?}");
    assert!(misled.loss > 1.05 * honest.loss);
    assert_eq!(misled.shortfalls(None), [""; 0]);
}

/// Honest peers are paid within a tenth of their work, beside one that does all of it.
fn paid_as_worked(outcome: &Outcome) {
    let honest = || outcome.kinds.iter().filter(|kind| kind.class == Class::Honest);
    let whole = honest().find(|kind| kind.kind == "honest 1").unwrap();
    for kind in honest() {
        let paid = kind.pay_per_uid_vs_honest_median / whole.pay_per_uid_vs_honest_median;
        let worked = kind.work_per_uid_vs_honest_median / whole.work_per_uid_vs_honest_median;
        assert!((paid - worked).abs() < 0.1, "{}: {paid:.3} paid for {worked:.3}", kind.kind);
    }
}

/// No rule accuses an honest peer more often than `docs/gauntlet.md` states: over 20,000 windows of honest peers, attackers beside them.
#[test]
fn honest_peers_are_hardly_ever_accused() {
    let mut scenario = Scenario::parse(EVERYONE).unwrap();
    scenario.windows = if full() { 300 } else { 90 };
    scenario.settle = 0;
    let text = text(&scenario);
    let (_, outcome) = simulate(&scenario, &text);
    let honest = || outcome.kinds.iter().filter(|kind| kind.class == Class::Honest);
    let peers: f64 = honest().map(|kind| kind.uids as f64).sum();
    let rate = |of: fn(&KindOutcome) -> f64| honest().map(|k| of(k) * k.uids as f64).sum::<f64>() / peers;
    let [refused, copies, harmful, failed] =
        [rate(|k| k.refused), rate(|k| k.copies), rate(|k| k.harmful), rate(|k| k.failed)];
    println!(
        "{} windows of honest peers: audits refused {refused:.6}, copies {copies:.6}, harmful {harmful:.6}, malformed or out of sync {failed:.6}",
        peers * scenario.windows as f64
    );
    // A peer that is copied is taken for the copy where its own data does not speak for it in that window.
    assert!(copies <= 0.001 && refused <= 0.001, "{copies} {refused}");
    assert!(harmful <= 1.0 / 740.0 && failed == 0.0, "{harmful} {failed}");
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
    // So that there is time to see what comes after.
    for spec in &mut scenario.peers {
        if let Kind::Rest { works } | Kind::Sleeper { works } | Kind::Vanish { works } = &mut spec.kind {
            *works = windows / 5;
        }
    }
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
        (Defence::Audits, "no momentum"),
        (Defence::Usefulness, "memoriser"),
        (Defence::Recent, "rests after"),
        (Defence::Sync, "old model, 10 rounds"),
        (Defence::PutWindow, "late"),
        (Defence::NormClip, "loss"),
    ] {
        // What an update is worth shows late, when what everybody can learn is learned.
        let windows = if without == Defence::Usefulness { 150 } else { windows };
        let (lost, pay) = lost(&[without], windows, without == Defence::NormClip, &text);
        println!("without {without:?}: {lost:#?}");
        if without == Defence::Proof {
            proof_off = pay;
        }
        assert!(lost.iter().any(|shortfall| shortfall.contains(victim)), "{without:?}: {lost:?}");
    }
    // The search for copies and the rating are second locks: what they find fails the proof as well. Alone each changes no pay; where
    // the proof is weak, they are what stands.
    let (lost_overlap, _) = lost(&[Defence::Overlap], windows, false, &text);
    let (_, both_off) = lost(&[Defence::Proof, Defence::Overlap], windows, false, &text);
    let (lost_rating, _) = lost(&[Defence::PlackettLuce], windows, false, &text);
    let (_, unrated) = lost(&[Defence::Proof, Defence::PlackettLuce], windows, false, &text);
    println!(
        "without PlackettLuce: {lost_rating:?}; random without Proof {}, without both {}",
        proof_off["random"], unrated["random"]
    );
    assert!(unrated["random"] > 1.2 * proof_off["random"]);
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

//! Gauntlet's state over windows: what must hold whatever peers do.
use proptest::prelude::*;
use templar::{
    gauntlet::{
        Evidence, Gauntlet, GauntletError, Hotkey, Observation, Peer, stage1::Stage1, stage1::malformed,
    },
    manifest::{GauntletConfig, ManifestFile},
};

#[path = "copies.rs"]
mod copies;
#[path = "slashing.rs"]
mod slashing;

const ACCEPTED: Stage1 = Stage1::Accepted { seconds: 1, steps_behind: 0.0 };

/// The rules of a preset; those of `local` without audits, for `templar-2` has the same with them.
fn config(preset: &str) -> GauntletConfig {
    let rules = ManifestFile::preset(preset).unwrap().parsed.gauntlet;
    if preset == "local" { rules.without_audits() } else { rules }
}

fn key(n: u8) -> Hotkey {
    Hotkey::from([n; 32])
}

fn peer(n: u8) -> Peer {
    Peer { hotkey: key(n), uid: u16::from(n), registered_at_block: 10 }
}

fn gauntlet(preset: &str, peers: u8) -> Gauntlet {
    let mut gauntlet = Gauntlet::new(&config(preset));
    gauntlet.roster(&(0..peers).map(peer).collect::<Vec<_>>());
    gauntlet
}

/// Losses that an update lowers by `own` and `random`, with a spread that depends on the sequence.
fn evidence(own: f64, random: f64) -> Evidence {
    let spread = |i: usize| 0.01 * ((i * 7 % 5) as f64 - 2.0);
    let before: Vec<f64> = (0..16).map(|i| 4.0 + 0.1 * i as f64).collect();
    let moved = |by: f64, shift: usize| -> Vec<f64> {
        before.iter().enumerate().map(|(i, loss)| loss - by + spread(i + shift)).collect()
    };
    Evidence {
        own_after: moved(own, 0),
        own_comparator: moved(random, 1),
        random_after: moved(random, 2),
        random_comparator: moved(random, 3),
        own_before: before.clone(),
        random_before: before,
        // Where work is audited it agrees.
        audits: vec![0.01; 2],
    }
}

fn good(n: u8) -> Observation {
    let better = 0.001 * f64::from(n);
    Observation {
        hotkey: key(n),
        stage1: ACCEPTED,
        evidence: Some(evidence(0.06 + better, 0.05 + better)),
        aggregated: true,
    }
}

fn failed(n: u8, stage1: Stage1) -> Observation {
    Observation { hotkey: key(n), stage1, evidence: None, aggregated: false }
}

fn run(gauntlet: &mut Gauntlet, windows: std::ops::Range<u64>, peers: u8) {
    for window in windows {
        gauntlet.update(window, 1e-3, &(0..peers).map(good).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn a_window_is_scored_once() {
    let mut gauntlet = gauntlet("local", 3);
    run(&mut gauntlet, 4..5, 3);
    let before = gauntlet.clone();
    assert_eq!(
        gauntlet.update(4, 1e-3, &[good(0)]),
        Err(GauntletError::AlreadyScored { window: 4, last: 4 })
    );
    assert_eq!(gauntlet, before);
}

#[test]
fn a_state_that_was_written_and_read_goes_on_as_if_nothing_had_been() {
    for preset in ["local", "templar-2", "templar-1"] {
        let mut straight = gauntlet(preset, 5);
        run(&mut straight, 0..7, 5);
        straight.update(7, 1e-3, &[failed(0, Stage1::Absent), good(1), failed(2, malformed("x"))]).unwrap();
        let mut restarted: Gauntlet =
            serde_json::from_str(&serde_json::to_string_pretty(&straight).unwrap()).unwrap();
        assert_eq!(restarted, straight);
        assert_eq!(restarted.config(), &config(preset));
        run(&mut straight, 8..12, 5);
        run(&mut restarted, 8..12, 5);
        assert_eq!(restarted, straight);
        assert_eq!(restarted.weights(), straight.weights());
    }
}

#[test]
fn a_slot_that_was_given_away_inherits_nothing() {
    let mut gauntlet = gauntlet("local", 3);
    run(&mut gauntlet, 0..6, 3);
    let kept = gauntlet.peer(&key(0)).unwrap().clone();
    gauntlet.roster(&[
        Peer { uid: 9, ..peer(0) },
        Peer { registered_at_block: 500, ..peer(1) },
        Peer { uid: 2, ..peer(7) },
    ]);
    let state = |n| gauntlet.peer(&key(n));
    assert_eq!((state(0).unwrap().uid, state(0).unwrap().score), (9, kept.score));
    assert_eq!((state(1).unwrap().score, state(1).unwrap().proof.count), (0.0, 0));
    assert!(state(2).is_none(), "a hotkey that is gone is forgotten");
    assert_eq!(state(7).unwrap().score, 0.0, "and who takes its slot starts anew");
    assert_eq!(gauntlet.weights(), [(9, 65535)]);
}

#[test]
fn a_malformed_object_leaves_no_score_and_is_not_forgiven_in_its_window() {
    let mut gauntlet = gauntlet("local", 4);
    run(&mut gauntlet, 0..8, 4);
    let before = gauntlet.peer(&key(1)).unwrap().clone();
    let records =
        gauntlet.update(8, 1e-3, &[good(0), failed(1, malformed("cut short")), good(2), good(3)]).unwrap();
    assert!(before.score > 0.0);
    assert_eq!((records[1].score, records[1].weight), (0.0, 0));
    let after = gauntlet.peer(&key(1)).unwrap();
    assert!(after.rating.mu < before.rating.mu, "it loses the match");
    // A window without work.
    let expected = before.proof.sum * (1.0 - gauntlet.config().proof_alpha);
    assert!((after.proof.sum - expected).abs() < 1e-12);
    // It earns again by working, less than before.
    run(&mut gauntlet, 9..10, 4);
    let again = gauntlet.peer(&key(1)).unwrap().score;
    assert!(again > 0.0 && again < before.score);
}

#[test]
fn an_absent_peer_is_paid_less_each_window_and_then_forgotten() {
    let mut gauntlet = gauntlet("local", 4);
    run(&mut gauntlet, 0..8, 4);
    let mut last = gauntlet.peer(&key(3)).unwrap().score;
    let forget_after = gauntlet.config().forget_after;
    for missed in 1..=forget_after {
        let window = 7 + missed;
        let records = gauntlet
            .update(window, 1e-3, &[good(0), good(1), good(2), failed(3, Stage1::Late { seconds: 3 })])
            .unwrap();
        let record = &records[3];
        if missed < forget_after {
            assert!((record.score - last * 0.75).abs() < 1e-12);
            assert_eq!(record.penalties.len(), 1);
        } else {
            assert_eq!((record.score, record.proof.observations), (0.0, 0));
            assert_eq!(record.penalties.len(), 2);
        }
        last = record.score;
    }
}

#[test]
fn who_was_not_judged_keeps_its_score() {
    let mut gauntlet = gauntlet("local", 4);
    run(&mut gauntlet, 0..8, 4);
    let before = gauntlet.peer(&key(2)).unwrap().clone();
    let records = gauntlet.update(8, 1e-3, &[good(0), good(1), failed(2, ACCEPTED), good(3)]).unwrap();
    // Others' evidence moves the unit of work a little.
    assert!((records[2].score / before.score - 1.0).abs() < 1e-3 && records[2].judged.is_none());
    assert_eq!(gauntlet.peer(&key(2)).unwrap().proof, before.proof);
    let order = gauntlet.evaluation_order(&(0..4).map(key).collect::<Vec<_>>(), 9, &[1; 32]);
    assert_eq!(order.len(), 4);
}

#[test]
fn who_does_harm_is_punished_unless_everybody_does() {
    let mut one = gauntlet("local", 4);
    run(&mut one, 0..8, 4);
    let harm = |n| Observation { evidence: Some(evidence(-0.05, -0.05)), ..good(n) };
    let mut all = one.clone();
    let records = one.update(8, 1e-3, &[good(0), good(1), good(2), harm(3)]).unwrap();
    assert_eq!(records[3].penalties.len(), 1);
    assert!(records[3].score < records[3].score_before * 0.75);
    let everybody: Vec<Hotkey> = (0..4).map(key).collect();
    assert!(!one.aggregate_set(&everybody, 15, &[0; 32]).contains(&key(3)));
    assert_eq!(one.aggregate_set(&everybody[3..], 15, &[0; 32]), [key(3)], "for want of anybody better");
    let records = all.update(8, 1e-3, &[good(0), good(1), harm(2), harm(3)]).unwrap();
    assert!(records.iter().all(|record| record.penalties.is_empty()));
}

#[test]
fn the_paper_pays_by_the_ordinal_and_nothing_for_a_negative_one() {
    let mut gauntlet = gauntlet("templar-1", 4);
    run(&mut gauntlet, 0..20, 4);
    for (_, state) in gauntlet.peers() {
        let expected = state.rating.ordinal().max(0.0) * state.proof.sum;
        assert!((state.score - expected).abs() < 1e-12);
    }
    // The worst of each window has a negative ordinal by now.
    assert_eq!(gauntlet.peer(&key(0)).unwrap().score, 0.0);
    assert_eq!(gauntlet.weights().last().unwrap(), &(3, 65535));
}

#[test]
fn silence_is_tolerated_for_a_while_and_then_it_is_absence() {
    for preset in ["local", "templar-2", "templar-1", "sparseloco"] {
        let mut gauntlet = gauntlet(preset, 5);
        run(&mut gauntlet, 0..10, 5);
        let tolerated = gauntlet.config().unanswered_windows;
        assert_eq!(tolerated, 3);
        let before = gauntlet.peer(&key(3)).unwrap().clone();
        let window = |gauntlet: &mut Gauntlet, at: u64, silent: &[u8]| {
            let observe = |n| match silent.contains(&n) {
                true => failed(n, Stage1::Unanswered),
                false => good(n),
            };
            let records = gauntlet.update(at, 1e-3, &(0..5).map(observe).collect::<Vec<_>>()).unwrap();
            records[3].clone()
        };
        // Where most do not answer it is the validator's own trouble, for as long as it takes.
        for at in 10..20 {
            let record = window(&mut gauntlet, at, &[0, 2, 3]);
            assert_eq!(
                (record.penalties.len(), record.score, record.stage1.name()),
                (0, before.score, "unanswered")
            );
        }
        for at in 20..20 + tolerated {
            let record = window(&mut gauntlet, at, &[3]);
            assert_eq!((record.penalties.len(), record.score), (0, before.score), "{preset} {at}");
        }
        let state = gauntlet.peer(&key(3)).unwrap();
        assert_eq!((state.rating, state.proof, state.missed), (before.rating, before.proof, 0));
        let mut answered = gauntlet.clone();
        let record = window(&mut gauntlet, 30, &[3]);
        assert!(record.score < before.score || record.penalties.len() == 1, "{preset}: {record:?}");
        assert!(gauntlet.peer(&key(3)).unwrap().missed == 1);
        // In time to be tolerated again.
        window(&mut answered, 30, &[]);
        let score = answered.peer(&key(3)).unwrap().score;
        let record = window(&mut answered, 31, &[3]);
        assert_eq!((record.penalties.len(), record.score), (0, score));
    }
}

#[test]
fn who_vanishes_is_paid_for_no_longer_than_who_is_absent() {
    let mut gauntlet = gauntlet("local", 4);
    run(&mut gauntlet, 0..10, 4);
    let weight =
        |gauntlet: &Gauntlet| gauntlet.weights().iter().find(|(uid, _)| *uid == 3).map_or(0, |(_, w)| *w);
    assert!(weight(&gauntlet) > 10_000);
    for window in 10..30 {
        let mut seen: Vec<_> = (0..3).map(good).collect();
        seen.push(failed(3, Stage1::Unanswered));
        gauntlet.update(window, 1e-3, &seen).unwrap();
    }
    assert_eq!(weight(&gauntlet), 0);
}

#[test]
fn who_has_shown_no_work_is_not_aggregated_beside_those_who_have() {
    let mut gauntlet = gauntlet("local", 5);
    // Peer 4 helps as little on its own data as on any other.
    let idle = || Observation { evidence: Some(evidence(0.0, 0.0)), ..good(4) };
    for window in 0..12 {
        let mut seen: Vec<_> = (0..3).map(good).collect();
        seen.push(idle());
        gauntlet.update(window, 1e-3, &seen).unwrap();
    }
    let (best, idle) = (gauntlet.peer(&key(2)).unwrap().score, gauntlet.peer(&key(4)).unwrap().score);
    assert!(idle < 0.05 * best, "{idle} of {best}");
    let set = |hotkeys: &[u8]| {
        let hotkeys: Vec<_> = hotkeys.iter().map(|n| key(*n)).collect();
        gauntlet.aggregate_set(&hotkeys, 15, &[0; 32])
    };
    // Number 3 was never judged: there is no other way to begin.
    let chosen = set(&[0, 1, 2, 3, 4]);
    assert_eq!(chosen.len(), 4);
    assert!(chosen.contains(&key(3)) && !chosen.contains(&key(4)));
    assert_eq!(set(&[4]), [key(4)], "training never stops");
}

#[test]
fn the_json_of_a_record_is_a_stable_interface() {
    let mut gauntlet = gauntlet("local", 2);
    let records = gauntlet.update(3, 1e-3, &[good(0), failed(1, Stage1::Absent)]).unwrap();
    let fields = |value: &serde_json::Value| -> Vec<String> {
        let mut fields: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        fields.sort();
        fields
    };
    let json = serde_json::to_value(&records[0]).unwrap();
    assert_eq!(
        fields(&json),
        [
            "aggregated",
            "audits",
            "hotkey",
            "judged",
            "outer_step",
            "overlap",
            "penalties",
            "proof",
            "rating",
            "rating_before",
            "rating_factor",
            "score",
            "score_before",
            "share",
            "stage1",
            "sync_score",
            "uid",
            "weight",
            "window"
        ]
    );
    assert_eq!(
        fields(&json["judged"]),
        ["benefit_t", "claimed", "observation", "own", "random", "sign", "t", "usual", "variance"]
    );
    assert_eq!(fields(&json["judged"]["own"]), ["after", "before", "comparator", "score", "sequences"]);
    assert_eq!(
        fields(&json["proof"]),
        ["average", "deviation", "factor", "observations", "reference", "strength", "windows"]
    );
    assert_eq!(fields(&json["rating"]), ["mu", "ordinal", "sigma"]);
    assert_eq!(json["stage1"]["verdict"], "accepted");
    assert_eq!(json["hotkey"], key(0).to_string());
    let absent = serde_json::to_value(&records[1]).unwrap();
    assert!(absent["judged"].is_null() && absent["sync_score"].is_null());
    let _: templar::gauntlet::ScoreRecord = serde_json::from_value(absent).unwrap();
}

/// Any observation at all of peer `n`.
fn any_observation(n: u8) -> impl Strategy<Value = Observation> {
    let float = prop_oneof![
        8 => 0.0..10.0f64,
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -0.0, f64::MAX, 5e-324]),
    ];
    let losses = || prop::collection::vec(float.clone(), 0..4);
    let regular = (0.0..0.1f64, -0.1..0.1f64).prop_map(|(own, random)| evidence(own, random));
    let irregular = (losses(), losses(), losses(), losses(), losses(), losses()).prop_map(
        |(own_before, own_after, own_comparator, random_before, random_after, random_comparator)| Evidence {
            own_before,
            own_after,
            own_comparator,
            random_before,
            random_after,
            random_comparator,
            audits: Vec::new(),
        },
    );
    let stage1 = prop_oneof![
        6 => (0.0..2.0f64).prop_map(|steps_behind| Stage1::Accepted { seconds: 0, steps_behind }),
        1 => Just(Stage1::Absent),
        1 => Just(Stage1::Late { seconds: 2 }),
        1 => Just(Stage1::OutOfSync { seconds: 0, steps_behind: 2.5 }),
        1 => Just(malformed("x")),
    ];
    let evidence = prop_oneof![4 => regular.prop_map(Some), 1 => irregular.prop_map(Some), 1 => Just(None)];
    (stage1, evidence, any::<bool>()).prop_map(move |(stage1, evidence, aggregated)| Observation {
        hotkey: key(n),
        stage1,
        evidence,
        aggregated,
    })
}

/// Observations of five peers in each of some windows.
fn any_history() -> impl Strategy<Value = Vec<Vec<Observation>>> {
    let window =
        (any_observation(0), any_observation(1), any_observation(2), any_observation(3), any_observation(4));
    prop::collection::vec(window.prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e]), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_peers_changes_no_bit(history in any_history(), shuffle in any::<prop::sample::Index>()) {
        for preset in ["local", "templar-2", "templar-1"] {
            let (mut a, mut b) = (gauntlet(preset, 5), gauntlet(preset, 5));
            for (window, observations) in history.iter().enumerate() {
                let mut moved = observations.clone();
                moved.rotate_left(shuffle.index(5));
                moved.swap(0, 3);
                let left = a.update(window as u64, 1e-3, observations).unwrap();
                prop_assert_eq!(left, b.update(window as u64, 1e-3, &moved).unwrap());
                prop_assert_eq!(&a, &b);
            }
        }
    }

    #[test]
    fn a_peer_that_uploads_nothing_changes_nobody_elses_pay(history in any_history()) {
        let (mut with, mut without) = (gauntlet("local", 6), gauntlet("local", 5));
        for (window, observations) in history.iter().enumerate() {
            let mut more = observations.clone();
            more.push(failed(5, Stage1::Absent));
            let mut records = with.update(window as u64, 1e-3, &more).unwrap();
            prop_assert_eq!(records.pop().unwrap().score, 0.0);
            prop_assert_eq!(records, without.update(window as u64, 1e-3, observations).unwrap());
            prop_assert_eq!(with.weights(), without.weights());
        }
    }

    #[test]
    fn broken_evidence_harms_its_own_peer_alone(history in any_history(), bits in any::<u64>()) {
        // Whatever the fifth peer's evidence is, if it counts as malformed, the others fare as if the
        // peer had uploaded something malformed.
        let (mut a, mut b) = (gauntlet("local", 5), gauntlet("local", 5));
        for (window, observations) in history.iter().enumerate() {
            let (mut left, mut right) = (observations.clone(), observations.clone());
            let mut broken = evidence(0.1, 0.1);
            broken.random_after[3] = f64::NAN;
            broken.own_before[2] = -f64::from_bits(bits).abs() - 1.0;
            left[4] = Observation { evidence: Some(broken), ..good(4) };
            right[4] = failed(4, malformed("y"));
            let left = a.update(window as u64, 1e-3, &left).unwrap();
            let right = b.update(window as u64, 1e-3, &right).unwrap();
            prop_assert_eq!(&left[..4], &right[..4]);
            let is_malformed = matches!(left[4].stage1, Stage1::Malformed { .. });
            prop_assert!(is_malformed);
            prop_assert_eq!(left[4].weight, 0);
        }
    }

    #[test]
    fn whatever_comes_in_numbers_come_out(history in any_history(), seed in any::<[u8; 32]>()) {
        for preset in ["local", "templar-2", "templar-1"] {
            let mut gauntlet = gauntlet(preset, 5);
            for (window, observations) in history.iter().enumerate() {
                for record in gauntlet.update(window as u64, 1e-3, observations).unwrap() {
                    prop_assert!(record.score.is_finite() && record.score >= 0.0);
                    prop_assert!((0.0..=1.0).contains(&record.share));
                    prop_assert!(record.proof.average.abs() <= 8.0);
                    prop_assert!((0.0..=2.0).contains(&record.proof.strength));
                    prop_assert!(record.rating.mu.is_finite() && record.rating.sigma > 0.0);
                    // No number was written as null.
                    let json = serde_json::to_string(&record).unwrap();
                    let back: templar::gauntlet::ScoreRecord = serde_json::from_str(&json).unwrap();
                    prop_assert_eq!(back.weight, record.weight);
                }
                let written = serde_json::to_string(&gauntlet).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Gauntlet>(&written).unwrap(), &gauntlet);
                let all: Vec<Hotkey> = (0..5).map(key).collect();
                prop_assert_eq!(gauntlet.evaluation_order(&all, 9, &seed).len(), 5);
                prop_assert!(gauntlet.aggregate_set(&all, 3, &seed).len() <= 3);
            }
        }
    }
}

#[test]
fn an_observation_of_a_stranger_or_a_second_one_of_a_peer_counts_for_nothing() {
    let mut gauntlet = gauntlet("local", 3);
    let twice = failed(2, Stage1::Absent);
    let records = gauntlet.update(0, 1e-3, &[good(0), good(2), good(1), good(9), twice]).unwrap();
    assert_eq!(records.iter().map(|record| record.uid).collect::<Vec<_>>(), [0, 1]);
}

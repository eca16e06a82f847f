//! The rules of the reference's last version: penalties by what happened before, bins, tiers.

use super::*;
use templar::gauntlet::{overlap::Pair, penalty::PenaltyRule};

fn sparseloco(peers: u8) -> Gauntlet {
    let mut gauntlet = Gauntlet::new(&ManifestFile::gauntlet("sparseloco").unwrap());
    gauntlet.roster(&(0..peers).map(peer).collect::<Vec<_>>());
    gauntlet
}

fn update(
    gauntlet: &mut Gauntlet,
    window: u64,
    observations: &[Observation],
) -> Vec<(u16, Vec<PenaltyRule>, f64)> {
    let records = gauntlet.update(window, 1e-3, observations).unwrap();
    records
        .iter()
        .map(|r| {
            (
                r.uid,
                r.penalties.iter().map(|p| p.rule).collect(),
                r.penalties.iter().map(|p| p.score_factor).product(),
            )
        })
        .collect()
}

/// Everybody is good but one.
fn but(peers: u8, other: Observation) -> Vec<Observation> {
    (0..peers).map(|n| if key(n) == other.hotkey { other.clone() } else { good(n) }).collect()
}

#[test]
fn misses_cost_a_quarter_then_half_then_all_and_four_of_eight_make_naughty() {
    let mut gauntlet = sparseloco(10);
    run(&mut gauntlet, 0..12, 10);
    let factors: Vec<f64> =
        (12..15).map(|w| update(&mut gauntlet, w, &but(10, failed(9, Stage1::Absent)))[9].2).collect();
    assert_eq!(factors, [0.75, 0.5, 0.0]);
    let fourth = update(&mut gauntlet, 15, &but(10, failed(9, Stage1::Late { seconds: 3 })));
    assert!(fourth[9].1.contains(&PenaltyRule::Naughty), "{fourth:?}");
    assert_eq!(gauntlet.peer(&key(9)).unwrap().naughty_until, Some(35));
    for window in 16..=35 {
        let records = gauntlet.update(window, 1e-3, &but(10, good(9))).unwrap();
        assert_eq!((records[9].score, records[9].weight), (0.0, 0));
        assert!(!gauntlet.evaluation_order(&[key(9)], window, &[0; 32]).contains(&key(9)));
        let set = gauntlet.aggregate_set(&(0..10).map(key).collect::<Vec<_>>(), 20, &[0; 32]);
        assert_eq!(set.contains(&key(9)), window == 35, "the next window is the first that is free again");
    }
    assert!(update(&mut gauntlet, 36, &but(10, good(9)))[9].1.is_empty());
}

#[test]
fn a_network_that_fails_is_nobodys_fault() {
    let mut gauntlet = sparseloco(10);
    run(&mut gauntlet, 0..12, 10);
    let before: Vec<_> = gauntlet.peers().map(|(_, state)| (state.score, state.rating)).collect();
    let absent: Vec<_> = (0..10).map(|n| if n < 3 { good(n) } else { failed(n, Stage1::Absent) }).collect();
    let records = update(&mut gauntlet, 12, &absent);
    assert!(records.iter().all(|(_, penalties, _)| penalties.is_empty()), "{records:?}");
    let after: Vec<_> = gauntlet.peers().map(|(_, state)| (state.score, state.rating)).collect();
    assert_eq!(before[3..], after[3..]);
}

#[test]
fn negative_updates_exclude_after_three_and_cost_after_five_of_eight() {
    let harm = Observation { evidence: Some(evidence(-0.05, -0.05)), ..good(9) };
    let mut gauntlet = sparseloco(10);
    run(&mut gauntlet, 0..12, 10);
    let everybody: Vec<Hotkey> = (0..10).map(key).collect();
    for n in 1..=5u64 {
        let records = update(&mut gauntlet, 11 + n, &but(10, harm.clone()));
        assert_eq!(gauntlet.aggregate_set(&everybody, 20, &[0; 32]).contains(&key(9)), n < 3);
        assert_eq!(records[9].1.contains(&PenaltyRule::OftenHarmful), n == 5, "{n}: {records:?}");
    }
    // Also in a window in which it is not judged; and one good update brings it back to the aggregate.
    assert_eq!(update(&mut gauntlet, 17, &but(10, failed(9, ACCEPTED)))[9].2, 0.25);
    update(&mut gauntlet, 18, &but(10, good(9)));
    assert_eq!(gauntlet.peer(&key(9)).unwrap().negative_in_a_row, 0);
}

#[test]
fn where_everybody_is_bad_nobody_pays_for_it() {
    let mut gauntlet = sparseloco(6);
    for window in 0..9 {
        let observations: Vec<_> = (0..6)
            .map(|n| {
                if n < 4 {
                    good(n)
                } else {
                    Observation { evidence: Some(evidence(-0.05, -0.05)), ..good(n) }
                }
            })
            .collect();
        let records = update(&mut gauntlet, window, &observations);
        assert!(records.iter().all(|(_, penalties, _)| penalties.is_empty()), "the fifth best is negative");
    }
}

#[test]
fn copies_cost_by_how_much_they_are_alike() {
    for (similarity, factor, forgotten, naughty) in
        [(0.45, 0.5, false, None), (0.55, 0.0, true, None), (0.65, 0.0, true, Some(32))]
    {
        let mut gauntlet = sparseloco(10);
        run(&mut gauntlet, 0..12, 10);
        let mut observations: Vec<_> = (0..10).map(good).collect();
        observations[9].stage1 = Stage1::Accepted { seconds: 5, steps_behind: 0.0 };
        let overlapping = [Pair { hotkeys: [key(8), key(9)], similarity }];
        // The better rated one is the original here; make the later upload the one with less evidence.
        observations[9].evidence = Some(evidence(0.0, 0.05));
        let records =
            gauntlet.update_with(12, 1e-3, &observations, &overlapping, &Default::default()).unwrap();
        let copied = records[9].penalties.iter().find(|p| p.rule == PenaltyRule::Copied).unwrap();
        assert_eq!(copied.score_factor, factor);
        assert_eq!(records[9].penalties.iter().any(|p| p.rule == PenaltyRule::Forgotten), forgotten);
        assert_eq!(gauntlet.peer(&key(9)).unwrap().naughty_until, naughty);
        assert!(records[8].penalties.is_empty());
    }
}

#[test]
fn pay_is_in_tiers_and_half_of_it_burns() {
    let mut gauntlet = sparseloco(40);
    assert_eq!(gauntlet.weights(), [(1, 65535)], "nobody is known: everything burns");
    // Bins judge twenty of forty; here all are.
    run(&mut gauntlet, 0..20, 40);
    let weights = gauntlet.weights();
    let total: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let burnt = weights.iter().find(|(uid, _)| *uid == 1).unwrap().1;
    assert!((f64::from(burnt) / total - 0.5).abs() < 1e-3, "{weights:?}");
    let paid = gauntlet.peers().filter(|(_, state)| state.score > 0.0).count().min(30);
    assert_eq!(weights.len(), paid + 1);
    assert!(gauntlet.evaluation_order(&(0..40).map(key).collect::<Vec<_>>(), 20, &[3; 32]).len() == 20);
    // A state that is written and read is the same, with its history.
    let json = serde_json::to_string(&gauntlet).unwrap();
    assert_eq!(serde_json::from_str::<Gauntlet>(&json).unwrap(), gauntlet);
}

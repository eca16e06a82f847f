//! Who is taken for the copy of two objects that overlap too much, where declared work is audited.
use super::{ACCEPTED, evidence, good, key, peer};
use templar::{
    gauntlet::{Gauntlet, Observation, overlap::Pair, penalty::PenaltyRule, stage1::Stage1},
    manifest::ManifestFile,
};

/// What the window's audits said of a peer.
#[derive(Clone, Copy)]
enum Audits {
    Agreed,
    Refused,
    /// It was not judged in this window.
    None,
}

/// Of peers 0 and 1, of which the second uploads later and is stronger in the windows before: who is blamed for objects of this similarity.
fn blamed(audits: [Audits; 2], similarity: f64) -> [bool; 2] {
    let mut gauntlet = Gauntlet::new(&ManifestFile::preset("local").unwrap().parsed.gauntlet);
    gauntlet.roster(&(0..4).map(peer).collect::<Vec<_>>());
    let before = |n| match n {
        // Its own data says less for it.
        0 => Observation { evidence: Some(evidence(0.052, 0.05)), ..good(0) },
        n => good(n),
    };
    for window in 0..12 {
        gauntlet.update(window, 1e-3, &(0..4).map(before).collect::<Vec<_>>()).unwrap();
    }
    let mut observations: Vec<_> = (0..4).map(before).collect();
    observations[0].stage1 = ACCEPTED;
    observations[1].stage1 = Stage1::Accepted { seconds: 9, steps_behind: 0.0 };
    for (observation, audits) in observations.iter_mut().zip(audits) {
        match audits {
            Audits::Agreed => {}
            Audits::Refused => observation.evidence.as_mut().unwrap().audits = vec![0.01, 0.9],
            Audits::None => observation.evidence = None,
        }
    }
    let pair = Pair { hotkeys: [key(0), key(1)], similarity };
    let records = gauntlet.update_with(12, 1e-3, &observations, &[pair], &Default::default()).unwrap();
    assert!(records[2..].iter().all(|record| record.penalties.is_empty() && record.overlap.is_empty()));
    [0, 1].map(|n: usize| {
        let record = &records[n];
        let penalised = record.penalties.iter().any(|p| p.rule == PenaltyRule::Copied);
        assert_eq!(record.overlap.len(), 1, "the pair is written down, whoever is blamed");
        assert_eq!(record.overlap[0].copy, penalised);
        if let Some(judged) = record.judged {
            let agreed = matches!(audits[n], Audits::Agreed);
            assert_eq!(judged.work.unwrap() > 0.0, agreed && !penalised, "a copy is a window without work");
        }
        penalised
    })
}

#[test]
fn who_passed_the_windows_audits_is_no_copy() {
    use Audits::{Agreed, None, Refused};
    for similarity in [0.51, 0.7, 0.96, 1.0] {
        assert_eq!(blamed([Agreed, Agreed], similarity), [false, false], "{similarity}");
        // The audits of the window say who the author is, and not who was there first or is stronger.
        assert_eq!(blamed([Refused, Agreed], similarity), [true, false], "{similarity}");
        assert_eq!(blamed([Agreed, Refused], similarity), [false, true], "{similarity}");
        // Where neither computed it, its own data speaks for one of them.
        assert_eq!(blamed([Refused, Refused], similarity), [true, false], "{similarity}");
        assert_eq!(blamed([Agreed, None], similarity), [false, false], "{similarity}");
        assert_eq!(blamed([Refused, None], similarity), [true, false], "{similarity}");
    }
}

#[test]
fn without_an_audit_only_objects_that_all_but_equal_each_other_are_copies() {
    use Audits::{Agreed, None};
    assert_eq!(blamed([None, None], 0.7), [false, false]);
    assert_eq!(blamed([None, None], 0.96), [true, false], "the weaker one");
    assert_eq!(blamed([None, Agreed], 0.7), [false, false]);
    assert_eq!(blamed([None, Agreed], 0.96), [true, false]);
}

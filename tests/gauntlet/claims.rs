//! Work is not a quota: pay grows with what was done, whatever is claimed.

use std::collections::BTreeMap;
use templar::{
    data,
    gauntlet::{Evidence, Gauntlet, Hotkey, Observation, Peer, declared, proof::Claim, stage1::Stage1},
    manifest::{ManifestFile, Proof, RatingUse},
};

/// Dimensions of a sequence's own gradient: few, so that `t` of the usual work is about 2.
const DIMENSIONS: usize = 8;
const WINDOWS: u64 = 3000;
const USUAL: usize = 64;

/// What a peer does: so many of its assigned sequences, the first of them, of which it claims so many.
const CASES: [(usize, usize); 8] =
    [(64, 64), (32, 32), (32, 64), (64, 256), (128, 128), (128, 64), (64, 32), (16, 16)];

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn gradient(&mut self) -> [f64; DIMENSIONS] {
        // Twelve uniform numbers are normal enough, with variance 1.
        std::array::from_fn(|_| (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0)
    }
}

/// Losses as they move near a model: by the product of a sequence's gradient and the update, which is the mean of the gradients
/// that the peer has seen. What is common to all sequences is in the comparator too, and left out.
fn evidence(random: &mut Random, done: usize, claimed: usize, measured: usize, others: usize) -> Evidence {
    let own: Vec<_> = (0..done.max(claimed)).map(|_| random.gradient()).collect();
    let update: [f64; DIMENSIONS] =
        std::array::from_fn(|d| own[..done].iter().map(|g| g[d]).sum::<f64>() / done as f64);
    let after = |g: &[f64; DIMENSIONS]| 100.0 - g.iter().zip(&update).map(|(g, u)| g * u).sum::<f64>();
    // Which of the claimed ones are measured is drawn.
    let mut places: Vec<usize> = (0..claimed).collect();
    let count = measured.min(claimed);
    for place in 0..count {
        let other = place + (random.uniform() * (claimed - place) as f64) as usize;
        places.swap(place, other);
    }
    let own_after: Vec<f64> = places[..count].iter().map(|place| after(&own[*place])).collect();
    let random_after: Vec<f64> = (0..others).map(|_| after(&random.gradient())).collect();
    Evidence {
        own_before: vec![100.0; count],
        own_after,
        random_before: vec![100.0; others],
        random_after,
        ..Evidence::default()
    }
}

#[test]
fn neither_over_nor_under_claiming_pays_and_more_work_does() {
    let config = ManifestFile::preset("local").unwrap().parsed.gauntlet.without_audits();
    let (measured, others) = (config.own_sequences, config.random_sequences);
    let hotkey = |peer: usize| Hotkey::from([peer as u8 + 1; 32]);
    let mut gauntlet = Gauntlet::new(&config);
    let peers: Vec<Peer> = (0..CASES.len())
        .map(|peer| Peer { hotkey: hotkey(peer), uid: peer as u16, registered_at_block: 0 })
        .collect();
    gauntlet.roster(&peers);
    let claims: BTreeMap<Hotkey, Claim> = (0..CASES.len())
        .map(|peer| (hotkey(peer), Claim { claimed: CASES[peer].1 as u64, usual: USUAL as u64 }))
        .collect();
    let mut random = Random(88172645463325252);
    let mut sums = [(0.0, 0.0, 0.0); CASES.len()];
    let mut last = Vec::new();
    for window in 0..WINDOWS {
        let observations: Vec<Observation> = CASES
            .iter()
            .enumerate()
            .map(|(peer, (done, claimed))| Observation {
                hotkey: hotkey(peer),
                stage1: Stage1::Accepted { seconds: 0, steps_behind: 0.0 },
                evidence: Some(evidence(&mut random, *done, *claimed, measured, others)),
                aggregated: true,
            })
            .collect();
        last = gauntlet.update_with(window, 1e-3, &observations, &[], &claims).unwrap();
        for (sum, record) in sums.iter_mut().zip(&last) {
            let judged = record.judged.unwrap();
            assert_eq!(
                (judged.claimed, judged.usual),
                (CASES[usize::from(record.uid)].1 as u64, USUAL as u64)
            );
            *sum = (sum.0 + judged.observation, sum.1 + judged.observation.powi(2), judged.variance);
        }
    }
    let n = WINDOWS as f64;
    let means = sums.map(|(sum, ..)| sum / n);
    assert!((1.5..3.0).contains(&means[0]), "the usual work has a usual t: {means:?}");
    for (peer, (done, claimed)) in CASES.into_iter().enumerate() {
        // What is shown of the work is what was both done and claimed; the noise is that of all that was done.
        let expected = done.min(claimed) as f64 / ((done * USUAL) as f64).sqrt();
        let (mean, variance) = (means[peer] / means[0], sums[peer].1 / n - means[peer].powi(2));
        eprintln!(
            "done {done}, claimed {claimed}: {mean:.3} of the usual, {expected:.3} expected; variance {variance:.3}, \
                   said to be {:.3}",
            sums[peer].2
        );
        assert!((mean / expected - 1.0).abs() < 0.1, "done {done}, claimed {claimed}: {mean} {expected}");
        assert!((variance / sums[peer].2 - 1.0).abs() < 0.5, "done {done}, claimed {claimed}: {variance}");
    }
    // What is believed in the end grows with the work done, and no claim makes more of it.
    let strength = |peer: usize| last[peer].proof.strength;
    assert!(strength(4) > 1.2 * strength(0) && strength(0) > 1.2 * strength(1), "{last:#?}");
    assert!(strength(3) < 1.15 * strength(0) && strength(2) < 1.15 * strength(1));
    assert!(strength(5) < strength(4) && strength(6) < strength(0));
    // An average of the same observations is worth less where each is less sure.
    assert!(last[3].proof.windows < 0.1 * last[0].proof.windows);
}

/// What peers do under audits of declared work: micro-batches done and declared, of 4 that are usual.
const DECLARED: [(u64, u64); 8] = [(4, 4), (2, 2), (1, 1), (3, 3), (2, 4), (3, 4), (2, 3), (1, 4)];

#[test]
fn audited_work_is_paid_as_it_is_and_no_lie_pays() {
    let mut config = ManifestFile::preset("local").unwrap().parsed.gauntlet;
    assert_eq!(config.proof, Proof::Audited);
    // What the rating takes away is another matter.
    config.rating = RatingUse::Off;
    let (measured, others) = (config.own_sequences, config.random_sequences);
    let hotkey = |peer: usize| Hotkey::from([peer as u8 + 1; 32]);
    let mut gauntlet = Gauntlet::new(&config);
    // The last computes everything that it declares, and sends noise.
    let all = DECLARED.len() + 1;
    let declared = |peer: usize| DECLARED.get(peer).copied().unwrap_or((4, 4));
    let peers: Vec<Peer> = (0..all)
        .map(|peer| Peer { hotkey: hotkey(peer), uid: peer as u16, registered_at_block: 0 })
        .collect();
    gauntlet.roster(&peers);
    let claim = |peer| Claim { claimed: 16 * declared(peer).1, usual: USUAL as u64 };
    let claims: BTreeMap<Hotkey, Claim> = (0..all).map(|peer| (hotkey(peer), claim(peer))).collect();
    let mut random = Random(88172645463325252);
    let mut pay = vec![0.0; all];
    let (windows, from) = (2000, 500);
    for window in 0..windows {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&u64::to_le_bytes(window));
        let observations: Vec<Observation> = (0..all)
            .map(|peer| {
                let (done, says) = declared(peer);
                let (done, says) = (done as usize, says as usize);
                let mut evidence = evidence(&mut random, 16 * done, 16 * says, measured, others);
                if peer == DECLARED.len() {
                    // As others' data do: nothing of it is in the object.
                    evidence.own_after.iter_mut().for_each(|after| *after = 100.0 - random.gradient()[0]);
                }
                let drawn = data::audited(&seed, &[peer as u8 + 1; 32], says, 2);
                evidence.audits = drawn.iter().map(|drawn| if *drawn < done { 0.012 } else { 0.9 }).collect();
                let stage1 = Stage1::Accepted { seconds: 0, steps_behind: 0.0 };
                Observation { hotkey: hotkey(peer), stage1, evidence: Some(evidence), aggregated: true }
            })
            .collect();
        let records = gauntlet.update_with(window, 1e-3, &observations, &[], &claims).unwrap();
        for record in records.iter().filter(|_| window >= from) {
            pay[usize::from(record.uid)] += record.share;
        }
    }
    // In units of what a peer with all of the work has.
    let pay: Vec<f64> = pay.iter().map(|sum| sum / pay[0]).collect();
    for (peer, (done, says)) in DECLARED.into_iter().enumerate() {
        let (share, expected) = (pay[peer], declared::expected_work(says, done, 4, 2));
        eprintln!("{done} done, {says} declared: {share:.3} of the usual pay, {expected:.3} expected");
        // Of a lie even less is paid than it has on average: of a slow and a fast average the lower counts.
        let least = if done == says { expected - 0.06 } else { 0.0 };
        assert!(
            (least..expected + 0.06).contains(&share),
            "{done} done, {says} declared: {share}, {expected} expected"
        );
        assert!(share <= done as f64 / 4.0 + 0.05, "{done} done, {says} declared: {share}");
    }
    eprintln!("all computed, nothing of it sent: {:.3}", pay[DECLARED.len()]);
    assert!(pay[DECLARED.len()] < 0.1, "an object without the work: {}", pay[DECLARED.len()]);
}

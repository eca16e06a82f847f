//! Selection: which peers are aggregated, and in which order they are judged.

use super::Hotkey;
use crate::manifest::Bins;

/// Who has no more than this share of the best candidate's score has shown no work.
pub const SHOWN: f64 = 0.05;

/// What is known of a peer that may be aggregated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// It has a score above [`SHOWN`], and surely shown some work.
    Scored(f64),
    /// It was never judged, or has shown work too few times to be sure of it.
    Unproven,
    /// It was judged and has shown no work, or its last judged update did harm; its rating's ordinal.
    Worthless(f64),
}

/// Draws a peer's place among equals: a hash of the seed, what the draw is for and the hotkey.
///
/// The seed is the hash of a block that did not exist when uploads closed, so nobody can aim for a place.
pub fn draw(seed: &[u8; 32], purpose: &str, hotkey: &Hotkey) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(purpose.as_bytes());
    hasher.update(&[0]);
    hasher.update(AsRef::<[u8; 32]>::as_ref(hotkey));
    *hasher.finalize().as_bytes()
}

/// The peers that are aggregated, best first: at most `g`.
///
/// 1. peers that have shown work, the highest score first;
/// 2. free places go to peers of whom too little is known yet, by lot: there is no other way to begin;
/// 3. only if that leaves nobody at all, the best rated of the rest, so that training never stops for
///    lack of evidence.
///
/// Equal scores are drawn by `seed`. Where the reference sorts by weight and leaves zeros in the order
/// of a set, this is one order for everybody.
pub fn aggregate_set(candidates: &[(Hotkey, Standing)], g: usize, seed: &[u8; 32]) -> Vec<Hotkey> {
    let class = |standing: &Standing| match standing {
        Standing::Scored(score) => (0, *score),
        Standing::Unproven => (1, 0.0),
        Standing::Worthless(ordinal) => (2, *ordinal),
    };
    let mut places: Vec<_> = candidates
        .iter()
        .map(|(hotkey, standing)| (class(standing), draw(seed, "aggregate", hotkey), hotkey))
        .collect();
    places.sort_by(|(a, a_lot, _), (b, b_lot, _)| {
        a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(a_lot.cmp(b_lot))
    });
    places.dedup_by(|a, b| a.2 == b.2);
    if places.iter().any(|((class, _), _, _)| *class < 2) {
        places.retain(|((class, _), _, _)| *class < 2);
    }
    places.into_iter().take(g).map(|(_, _, hotkey)| hotkey.clone()).collect()
}

/// The order in which peers are judged: a lottery in which each peer has as many tickets as windows passed since
/// it was judged; a peer that never was comes before all others. Whoever is left out when the window ends early
/// has more tickets in the next.
///
/// A fixed order would be known in advance, and work would be done when it is looked at. The draw is Efraimidis
/// and Spirakis' weighted sampling without replacement: descending by `ln(u) / tickets`, `u` uniform in (0, 1)
/// from [`draw`].
///
/// Each candidate comes with the window in which it was last judged; `window` is the present one.
pub fn evaluation_order(candidates: &[(Hotkey, Option<u64>)], window: u64, seed: &[u8; 32]) -> Vec<Hotkey> {
    let key = |hotkey: &Hotkey, judged: Option<u64>| {
        let lot = draw(seed, "evaluate", hotkey);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&lot[..8]);
        let uniform = ((u64::from_le_bytes(bytes) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let tickets = judged.map_or(f64::INFINITY, |judged| window.saturating_sub(judged).max(1) as f64);
        (judged.is_some(), -uniform.ln() / tickets, lot)
    };
    let mut order: Vec<_> =
        candidates.iter().map(|(hotkey, judged)| (key(hotkey, *judged), hotkey)).collect();
    order.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    order.dedup_by(|a, b| a.1 == b.1);
    order.into_iter().map(|(_, hotkey)| hotkey.clone()).collect()
}

/// Whom to judge, and in which order, where the manifest has bins: the candidates, each with its rating's ordinal and
/// the window in which it was last judged, are split by ordinal into bins of equal size (the first ones larger by
/// one where they do not divide), one bin is drawn, and `per_window` of it by [`evaluation_order`]'s lottery.
/// Fewer than `bins x per_window` candidates are one bin. Source: the reference's versions from 2025 on.
pub fn one_bin(
    candidates: &[(Hotkey, f64, Option<u64>)],
    bins: &Bins,
    window: u64,
    seed: &[u8; 32],
) -> Vec<Hotkey> {
    let mut ranked: Vec<_> = candidates.iter().collect();
    ranked.sort_by(|(a, a_ordinal, _), (b, b_ordinal, _)| {
        b_ordinal.total_cmp(a_ordinal).then_with(|| draw(seed, "bin", a).cmp(&draw(seed, "bin", b)))
    });
    let count = if ranked.len() < bins.bins.saturating_mul(bins.per_window) { 1 } else { bins.bins };
    let lot = blake3::keyed_hash(seed, b"which bin");
    let at = lot.as_bytes().iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte)) % count as u64;
    let (at, size, larger) = (at as usize, ranked.len() / count, ranked.len() % count);
    let begin = at * size + at.min(larger);
    let bin = &ranked[begin..begin + size + usize::from(at < larger)];
    let bin: Vec<_> = bin.iter().map(|(hotkey, _, judged)| (hotkey.clone(), *judged)).collect();
    let mut order = evaluation_order(&bin, window, seed);
    order.truncate(bins.per_window);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Hotkey {
        Hotkey::from([n; 32])
    }

    const SEED: [u8; 32] = [9; 32];

    #[test]
    fn scores_then_newcomers_then_nobody() {
        let candidates = [
            (key(1), Standing::Worthless(9.0)),
            (key(2), Standing::Unproven),
            (key(3), Standing::Scored(0.2)),
            (key(4), Standing::Scored(0.3)),
        ];
        assert_eq!(aggregate_set(&candidates, 15, &SEED), [key(4), key(3), key(2)]);
        assert_eq!(aggregate_set(&candidates, 1, &SEED), [key(4)]);
        assert_eq!(aggregate_set(&candidates[..1], 15, &SEED), [key(1)]);
        assert_eq!(aggregate_set(&[], 15, &SEED), []);
    }

    #[test]
    fn ties_are_drawn_and_the_draw_depends_on_the_seed_alone() {
        let mut candidates: Vec<_> = (0..20).map(|n| (key(n), Standing::Unproven)).collect();
        let first = aggregate_set(&candidates, 5, &SEED);
        candidates.reverse();
        assert_eq!(aggregate_set(&candidates, 5, &SEED), first);
        assert_ne!(aggregate_set(&candidates, 5, &[8; 32]), first);
        candidates.push(candidates[0].clone());
        assert_eq!(aggregate_set(&candidates, 5, &SEED), first, "twice is once");
    }

    #[test]
    fn a_bin_holds_peers_of_one_rank_and_every_bin_is_drawn() {
        let bins = Bins { bins: 3, per_window: 2 };
        let candidates: Vec<_> = (0..8).map(|n| (key(n), f64::from(n), Some(0))).collect();
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..40u8 {
            let drawn = one_bin(&candidates, &bins, 5, blake3::hash(&[n]).as_bytes());
            assert_eq!(drawn.len(), 2);
            // Descending by ordinal in bins of three, three and two.
            let bin = |hotkey: &Hotkey| (0..8).rev().position(|n| key(n) == *hotkey).unwrap() / 3;
            assert_eq!(bin(&drawn[0]), bin(&drawn[1]));
            seen.extend(drawn);
        }
        assert_eq!(seen.len(), 8);
        assert_eq!(one_bin(&candidates[..5], &bins, 5, &SEED).len(), 2, "one bin of all five");
        assert_eq!(one_bin(&[], &bins, 5, &SEED), []);
    }

    #[test]
    fn every_peer_gets_its_turn_and_nobody_knows_when() {
        let mut judged: Vec<(Hotkey, Option<u64>)> = (0..10).map(|n| (key(n), None)).collect();
        let (mut times, mut gaps) = ([0; 10], std::collections::BTreeSet::new());
        for window in 0..400u64 {
            let seed = *blake3::hash(&window.to_le_bytes()).as_bytes();
            for hotkey in evaluation_order(&judged, window, &seed).iter().take(3) {
                let at = judged.iter().position(|(h, _)| h == hotkey).unwrap();
                gaps.extend(judged[at].1.map(|last| window - last));
                judged[at].1 = Some(window);
                times[at] += 1;
            }
            assert!(window != 3 || judged.iter().all(|(_, last)| last.is_some()), "newcomers come first");
        }
        assert!(times.iter().all(|n| (90..150).contains(n)), "{times:?}");
        assert!(gaps.len() > 5, "{gaps:?}");
    }
}

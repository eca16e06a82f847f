//! Who is aggregated, and who is judged first.

use super::Hotkey;

/// What is known of a peer that may be aggregated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// It has a score.
    Scored(f64),
    /// Too few of its windows were judged to say.
    Unproven,
    /// It was judged often enough and earned nothing, or its last judged update did harm; its rating's
    /// ordinal.
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
/// 1. peers with a positive score, highest first;
/// 2. free places go to peers that nothing is known about yet, by lot: there is no other way to begin;
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

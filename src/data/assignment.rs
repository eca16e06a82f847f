use crate::window::Window;
use std::collections::HashMap;

/// The sequences that a hotkey trains on in a window: `count` different ones of `0..population`, in the
/// order in which they are trained on.
///
/// A pure function of the run, the hotkey and the window. A miner knows its own assignments in advance,
/// which is what lets it fetch data ahead; it cannot choose them, because each window is a fresh draw from
/// a hash. To aim at good ones it would have to try hotkeys, at the price of a registration each, and
/// what it found for one window would say nothing about the next. Nobody gains by copying either:
/// another's pseudo-gradient was made from another's sequences, and the validator recomputes these.
///
/// `run` is the manifest's hash, so that a hotkey has other assignments in every run. If `count` is more
/// than `population`, all of it is given, in a random order.
pub fn assigned(
    run: &[u8; 32],
    hotkey: &[u8; 32],
    window: Window,
    count: usize,
    population: u64,
) -> Vec<u64> {
    let mut hash = blake3::Hasher::new_derive_key("templar data assignment of a hotkey, version 1");
    hash.update(run).update(hotkey).update(&window.to_le_bytes());
    draw(&mut Stream(hash.finalize_xof()), count, population)
}

/// The sequences that every peer of a window is judged on, the same for all: `count` different ones of
/// `0..population`.
///
/// `block_hash` must be the hash of a block that did not exist when the put window closed: then nobody
/// could know the sequences while training, and every validator, and everyone who audits it, draws the
/// same ones. Who makes that block could withhold it, at the price of its reward, but is no miner's ally
/// in particular.
pub fn random(block_hash: &[u8; 32], window: Window, count: usize, population: u64) -> Vec<u64> {
    let mut hash = blake3::Hasher::new_derive_key("templar random evaluation data, version 1");
    hash.update(block_hash).update(&window.to_le_bytes());
    draw(&mut Stream(hash.finalize_xof()), count, population)
}

/// Which of its assigned sequences a peer is judged on: `count` of them, or all.
///
/// Drawn from the same block hash as the random data, so that nobody knows them while training. If they were
/// known, half of the work, done on the right half, would look like all of it.
pub fn judged(block_hash: &[u8; 32], hotkey: &[u8; 32], assigned: &[u64], count: usize) -> Vec<u64> {
    if count >= assigned.len() {
        return assigned.to_vec();
    }
    let mut hash = blake3::Hasher::new_derive_key("templar own evaluation data, version 1");
    hash.update(block_hash).update(hotkey);
    let places = draw(&mut Stream(hash.finalize_xof()), count, assigned.len() as u64);
    places.into_iter().filter_map(|place| assigned.get(place as usize).copied()).collect()
}

/// Which of the micro-batches that a peer declares are computed again: `count` of `0..declared`, or all.
///
/// Drawn from the same block hash as the random data, so that nobody knows them before uploads close.
pub fn audited(block_hash: &[u8; 32], hotkey: &[u8; 32], declared: usize, count: usize) -> Vec<usize> {
    let mut hash = blake3::Hasher::new_derive_key("templar audited micro-batches, version 1");
    hash.update(block_hash).update(hotkey);
    let places = draw(&mut Stream(hash.finalize_xof()), count, declared as u64);
    places.into_iter().map(|place| place as usize).collect()
}

/// An endless stream of random numbers.
struct Stream(blake3::OutputReader);

impl Stream {
    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound` (at least 1), each with the same probability: Lemire's multiplication, with
    /// rejection of the part that would favour some.
    fn below(&mut self, bound: u64) -> u64 {
        let rejected = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= rejected {
                return (product >> 64) as u64;
            }
        }
    }
}

/// The first `count` of a shuffle of `0..population` (Fisher-Yates). Only the places that were swapped
/// are kept, so the cost is that of `count`, not of the population.
fn draw(stream: &mut Stream, count: usize, population: u64) -> Vec<u64> {
    let count = usize::try_from(population).map_or(count, |population| count.min(population));
    let mut moved = HashMap::with_capacity(count);
    let mut drawn = Vec::with_capacity(count);
    for place in 0..count as u64 {
        let other = place + stream.below(population - place);
        drawn.push(moved.get(&other).copied().unwrap_or(other));
        let here = moved.remove(&place).unwrap_or(place);
        if other != place {
            moved.insert(other, here);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const RUN: [u8; 32] = [1; 32];
    const HOTKEY: [u8; 32] = [2; 32];

    #[test]
    fn a_draw_has_no_repeats_and_stays_inside() {
        for (count, population) in [(64, 187_500), (999, 1000), (1000, 1000), (1, 1), (0, 10), (5, 0)] {
            let drawn = assigned(&RUN, &HOTKEY, 7, count, population);
            assert_eq!(drawn.len(), count.min(population as usize));
            assert!(drawn.iter().all(|&index| index < population));
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
        }
        let mut all = assigned(&RUN, &HOTKEY, 7, 5000, 1000);
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn run_hotkey_and_window_each_change_the_draw() {
        let draws = [
            assigned(&RUN, &HOTKEY, 7, 32, 1 << 40),
            assigned(&[9; 32], &HOTKEY, 7, 32, 1 << 40),
            assigned(&RUN, &[9; 32], 7, 32, 1 << 40),
            assigned(&RUN, &HOTKEY, 8, 32, 1 << 40),
            random(&RUN, 7, 32, 1 << 40),
            random(&RUN, 8, 32, 1 << 40),
        ];
        let all: HashSet<u64> = draws.iter().flatten().copied().collect();
        // 192 draws out of 2^40: a repeat has a probability below 1e-7.
        assert_eq!(all.len(), 6 * 32);
        assert_eq!(draws[0], assigned(&RUN, &HOTKEY, 7, 32, 1 << 40));
    }

    #[test]
    fn fewer_are_the_beginning_of_more() {
        let more = assigned(&RUN, &HOTKEY, 7, 500, 1000);
        assert_eq!(assigned(&RUN, &HOTKEY, 7, 20, 1000), more[..20]);
    }

    #[test]
    fn every_sequence_is_equally_likely() {
        // 10,000 windows of 3 out of 30: each is expected 1000 times. Chi-squared with 29 degrees of
        // freedom is above 72 once in 20,000; the draw is fixed, so this holds or does not.
        let mut seen = [0u32; 30];
        for window in 0..10_000 {
            for index in assigned(&RUN, &HOTKEY, window, 3, 30) {
                seen[index as usize] += 1;
            }
        }
        let chi: f64 = seen.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 72.0, "{chi} {seen:?}");
    }

    #[test]
    fn bounds_near_the_top_are_not_biased() {
        // With a bound of 3/4 of 2^64, plain multiplication would give every third number twice as often.
        let mut stream = Stream(blake3::Hasher::new().finalize_xof());
        let bound = 3u64 << 62;
        let low = (0..3000).filter(|_| stream.below(bound).is_multiple_of(3)).count();
        assert!((900..1100).contains(&low), "{low}");
    }

    /// The stream is part of the protocol. These come from another implementation, in Python with the
    /// package blake3 and a whole shuffled list.
    #[test]
    fn the_draw_is_pinned() {
        assert_eq!(
            assigned(&RUN, &HOTKEY, 7, 8, 187_500),
            [138225, 31672, 22377, 158755, 99036, 21146, 26354, 75505]
        );
        assert_eq!(random(&RUN, 7, 8, 187_500), [2400, 59993, 85394, 177338, 5319, 101439, 104828, 61250]);
    }
}

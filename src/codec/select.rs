//! Which coefficients of a chunk are kept: the `k` of largest magnitude, of equal ones those at the lowest positions.
//!
//! A chunk of 4096 is not sorted. While its state was updated, the largest magnitude of each of 64 or 128 groups was
//! kept; the `k`-th largest of these is a lower bound for the `k`-th largest of all. What is not below the bound (about 47
//! for `k` = 32) is collected, and the exact threshold is found among it bit by bit. Magnitudes are compared as the bits of
//! float32 without the sign, which order as the numbers do.

use crate::simd::{SLACK, Simd, TILE, Tile};
use std::cell::Cell;

/// Room for the candidates of one chunk.
pub(crate) struct Candidates {
    places: [u16; TILE + SLACK],
    keys: [u32; TILE + SLACK],
    chosen: [u16; TILE + 1],
}

thread_local! {
    /// Kept from one strip of chunks to the next.
    static KEPT: Cell<Option<Box<Candidates>>> = const { Cell::new(None) };
}

impl Candidates {
    /// Lends this thread's.
    pub(crate) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        let mut room = KEPT.take().unwrap_or_else(Self::new);
        let result = work(&mut room);
        KEPT.set(Some(room));
        result
    }

    fn new() -> Box<Self> {
        Box::new(Self { places: [0; TILE + SLACK], keys: [0; TILE + SLACK], chosen: [0; TILE + 1] })
    }
}

/// Chooses from a chunk of 4096 as many as `positions` holds. `maxima` are the largest magnitudes of groups that the chunk
/// is split into, a multiple of 16 of them. Returns the largest magnitude of all, as bits.
#[inline(always)]
pub(crate) fn largest<S: Simd>(
    s: S,
    tile: &Tile,
    maxima: &[u32],
    room: &mut Candidates,
    positions: &mut [u16],
    values: &mut [f32],
) -> u32 {
    let kept = positions.len();
    let most = maxima.iter().fold(0, |most, m| most.max(*m));
    // Sixteen leading bits are as good a bound as all of them.
    let bound = if maxima.len() >= kept { kth_largest(s, maxima, kept, 0, most, 1 << 15) } else { 0 };
    let found = s.collect_at_least(tile, bound, &mut room.places);
    let flat = tile.as_flattened();
    for (key, place) in room.keys.iter_mut().zip(&room.places[..found]) {
        *key = flat[usize::from(*place)].to_bits() & 0x7fff_ffff;
    }
    let padded = found.next_multiple_of(16);
    room.keys[found..padded].fill(0);
    let threshold = kth_largest(s, &room.keys[..padded], kept, bound, most, 1);
    // What is above the threshold is in; of what is equal to it, the first, as far as there is room.
    let mut equals = kept - s.count_at_least(&room.keys[..padded], threshold + 1);
    let mut taken = 0;
    for (place, key) in room.places[..found].iter().zip(&room.keys) {
        let equal = usize::from(*key == threshold && equals > 0);
        equals -= equal;
        room.chosen[taken] = *place;
        taken += usize::from(*key > threshold) + equal;
    }
    positions.copy_from_slice(&room.chosen[..kept]);
    for (value, position) in values.iter_mut().zip(positions) {
        *value = flat[usize::from(*position)];
    }
    most
}

/// The `k`-th largest of some keys, which is known to be at least `low` and at most `most`; bits below `last` are cut off.
#[inline(always)]
fn kth_largest<S: Simd>(s: S, keys: &[u32], k: usize, low: u32, most: u32, last: u32) -> u32 {
    let differ = low ^ most;
    if differ < last {
        return low & !(last - 1);
    }
    let mut bit = 1 << (31 - differ.leading_zeros());
    // Above the highest bit in which they differ, all that are possible are alike.
    let mut threshold = low & !(2 * bit - 1);
    while bit >= last {
        if s.count_at_least(keys, threshold | bit) >= k {
            threshold |= bit;
        }
        bit >>= 1;
    }
    threshold
}

/// The same from a chunk of any length, by sorting.
pub(crate) fn largest_plain(chunk: &[f32], positions: &mut [u16], values: &mut [f32]) -> u32 {
    let key = |place: &u16| chunk[usize::from(*place)].to_bits() & 0x7fff_ffff;
    let mut places: Vec<u16> = (0..chunk.len()).map(|place| place as u16).collect();
    places.sort_by_key(|place| (!key(place), *place));
    let most = places.first().map_or(0, key);
    let chosen = &mut places[..positions.len()];
    chosen.sort_unstable();
    positions.copy_from_slice(chosen);
    for (value, position) in values.iter_mut().zip(positions) {
        *value = chunk[usize::from(*position)];
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Path, Work};
    use proptest::prelude::*;

    struct One<'a> {
        tile: &'a Tile,
        groups: usize,
        positions: &'a mut [u16],
        values: &'a mut [f32],
    }

    impl Work for One<'_> {
        type Out = u32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> u32 {
            let mut maxima = vec![0u32; self.groups];
            for (i, x) in self.tile.as_flattened().iter().enumerate() {
                maxima[i % self.groups] = maxima[i % self.groups].max(x.to_bits() & 0x7fff_ffff);
            }
            largest(s, self.tile, &maxima, &mut Candidates::new(), self.positions, self.values)
        }
    }

    fn check(tile: &Tile, kept: usize) {
        let (mut positions, mut values) = (vec![0; kept], vec![0.0; kept]);
        let most = largest_plain(tile.as_flattened(), &mut positions, &mut values);
        for path in Path::all() {
            for groups in [64, 128] {
                let (mut found, mut at) = (vec![0; kept], vec![0.0; kept]);
                assert_eq!(path.run(One { tile, groups, positions: &mut found, values: &mut at }), most);
                assert_eq!((&found, &at), (&positions, &values), "{} {kept} {groups}", path.name());
            }
        }
    }

    #[test]
    fn ties_zeros_and_crowded_groups_are_chosen_as_by_sorting() {
        let tile = |f: &dyn Fn(usize) -> f32| {
            let mut tile: Tile = [[0.0; 64]; 64];
            tile.as_flattened_mut().iter_mut().enumerate().for_each(|(i, x)| *x = f(i));
            tile
        };
        let tiles = [
            tile(&|_| 0.0),
            tile(&|i| if i == 77 { -1.0 } else { 0.0 }),
            tile(&|i| ((i * 7919) % 13) as f32 - 6.0),
            tile(&|i| if i % 64 < 2 { 100.0 - i as f32 * 0.01 } else { (i % 97) as f32 * 1e-3 }),
            tile(&|i| -(i as f32)),
            tile(&|i| if i < 40 { f32::MAX } else { 1e-40 }),
        ];
        for tile in &tiles {
            for kept in [1, 31, 32, 64, 65, 128, 256, 4095, 4096] {
                check(tile, kept);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn any_chunk_is_chosen_from_as_by_sorting(seed in any::<u64>(), kept in 1usize..300, steps in 1u32..1_000_000) {
            let mut x = seed;
            let mut tile: Tile = [[0.0; 64]; 64];
            for value in tile.as_flattened_mut() {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *value = ((x >> 40) as u32 % steps) as f32 / 1024.0 * if x & 1 == 0 { 1.0 } else { -1.0 };
            }
            check(&tile, kept);
        }
    }
}

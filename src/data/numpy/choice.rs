use super::Pcg64;
use std::collections::HashSet;

/// numpy's `Generator.choice(population, count, replace=False)`: different numbers of `0..population`, in
/// shuffled order. `None` if there are fewer than `count`.
pub fn choice(generator: &mut Pcg64, population: u64, count: usize) -> Option<Vec<u64>> {
    let size = count as u64;
    if size > population {
        return None;
    }
    // numpy counts up where much of the population is wanted, and remembers what it has seen where little is.
    if population > 10_000 && size > population / 50 {
        let mut all: Vec<u64> = (0..population).collect();
        shuffle(generator, &mut all, (population - size).max(1));
        return Some(all.split_off((population - size) as usize));
    }
    let mut seen = HashSet::with_capacity(count);
    let mut chosen = Vec::with_capacity(count);
    for last in population - size..population {
        let drawn = generator.up_to(last);
        let new = if seen.insert(drawn) { drawn } else { last };
        seen.insert(new);
        chosen.push(new);
    }
    shuffle(generator, &mut chosen, 1);
    Some(chosen)
}

/// Fisher-Yates from the end down to the place `first`.
fn shuffle(generator: &mut Pcg64, numbers: &mut [u64], first: u64) {
    for place in (first..numbers.len() as u64).rev() {
        numbers.swap(place as usize, generator.up_to(place) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_and_few_of_few_are_those_of_numpy() {
        let chosen = |population, count| choice(&mut Pcg64::new(6_961_831), population, count).unwrap();
        let first = [134104, 2948960, 3426847, 2284778, 6346166, 2050976, 4280, 5981447];
        assert_eq!(chosen(6_553_600, 8), first);
        assert_eq!(chosen(1000, 8), [20, 449, 519, 348, 966, 312, 0, 907]);
    }

    #[test]
    fn all_of_it_is_a_permutation() {
        for population in [0u64, 1, 2, 100, 10_001] {
            let mut all = choice(&mut Pcg64::new(1), population, population as usize).unwrap();
            all.sort_unstable();
            assert_eq!(all, (0..population).collect::<Vec<_>>());
        }
    }
}

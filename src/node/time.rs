//! What time it is, by this machine or by a simulation.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::Instant,
};

thread_local! {
    /// What a simulation began with, and when, by its runtime's clock.
    static SIMULATED: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
    /// The state of a simulation's chances.
    static CHANCES: Cell<u64> = const { Cell::new(0) };
}

/// Lets this thread's time be that of its runtime from now on, in place of the machine's: where the runtime's clock is paused, it jumps
/// to the next thing that is due whenever nothing is left to do. For simulations, whose runtime has this one thread; `seed` draws what is
/// left to chance.
pub fn simulate(begin_ms: u64, seed: u64) {
    SIMULATED.set(Some((begin_ms, Instant::now())));
    CHANCES.set(seed);
}

/// Milliseconds since the Unix epoch, by this machine's clock.
pub fn now_ms() -> u64 {
    match SIMULATED.get() {
        Some((begin_ms, begun)) => begin_ms + begun.elapsed().as_millis() as u64,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64),
    }
}

/// A number between 0 and 1 by chance.
pub(super) fn chance() -> f64 {
    if SIMULATED.get().is_none() {
        return rand::random();
    }
    // SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    let state = CHANCES.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    CHANCES.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Does work that takes long, while what else this thread had to do goes on in others; in a runtime of one thread it waits.
pub fn heavy<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_simulation_has_a_time_of_its_own() {
        let simulation = |seed| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .start_paused(true)
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    simulate(5_000, seed);
                    let begun = std::time::Instant::now();
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                    assert_eq!(now_ms(), 3_605_000);
                    assert!(begun.elapsed() < Duration::from_secs(60));
                    assert_eq!(heavy(|| 7), 7);
                    [(); 3].map(|()| chance())
                })
            })
            .join()
            .unwrap()
        };
        let drawn = simulation(1);
        assert_eq!(drawn, simulation(1));
        assert_ne!(drawn, simulation(2));
        assert!(drawn.iter().all(|chance| (0.0..1.0).contains(chance)), "{drawn:?}");
        // Everybody else's is the machine's.
        assert!(now_ms() > 1_700_000_000_000);
    }
}

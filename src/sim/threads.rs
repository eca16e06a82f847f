//! Work on some threads. Nothing depends on how many: results come in the order of the list.

use std::{panic::resume_unwind, thread};

/// Keeps libtorch on the thread that asks: its products are small here, and every core has peers of its own.
pub fn alone() {
    tch::set_num_threads(1);
}

/// Works on each of a list, a part of it on each thread.
pub fn each<T: Send, R: Send>(list: &mut [T], threads: usize, work: impl Fn(&mut T) -> R + Sync) -> Vec<R> {
    let part = list.len().div_ceil(threads.max(1)).max(1);
    let work = |part: &mut [T]| {
        alone();
        part.iter_mut().map(&work).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let parts: Vec<_> = list.chunks_mut(part).map(|part| scope.spawn(|| work(part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_list() {
        for threads in [0, 1, 3, 100] {
            let mut list: Vec<u32> = (0..10).collect();
            let doubled = each(&mut list, threads, |n| {
                *n += 1;
                2 * *n
            });
            assert_eq!(doubled, (1..=10).map(|n| 2 * n).collect::<Vec<_>>());
        }
        assert_eq!(each(&mut [0u8; 0], 2, |n| *n), [0; 0]);
    }
}

//! Extrinsics that wait for a block: each account's in the order of its nonces, accounts in the order in
//! which they came. A tip buys no better place.

use node_subtensor_runtime::AccountId;
use sp_core::H256;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
};
use tokio::sync::mpsc;

/// Extrinsics that may wait at the same time.
const MAX_WAITING: usize = 8_192;
/// Bytes that they may have together.
const MAX_BYTES: usize = 20 << 20;

/// What becomes of an extrinsic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It waits for an earlier nonce.
    Future,
    /// It can go into the next block.
    Ready,
    /// It is in this block, which is final.
    Included(H256),
    /// It became invalid.
    Invalid,
}

/// Why an extrinsic is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It waits already.
    Known,
    /// Another one of the same account and nonce waits.
    SameNonce,
    /// Too many wait.
    Full,
    /// Nobody signed it.
    Unsigned,
}

/// One that wants to wait.
pub(crate) struct Candidate {
    /// Its hash.
    pub hash: H256,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its account and nonce.
    pub signer: (AccountId, u32),
    /// The last block that may hold it.
    pub until: u32,
    /// Who wants to know what becomes of it.
    pub watcher: Option<mpsc::UnboundedSender<Status>>,
}

impl Candidate {
    fn tell(&self, status: Status) {
        if let Some(watcher) = &self.watcher {
            // Nobody may listen any more.
            let _ = watcher.send(status);
        }
    }
}

struct Waiting {
    candidate: Candidate,
    arrival: u64,
    told_ready: bool,
}

/// The extrinsics that wait.
#[derive(Default)]
pub(crate) struct Pool {
    accounts: BTreeMap<AccountId, BTreeMap<u32, Waiting>>,
    places: HashMap<H256, (AccountId, u32)>,
    bytes: usize,
    arrivals: u64,
}

impl Pool {
    /// Takes a valid extrinsic; `nonce` is what the chain has for its account.
    pub fn add(&mut self, candidate: Candidate, nonce: u32) -> Result<(), Refusal> {
        let (account, own) = candidate.signer.clone();
        if self.places.contains_key(&candidate.hash) {
            return Err(Refusal::Known);
        }
        if self.accounts.get(&account).is_some_and(|waiting| waiting.contains_key(&own)) {
            return Err(Refusal::SameNonce);
        }
        if self.places.len() >= MAX_WAITING || self.bytes + candidate.bytes.len() > MAX_BYTES {
            return Err(Refusal::Full);
        }
        if own > self.next_nonce(&account, nonce) {
            candidate.tell(Status::Future);
        }
        self.bytes += candidate.bytes.len();
        self.arrivals += 1;
        self.places.insert(candidate.hash, (account.clone(), own));
        let waiting = Waiting { candidate, arrival: self.arrivals, told_ready: false };
        self.accounts.entry(account.clone()).or_default().insert(own, waiting);
        self.tell_ready(&account, nonce);
        Ok(())
    }

    /// The nonce of an account's next extrinsic, those that wait without a gap counted in.
    pub fn next_nonce(&self, account: &AccountId, mut nonce: u32) -> u32 {
        while self.accounts.get(account).is_some_and(|waiting| waiting.contains_key(&nonce)) {
            nonce = nonce.saturating_add(1);
        }
        nonce
    }

    fn tell_ready(&mut self, account: &AccountId, nonce: u32) {
        let until = self.next_nonce(account, nonce);
        let Some(waiting) = self.accounts.get_mut(account) else { return };
        for (_, waiting) in waiting.range_mut(nonce..until.max(nonce)) {
            if !waiting.told_ready {
                waiting.candidate.tell(Status::Ready);
                waiting.told_ready = true;
            }
        }
    }

    /// Offers what can go into a block, one after the other, until `take` ends it. `nonce_of` says what the
    /// chain has for an account. Returns what turned out invalid.
    pub fn offer(
        &self,
        nonce_of: impl Fn(&AccountId) -> u32,
        mut take: impl FnMut(&Candidate) -> Taken,
    ) -> Vec<H256> {
        let mut invalid = Vec::new();
        let mut next = BinaryHeap::new();
        for (account, waiting) in &self.accounts {
            let nonce = nonce_of(account);
            invalid.extend(waiting.range(..nonce).map(|(_, stale)| stale.candidate.hash));
            if let Some(first) = waiting.get(&nonce) {
                next.push(Reverse((first.arrival, account, nonce)));
            }
        }
        while let Some(Reverse((_, account, nonce))) = next.pop() {
            let Some(waiting) = self.accounts.get(account) else { continue };
            let Some(first) = waiting.get(&nonce) else { continue };
            match take(&first.candidate) {
                Taken::Included => {
                    let nonce = nonce.saturating_add(1);
                    if let Some(second) = waiting.get(&nonce) {
                        next.push(Reverse((second.arrival, account, nonce)));
                    }
                }
                Taken::Invalid => invalid.push(first.candidate.hash),
                Taken::Later => {}
                Taken::Full => break,
            }
        }
        invalid
    }

    /// Takes out what a block included, what turned out invalid, and what no later block may hold.
    pub fn settle(&mut self, block: H256, number: u32, included: &[H256], invalid: &[H256]) {
        for hash in included {
            self.remove(hash, Status::Included(block));
        }
        let old = self.accounts.values().flat_map(BTreeMap::values);
        let old = old.filter(|waiting| waiting.candidate.until <= number).map(|old| old.candidate.hash);
        for hash in old.chain(invalid.iter().copied()).collect::<Vec<_>>() {
            self.remove(&hash, Status::Invalid);
        }
    }

    /// Takes out what must not be offered again.
    pub fn drop_invalid(&mut self, hash: &H256) {
        self.remove(hash, Status::Invalid);
    }

    fn remove(&mut self, hash: &H256, status: Status) {
        let Some((account, nonce)) = self.places.remove(hash) else { return };
        let Some(waiting) = self.accounts.get_mut(&account) else { return };
        if let Some(gone) = waiting.remove(&nonce) {
            self.bytes = self.bytes.saturating_sub(gone.candidate.bytes.len());
            gone.candidate.tell(status);
        }
        if waiting.is_empty() {
            self.accounts.remove(&account);
        }
    }

    /// All that wait.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.accounts.values().flat_map(BTreeMap::values).map(|waiting| &waiting.candidate)
    }
}

/// What a block did with what it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is in.
    Included,
    /// It became invalid.
    Invalid,
    /// It may become valid.
    Later,
    /// The block has no room.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(account: u8, nonce: u32, id: u8) -> (Candidate, mpsc::UnboundedReceiver<Status>) {
        let (watcher, watched) = mpsc::unbounded_channel();
        let hash = H256::repeat_byte(id);
        (
            Candidate {
                hash,
                bytes: vec![id],
                signer: ([account; 32].into(), nonce),
                until: 18,
                watcher: Some(watcher),
            },
            watched,
        )
    }

    fn offered(pool: &Pool) -> Vec<u8> {
        let mut order = vec![];
        pool.offer(
            |_| 5,
            |candidate| {
                order.push(candidate.bytes[0]);
                Taken::Included
            },
        );
        order
    }

    #[test]
    fn nonces_go_in_order_and_gaps_wait() {
        let mut pool = Pool::default();
        let (second, mut told) = candidate(1, 6, 2);
        pool.add(second, 5).unwrap();
        assert_eq!(told.try_recv(), Ok(Status::Future));
        assert!(offered(&pool).is_empty());
        assert_eq!(pool.next_nonce(&[1; 32].into(), 5), 5);
        pool.add(candidate(2, 5, 9).0, 5).unwrap();
        pool.add(candidate(1, 5, 1).0, 5).unwrap();
        assert_eq!(told.try_recv(), Ok(Status::Ready));
        assert_eq!(pool.next_nonce(&[1; 32].into(), 5), 7);
        // By arrival, except that a nonce waits for the one before it.
        assert_eq!(offered(&pool), [9, 1, 2]);
        pool.settle(H256::zero(), 1, &[H256::repeat_byte(1), H256::repeat_byte(2)], &[]);
        assert_eq!(told.try_recv(), Ok(Status::Included(H256::zero())));
        assert_eq!(offered(&pool), [9]);
    }

    #[test]
    fn doubles_are_refused_stale_and_old_ones_go() {
        let mut pool = Pool::default();
        let (first, mut told) = candidate(1, 5, 1);
        pool.add(first, 5).unwrap();
        assert_eq!(pool.add(candidate(1, 5, 1).0, 5), Err(Refusal::Known));
        assert_eq!(pool.add(candidate(1, 5, 2).0, 5), Err(Refusal::SameNonce));
        assert_eq!(pool.offer(|_| 6, |_| Taken::Included), [H256::repeat_byte(1)]);
        pool.settle(H256::zero(), 17, &[], &[]);
        assert_eq!(offered(&pool), [1]);
        pool.settle(H256::zero(), 18, &[], &[]);
        assert!(offered(&pool).is_empty());
        assert_eq!([told.try_recv(), told.try_recv()], [Ok(Status::Ready), Ok(Status::Invalid)]);
    }
}

//! Where the objects of rounds come from: the leader, the peers, and every validator that keeps copies.

use super::{Directory, Identity, Leader, NodeError, Prefetched, Replica, follow::document};
use crate::{
    bucket::{BucketError, Store, keys::RunKeys},
    gradient::{self, Expected, GradientError, Layout, PseudoGradient},
    round::{Accepted, RoundRecord},
    wallet::{AccountId, verify},
    window::{NetUid, Window},
};
use futures::future::try_join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// Objects that are fetched and decoded at the same time.
const AT_ONCE: usize = 32;

/// A bucket with its owner.
pub(super) type Bucket = (AccountId, Arc<dyn Store>);

/// A round, ready to be applied.
#[derive(Debug)]
pub(super) struct Round {
    /// What the leader said.
    pub record: RoundRecord,
    /// The pseudo-gradients that it names, in its order.
    pub payloads: Vec<Arc<PseudoGradient>>,
}

/// What fetching needs to know, owned, so that it can go on while a step is taken.
#[derive(Debug)]
pub(super) struct Sources {
    run: [u8; 32],
    netuid: NetUid,
    keys: RunKeys,
    layout: Arc<Layout>,
    /// Pseudo-gradients that a record may name.
    most_accepted: usize,
    leader: Bucket,
    /// The run's other validators, the highest stake first.
    validators: Vec<Bucket>,
    peers: Arc<BTreeMap<AccountId, Arc<dyn Store>>>,
    here: Prefetched,
    /// Whose buckets did not answer: they are asked last.
    silent: Mutex<BTreeSet<AccountId>>,
    at_once: Semaphore,
}

impl Sources {
    /// The buckets that a directory knows; what is `here` already is not downloaded.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`] where there is nobody to follow.
    pub fn new(
        identity: &Identity,
        directory: &Directory,
        replica: &Replica,
        here: &Prefetched,
    ) -> Result<Self, NodeError> {
        let Leader { hotkey, .. } = directory.led(identity.netuid)?;
        let store = directory.store(hotkey).ok_or(NodeError::NoLeader(identity.netuid))?;
        let run = identity.manifest.hash();
        let validators = directory.validators(&run).into_iter().filter(|(other, _)| other != hotkey);
        Ok(Self {
            run,
            netuid: identity.netuid,
            keys: identity.keys(),
            layout: replica.shared_layout(),
            most_accepted: identity.manifest.parsed.gauntlet.top_g,
            leader: (hotkey.clone(), store.clone()),
            validators: validators.collect(),
            peers: directory.buckets(),
            here: here.clone(),
            silent: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    /// Memory that one round's pseudo-gradients take at most, in bytes.
    pub fn round_bytes(&self) -> usize {
        let values = self.layout.tensors().iter().map(|t| 3 * t.kept_values() + 2 * t.levels());
        values.sum::<usize>().saturating_mul(self.most_accepted)
    }

    /// The leader's record of a window, if it is published.
    ///
    /// # Errors
    /// One of another run or window, or that names more than a round can have.
    pub async fn record(&self, window: Window) -> Result<Option<RoundRecord>, NodeError> {
        let (hotkey, store) = &self.leader;
        let record: Option<RoundRecord> = document(store.as_ref(), &self.keys.round(window), hotkey).await?;
        record.map(|record| self.sound(window, record)).transpose()
    }

    /// A leader may serve several runs and subnets from one bucket; its signature alone is not enough.
    fn sound(&self, window: Window, record: RoundRecord) -> Result<RoundRecord, NodeError> {
        if record.run != hex::encode(self.run) || record.netuid != self.netuid || record.window != window {
            return Err(NodeError::OutOfOrder { window });
        }
        let (count, limit) = (record.accepted.len(), self.most_accepted);
        if count > limit { Err(NodeError::TooManyAccepted { window, count, limit }) } else { Ok(record) }
    }

    /// Fetches the pseudo-gradients of a record.
    ///
    /// # Errors
    /// [`NodeError::Missing`] where nobody has one of them.
    pub async fn round(&self, record: RoundRecord) -> Result<Round, NodeError> {
        let window = record.window;
        let payload = |accepted| async move {
            if let Some(payload) = self.here.get(accepted) {
                return Ok(payload);
            }
            let payload = Arc::new(self.payload(window, accepted).await?);
            // What one try has fetched is there for the next, if another object could not be had.
            self.here.add(payload.clone());
            Ok::<_, NodeError>(payload)
        };
        let payloads = try_join_all(record.accepted.iter().map(payload)).await?;
        Ok(Round { record, payloads })
    }

    /// Fetches one pseudo-gradient: from its peer, else the leader's copy, else another validator's. The digest decides, so it
    /// does not matter who serves it, and what is damaged is left for the next.
    ///
    /// # Errors
    /// [`NodeError::Missing`] where nobody has it.
    pub async fn payload(&self, window: Window, accepted: &Accepted) -> Result<PseudoGradient, NodeError> {
        // It is never closed.
        let _turn = self.at_once.acquire().await;
        let mut refused = None;
        for (owner, store, key) in self.places(window, &accepted.hotkey) {
            let object = match store.get(&key, self.layout.max_object_bytes() as u64).await {
                Ok(object) => object,
                Err(error) => {
                    if !matches!(error, BucketError::NotFound { .. }) {
                        self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(owner);
                    }
                    continue;
                }
            };
            match self.decode(window, accepted, object.bytes).await {
                Ok(payload) if hex::encode(payload.digest) == accepted.digest => return Ok(payload),
                Ok(_) => tracing::debug!(window, %owner, "this is not the pseudo-gradient of the record"),
                Err(error) => refused = Some(error),
            }
        }
        Err(NodeError::Missing { window, hotkey: accepted.hotkey.clone(), source: refused })
    }

    /// Where a peer's pseudo-gradient can be, and under which key; those that answer come first.
    fn places(&self, window: Window, hotkey: &AccountId) -> Vec<(AccountId, Arc<dyn Store>, String)> {
        let own = self.peers.get(hotkey).map(|store| (hotkey, store, self.keys.gradient(window)));
        let copies = std::iter::once(&self.leader).chain(&self.validators);
        let copies = copies.map(|(owner, store)| (owner, store, self.keys.round_object(window, hotkey)));
        let mut places: Vec<_> = own
            .into_iter()
            .chain(copies)
            .map(|(owner, store, key)| (owner.clone(), store.clone(), key))
            .collect();
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        places.sort_by_key(|(owner, ..)| silent.contains(owner));
        places
    }

    /// Away from the threads that wait for the network.
    async fn decode(
        &self,
        window: Window,
        accepted: &Accepted,
        object: bytes::Bytes,
    ) -> Result<PseudoGradient, GradientError> {
        let layout = self.layout.clone();
        let (run, netuid, uid, hotkey) = (self.run, self.netuid, accepted.uid, accepted.hotkey.clone());
        let expected = Expected { run, netuid, window, uid, hotkey };
        let decode = move || gradient::decode(&object, &layout, &expected, verify);
        super::catch_up::joined(tokio::task::spawn_blocking(decode)).await
    }
}

//! Where the objects of rounds come from: the leader, the peers, and every validator that keeps copies.

use super::{
    Directory, Identity, Leader, NodeError, Prefetched, Replica,
    follow::{Following, document},
    mirrors::Mirrors,
    prefetch::Payload,
};
use crate::{
    bucket::{
        BucketError, Store,
        keys::{Key, RunKeys},
    },
    gradient::{self, Expected, GradientError, Layout, PseudoGradient},
    round::{Accepted, RoundRecord},
    wallet::{AccountId, verify},
    window::{NetUid, Window},
};
use bytes::Bytes;
use futures::future::try_join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Semaphore;

/// Objects that are fetched and decoded at the same time.
const AT_ONCE: usize = 32;

/// Keys of a leader's rounds that are looked at, to see whether one is a record: a record has at most so many copies.
const KEYS_LISTED: usize = 300;

/// A bucket with its owner.
pub(super) type Bucket = (AccountId, Arc<dyn Store>);

/// A record, and who signed it.
#[derive(Debug)]
pub(super) struct Said {
    pub record: RoundRecord,
    pub by: AccountId,
}

/// A round, ready to be applied.
#[derive(Debug)]
pub(super) struct Round {
    pub said: Said,
    /// The pseudo-gradients that the record names, in its order.
    pub payloads: Vec<Payload>,
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
    /// A window of which the leader is known to have a record; 0 before one is known.
    led: AtomicU64,
    mirrors: Mirrors,
    /// The run's other validators, the highest stake first.
    validators: Vec<Bucket>,
    peers: Arc<BTreeMap<AccountId, Arc<dyn Store>>>,
    here: Prefetched,
    /// Whether the objects are kept, to pass them on.
    whole: bool,
    /// Whose buckets did not answer: they are asked last.
    silent: Mutex<BTreeSet<AccountId>>,
    at_once: Semaphore,
}

impl Sources {
    /// The buckets that a directory knows.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`] where there is nobody to follow.
    pub fn new(
        identity: &Identity,
        directory: &Directory,
        replica: &Replica,
        following: &Following<'_>,
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
            led: AtomicU64::new(0),
            mirrors: following.mirrors.clone(),
            validators: validators.collect(),
            peers: directory.buckets(),
            here: following.here.clone(),
            whole: following.applied.is_some(),
            silent: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    /// Memory that one round's pseudo-gradients take at most, in bytes.
    pub fn round_bytes(&self) -> usize {
        let values = self.layout.tensors().iter().map(|t| 3 * t.kept_values() + 2 * t.levels());
        values.sum::<usize>().saturating_mul(self.most_accepted)
    }

    /// Who leads.
    pub fn leader(&self) -> &AccountId {
        &self.leader.0
    }

    /// The record of a window: the leader's, or of a window before it led, that of another validator. None while the leader has
    /// yet to say something; `newest` is a window of which that may be so.
    ///
    /// # Errors
    /// A record of the leader for another run or window, or that names more than a round can have.
    pub async fn record(&self, window: Window, newest: bool) -> Result<Option<Said>, NodeError> {
        if let Some(record) = self.record_of(window, &self.leader).await? {
            self.led.fetch_max(window, Ordering::Relaxed);
            return Ok(Some(Said { record, by: self.leader.0.clone() }));
        }
        if newest || !self.led_after(window).await? {
            return Ok(None);
        }
        for mirror in self.mirrors.order(&self.validators) {
            match self.record_of(window, mirror).await {
                Ok(Some(record)) => return Ok(Some(Said { record, by: mirror.0.clone() })),
                Ok(None) => {}
                Err(error) => tracing::debug!(window, hotkey = %mirror.0, %error, "no usable record"),
            }
        }
        Ok(None)
    }

    /// What a validator says of a window, as far as it is that run's and window's.
    async fn record_of(
        &self,
        window: Window,
        (hotkey, store): &Bucket,
    ) -> Result<Option<RoundRecord>, NodeError> {
        let record: Option<RoundRecord> = document(store.as_ref(), &self.keys.round(window), hotkey).await?;
        record.map(|record| self.sound(window, record)).transpose()
    }

    /// Whether the leader has a record of a later window. Before that nobody else's is taken: it may be about to decide.
    async fn led_after(&self, window: Window) -> Result<bool, NodeError> {
        if self.led.load(Ordering::Relaxed) > window {
            return Ok(true);
        }
        let after = self.keys.before("round", window + 1);
        let keys = self.leader.1.list_after(&self.keys.prefix("round"), &after, KEYS_LISTED).await?;
        let led = keys.iter().filter_map(|key| match self.keys.parse(key) {
            Some(Key::Round { window }) => Some(window),
            _ => None,
        });
        let led = led.max();
        self.led.fetch_max(led.unwrap_or(0), Ordering::Relaxed);
        Ok(led.is_some())
    }

    /// A validator may serve several runs and subnets from one bucket; its signature alone is not enough.
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
    pub async fn round(&self, said: Said) -> Result<Round, NodeError> {
        let window = said.record.window;
        let payload = |accepted| async move {
            if let Some(payload) = self.here.get(accepted) {
                return Ok(payload);
            }
            let (gradient, object) = self.payload(window, accepted).await?;
            let payload = Payload { gradient: Arc::new(gradient), object: self.whole.then_some(object) };
            // What one try has fetched is there for the next, if another object could not be had.
            self.here.keep(payload.clone());
            Ok::<_, NodeError>(payload)
        };
        match try_join_all(said.record.accepted.iter().map(payload)).await {
            Ok(payloads) => Ok(Round { said, payloads }),
            Err(error) => {
                // It may be that there never was such an object.
                if said.by != self.leader.0 {
                    self.mirrors.demote(&said.by);
                }
                Err(error)
            }
        }
    }

    /// Fetches one pseudo-gradient: from its peer, else the leader's copy, else another validator's. The digest decides, so it
    /// does not matter who serves it, and what is damaged is left for the next.
    ///
    /// # Errors
    /// [`NodeError::Missing`] where nobody has it.
    pub async fn payload(
        &self,
        window: Window,
        accepted: &Accepted,
    ) -> Result<(PseudoGradient, Bytes), NodeError> {
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
            match self.decode(window, accepted, object.bytes.clone()).await {
                Ok(payload) if hex::encode(payload.digest) == accepted.digest => {
                    return Ok((payload, object.bytes));
                }
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
        object: Bytes,
    ) -> Result<PseudoGradient, GradientError> {
        let layout = self.layout.clone();
        let (run, netuid, uid, hotkey) = (self.run, self.netuid, accepted.uid, accepted.hotkey.clone());
        let expected = Expected { run, netuid, window, uid, hotkey };
        let decode = move || gradient::decode(&object, &layout, &expected, verify);
        super::catch_up::joined(tokio::task::spawn_blocking(decode)).await
    }
}

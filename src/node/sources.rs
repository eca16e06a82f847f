//! Where the objects of rounds come from: the leader, the peers, and every validator that keeps copies.

use super::{
    Directory, Identity, Leader, NodeError, Prefetched, Replica, Turns,
    follow::{Following, signed_round},
    mirrors::Mirrors,
    prefetch::Payload,
};
use crate::{
    bucket::{
        BucketError, Store,
        keys::{Key, RunKeys},
    },
    gradient::{self, Expected, GradientError, Layout, PseudoGradient},
    round::{Accepted, RoundRecord, SignedRound},
    succession,
    wallet::{AccountId, verify},
    window::{NetUid, Window},
};
use bytes::Bytes;
use futures::future::try_join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// Objects that are fetched and decoded at the same time.
const AT_ONCE: usize = 32;

/// Keys of a leader's rounds that are looked at, to see whether one is a record: a record has at most so many copies.
const KEYS_LISTED: usize = 300;

/// A bucket with its owner.
pub(super) type Bucket = (AccountId, Arc<dyn Store>);

/// A record, and where it was read.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub signed: SignedRound,
    /// Whose bucket it was in.
    pub from: AccountId,
    /// The store's date, in seconds.
    pub said_s: u64,
    /// Whether it is to be believed: it was published in its author's turn, or is in the leader's bucket.
    pub decides: bool,
}

impl Said {
    pub fn record(&self) -> &RoundRecord {
        &self.signed.record
    }

    pub fn window(&self) -> Window {
        self.signed.record.window
    }
}

/// What there is about a window that is not settled yet.
#[derive(Debug)]
pub(super) enum Decision {
    /// This counts.
    Said(Box<Said>),
    /// Nobody has decided, and nobody can any more.
    Null,
    /// Whoever's turn it is has published nothing yet.
    Waiting,
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
    me: AccountId,
    /// Who has a UID.
    registered: BTreeSet<AccountId>,
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
        let run = identity.manifest.hash();
        let Leader { hotkey, .. } = directory.leader(&run)?;
        let store = directory.store(hotkey).ok_or(NodeError::NoLeader(identity.netuid))?;
        let registered = directory.metagraph.neurons.iter().map(|neuron| neuron.hotkey.clone());
        let validators = directory.validators(&run).into_iter().filter(|(other, _)| other != hotkey);
        Ok(Self {
            run,
            netuid: identity.netuid,
            keys: identity.keys(),
            layout: replica.shared_layout(),
            most_accepted: identity.manifest.parsed.gauntlet.top_g,
            leader: (hotkey.clone(), store.clone()),
            me: identity.account(),
            registered: registered.collect(),
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

    /// The record of a window that is settled: as the leader has it, else as another validator of the run does. A leader whose bucket
    /// is gone is done without, as long as another validator's answers.
    ///
    /// # Errors
    /// Nobody's bucket can be asked, or what the leader has is no record of this window.
    pub async fn record(&self, window: Window) -> Result<Option<Said>, NodeError> {
        let away = match self.record_in(window, &self.leader).await {
            Ok(Some(said)) => return Ok(Some(Said { decides: true, ..said })),
            Ok(None) => None,
            Err(error @ NodeError::Bucket(_)) => Some(error),
            Err(error) => return Err(error),
        };
        let mut answered = away.is_none();
        for mirror in self.mirrors.order(&self.validators) {
            match self.record_in(window, mirror).await {
                Ok(Some(said)) => return Ok(Some(said)),
                Ok(None) => answered = true,
                Err(error) => tracing::debug!(window, hotkey = %mirror.0, %error, "no usable record"),
            }
        }
        away.filter(|_| !answered).map_or(Ok(None), Err)
    }

    /// Another record of a window than the one that was applied: the one with this hash, from whoever has it.
    ///
    /// # Errors
    /// Nobody who answers has it, and somebody's bucket does not answer for the moment.
    pub async fn record_with(&self, window: Window, hash: &str) -> Result<Option<Said>, NodeError> {
        let mut away = None;
        for bucket in std::iter::once(&self.leader).chain(&self.validators) {
            match self.record_in(window, bucket).await {
                Ok(Some(said)) if said.signed.hash == hash => {
                    return Ok(Some(Said { decides: true, ..said }));
                }
                Ok(_) => {}
                Err(error) if error.is_transient() => away = Some(error),
                Err(error) => tracing::debug!(window, hotkey = %bucket.0, %error, "no usable record"),
            }
        }
        away.map_or(Ok(None), Err)
    }

    /// The first window after `window` of which there is a record: in the leader's bucket, or where that has none in another's.
    ///
    /// # Errors
    /// Nobody's bucket can be asked.
    pub async fn later(&self, window: Window) -> Result<Option<Window>, NodeError> {
        let away = match self.later_in(window, &self.leader.1).await {
            Ok(Some(later)) => return Ok(Some(later)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let (mut first, mut answered) = (None, away.is_none());
        for (hotkey, store) in &self.validators {
            match self.later_in(window, store).await {
                Ok(later) => (first, answered) = (first.into_iter().chain(later).min(), true),
                Err(error) => tracing::debug!(%hotkey, %error, "no list of records"),
            }
        }
        away.filter(|_| !answered).map_or(Ok(first), Err)
    }

    async fn later_in(&self, window: Window, store: &Arc<dyn Store>) -> Result<Option<Window>, NodeError> {
        let after = self.keys.before("round", window + 1);
        let keys = store.list_after(&self.keys.prefix("round"), &after, KEYS_LISTED).await?;
        Ok(keys.iter().find_map(|key| match self.keys.parse(key) {
            Some(Key::Round { window }) => Some(window),
            _ => None,
        }))
    }

    /// What is decided of a window whose turns are not over, or only just: the record of the lowest rank that was published in its
    /// author's turn. Nobody's counts before the turns of all before it are over.
    ///
    /// # Errors
    /// This node's own bucket cannot be asked: it does not know what it has said.
    pub async fn decide(&self, turns: &Turns) -> Result<Decision, NodeError> {
        let window = turns.window;
        for turn in &turns.turns {
            let counts = |said: &Said| {
                said.record().by == turn.hotkey
                    && succession::in_time(said.said_s, turn.end_ms)
                    && self.names_neurons(said.record())
            };
            let own = (turn.hotkey.clone(), turn.store.clone());
            let mut asked = vec![self.record_in(window, &own).await];
            if asked[0].is_err() {
                if turn.hotkey == self.me {
                    return asked.remove(0).map(|_| Decision::Waiting);
                }
                // It may be away for this node alone: who has seen its record in time passes it on.
                for other in turns.turns.iter().filter(|other| other.hotkey != turn.hotkey) {
                    asked.push(self.record_in(window, &(other.hotkey.clone(), other.store.clone())).await);
                }
            }
            let found = asked.into_iter().filter_map(|asked| match asked {
                Ok(said) => said,
                Err(error) => {
                    tracing::debug!(window, hotkey = %turn.hotkey, %error, "no record can be read");
                    None
                }
            });
            if let Some(said) = found.into_iter().find(counts) {
                return Ok(Decision::Said(Box::new(Said { decides: true, ..said })));
            }
            if !turn.is_over(turns.now_ms) {
                return Ok(Decision::Waiting);
            }
        }
        if !turns.are_over() {
            return Ok(Decision::Waiting);
        }
        // Somebody may have decided whose own bucket is gone since: then others have what it said. What stands there and came too late is
        // not worth more for having been passed on.
        if let Ok(Some(said)) = self.record(window).await
            && !self.stands_with_its_author(window, turns, &said).await
        {
            return Ok(Decision::Said(Box::new(Said { decides: true, ..said })));
        }
        Ok(Decision::Null)
    }

    /// Whether the author of a record has it in its own bucket, cannot be asked, or had no turn.
    async fn stands_with_its_author(&self, window: Window, turns: &Turns, said: &Said) -> bool {
        let Some(turn) = turns.turns.iter().find(|turn| turn.hotkey == said.record().by) else {
            return true;
        };
        let own = (turn.hotkey.clone(), turn.store.clone());
        match self.record_in(window, &own).await {
            Ok(found) => found.is_some_and(|found| found.signed.hash == said.signed.hash),
            Err(_) => true,
        }
    }

    /// Whether everybody whom a record names has a UID.
    fn names_neurons(&self, record: &RoundRecord) -> bool {
        let stranger = record.accepted.iter().find(|accepted| !self.registered.contains(&accepted.hotkey));
        if let Some(stranger) = stranger {
            let (window, hotkey) = (record.window, &stranger.hotkey);
            tracing::warn!(window, by = %record.by, %hotkey, "a record is not used: it names a hotkey without a UID");
        }
        stranger.is_none()
    }

    /// What a bucket has of a window, as far as it is that run's and window's.
    async fn record_in(&self, window: Window, (hotkey, store): &Bucket) -> Result<Option<Said>, NodeError> {
        let Some((signed, said_s)) = signed_round(store.as_ref(), &self.keys.round(window)).await? else {
            return Ok(None);
        };
        self.sound(window, &signed.record)?;
        Ok(Some(Said { signed, from: hotkey.clone(), said_s, decides: false }))
    }

    /// A validator may serve several runs and subnets from one bucket; its signature alone is not enough.
    fn sound(&self, window: Window, record: &RoundRecord) -> Result<(), NodeError> {
        if record.run != hex::encode(self.run) || record.netuid != self.netuid || record.window != window {
            return Err(NodeError::OutOfOrder { window });
        }
        let (count, limit) = (record.accepted.len(), self.most_accepted);
        if count > limit || (record.null.is_some() && count > 0) {
            return Err(NodeError::TooManyAccepted { window, count, limit });
        }
        // A turn that was missed later than this would keep its owner last for as long as the author likes.
        if record.passed.values().any(|missed| *missed > window) {
            return Err(NodeError::OutOfOrder { window });
        }
        let distinct: BTreeSet<_> = record.accepted.iter().map(|accepted| &accepted.hotkey).collect();
        if distinct.len() < count { Err(NodeError::NamedTwice { window }) } else { Ok(()) }
    }

    /// Fetches the pseudo-gradients of a record.
    ///
    /// # Errors
    /// [`NodeError::Missing`] where nobody has one of them.
    pub async fn round(&self, said: Said) -> Result<Round, NodeError> {
        let window = said.window();
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
        match try_join_all(said.record().accepted.iter().map(payload)).await {
            Ok(payloads) => Ok(Round { said, payloads }),
            Err(error) => {
                // It may be that there never was such an object.
                if !said.decides {
                    self.mirrors.demote(&said.from);
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

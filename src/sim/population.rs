//! All peers of a simulation: which hotkeys are registered where, and what each uploads in a window.

use super::{
    judge::{NETUID, samples, sign},
    kinds::{Class, Kind},
    peer::{Behaviour, Content, PeerState, Seen, Sent, Visible, World},
    scenario::{PeerSpec, Scenario},
    threads,
};
use crate::{
    codec::ErrorFeedback,
    gauntlet::{Hotkey, Peer},
    gradient::{self, Header, Layout},
    window::{Uid, Window},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{collections::BTreeMap, sync::Arc};
use templar_codec::sketch::seal;

/// One participant over the whole run; its hotkey changes when it registers anew.
pub struct Member {
    /// What it is.
    pub kind: Kind,
    /// Its UID.
    pub uid: Uid,
    /// When it came to its UID; `None` while it is not there.
    pub registered: Option<Window>,
    joins: Window,
    /// Windows after which it registers under another hotkey.
    pub replaced_every: Option<u64>,
    fails: f64,
    peer_state: PeerState,
    behaviour: Box<dyn Behaviour>,
    sent: Sent,
    object: Option<Upload>,
}

/// An object in a bucket.
pub struct Upload {
    /// Whose.
    pub hotkey: Hotkey,
    /// Its UID.
    pub uid: Uid,
    /// Its bytes and when they were there, in milliseconds; `None` where nothing is.
    pub object: Option<(Vec<u8>, u64)>,
    /// Own assigned sequences that went into it, as a share of all assigned.
    pub work: f64,
    /// What the peer was assigned: a pure function, so that its validators need not compute it again.
    pub assigned: Vec<u64>,
    /// The digest of that.
    digest: String,
}

impl Upload {
    /// The digest of what the peer claims, the first of what it was assigned.
    pub fn digest_of(&self, world: &World, claimed: &[u64]) -> String {
        if claimed.len() == self.assigned.len() { self.digest.clone() } else { world.text.digest(claimed) }
    }
}

/// Everybody.
pub struct Population {
    /// In the order of UIDs.
    pub members: Vec<Member>,
    seed: u64,
    layout: Layout,
}

impl Population {
    /// The scenario's peers, their UIDs drawn.
    pub fn new(scenario: &Scenario, layout: &Layout) -> Self {
        let mut rng = StdRng::seed_from_u64(scenario.seed);
        let count = scenario.peers.iter().map(|p| p.count).sum::<usize>();
        let mut uids: Vec<Uid> = (0..count as Uid).collect();
        uids.shuffle(&mut rng);
        let mut uids = uids.into_iter();
        let mut population = Self { members: Vec::new(), seed: scenario.seed, layout: layout.clone() };
        for spec in &scenario.peers {
            for place in 0..spec.count {
                let uid = uids.next().unwrap_or(Uid::MAX);
                population.members.push(population.member(spec, place, uid));
            }
        }
        population.members.sort_by_key(|member| member.uid);
        population
    }

    fn member(&self, spec: &PeerSpec, place: usize, uid: Uid) -> Member {
        let spread = spec.joins_over * place as u64 / spec.count.max(1) as u64;
        Member {
            kind: spec.kind.clone(),
            uid,
            registered: None,
            joins: spec.joins + spread,
            replaced_every: spec.replaced_every,
            fails: spec.fails,
            peer_state: self.peer_state(uid, 0),
            behaviour: spec.kind.behaviour(),
            sent: Sent::default(),
            object: None,
        }
    }

    /// The `life`-th hotkey of a UID, with nothing learned yet.
    fn peer_state(&self, uid: Uid, life: u64) -> PeerState {
        let mut hash = blake3::Hasher::new_derive_key("templar simulator hotkey");
        hash.update(&self.seed.to_le_bytes()).update(&uid.to_le_bytes()).update(&life.to_le_bytes());
        let key = *hash.finalize().as_bytes();
        let feedback = ErrorFeedback::new(self.layout.codec());
        PeerState {
            hotkey: Hotkey::from(key),
            uid,
            assigned: Vec::new(),
            feedback,
            rng: StdRng::from_seed(key),
        }
    }

    /// Registers who joins or comes back under another hotkey in this window.
    pub fn register(&mut self, window: Window) {
        for at in 0..self.members.len() {
            let member = &self.members[at];
            let age = window.checked_sub(member.joins);
            let life = age.zip(member.replaced_every).map_or(0, |(age, every)| age / every.max(1));
            let again = age.zip(member.replaced_every).is_some_and(|(age, every)| age % every.max(1) == 0);
            if age == Some(0) || (age.is_some() && again) {
                let peer_state = self.peer_state(member.uid, life);
                let member = &mut self.members[at];
                member.behaviour = member.kind.behaviour();
                member.peer_state = peer_state;
                member.registered = Some(window);
            }
        }
    }

    /// What a hotkey's work is worth.
    pub fn class(&self, hotkey: &Hotkey) -> Option<Class> {
        let mut members = self.members.iter();
        members.find(|member| member.peer_state.hotkey == *hotkey).map(|member| member.kind.class())
    }

    /// Who is registered, as Gauntlet is told.
    pub fn roster(&self) -> Vec<Peer> {
        let peer = |member: &Member| {
            let registered_at_block = member.registered? + 1;
            Some(Peer { hotkey: member.peer_state.hotkey.clone(), uid: member.uid, registered_at_block })
        };
        self.members.iter().filter_map(peer).collect()
    }

    /// Everybody's window: first those who do not look, then those who do.
    pub fn uploads(&mut self, world: &World, threads: usize) -> Vec<Upload> {
        registered(&mut self.members, threads, |member| {
            member.peer_state.assigned = world.assigned(&member.peer_state.hotkey);
            member.sent = member.behaviour.work(&mut member.peer_state, world);
        });
        let mut shared = BTreeMap::<usize, Vec<_>>::new();
        let mut uploads = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.registered.is_some()) {
            if let (Some(group), Some(tensors)) = (member.kind.group(), member.sent.shared.take()) {
                shared.entry(group).or_default().push((member.uid, tensors));
            }
            if let (Some((Content::Gradient { tensors, .. }, at_ms)), false) =
                (&member.sent.upload, member.behaviour.looks())
            {
                let (tensors, declared) = (Arc::new(tensors.clone()), Arc::new(member.sent.declared.clone()));
                uploads.push(Visible { uid: member.uid, at_ms: *at_ms, tensors, declared });
            }
        }
        let seen = Seen { uploads: &uploads, shared: &shared };
        registered(&mut self.members, threads, |member| {
            if member.behaviour.looks() {
                member.sent = member.behaviour.act(&mut member.peer_state, world, &seen);
            }
            if member.peer_state.rng.random_bool(member.fails) {
                member.sent.upload = None;
            }
            member.object = Some(upload(member, world));
        });
        self.members.iter_mut().filter_map(|member| member.object.take()).collect()
    }
}

/// Runs something for each registered member, on some threads.
fn registered(members: &mut [Member], threads: usize, work: impl Fn(&mut Member) + Sync) {
    threads::each(members, threads, |member| {
        if member.registered.is_some() {
            work(member);
        }
    });
}

/// Puts a member's work into the bytes that its bucket holds.
fn upload(member: &mut Member, world: &World) -> Upload {
    let (hotkey, uid) = (member.peer_state.hotkey.clone(), member.uid);
    let Sent { upload, work, mut declared, .. } = std::mem::take(&mut member.sent);
    let assigned = std::mem::take(&mut member.peer_state.assigned);
    let digest = world.text.digest(&assigned);
    let nothing = Upload { hotkey: hotkey.clone(), uid, object: None, work: 0.0, assigned, digest };
    let Some((content, at_ms)) = upload else { return nothing };
    let (tensors, lag, how) = match content {
        Content::Gradient { tensors, lag } => (tensors, lag, None),
        Content::Spoilt { tensors, how } => (tensors, 0, Some(how)),
    };
    if declared.is_empty() {
        declared = member.peer_state.invent(world, world.micro_batches());
    }
    // Where work is not audited everybody claims all that is assigned.
    let (claimed, sketches) = match world.layout.audited() {
        Some(_) => {
            let count = nothing.assigned.len().min(declared.len() * world.micro_batch);
            (&nothing.assigned[..count], declared.iter().flat_map(|one| seal(&[*one])).collect())
        }
        None => (nothing.assigned.as_slice(), Vec::new()),
    };
    let header = Header {
        run: world.run,
        netuid: NETUID,
        window: world.window,
        uid,
        hotkey: hotkey.clone(),
        sample_digest: nothing.digest_of(world, claimed),
        sample_count: claimed.len() as u64,
        model_hash: world.run,
        model_samples: samples(world, &hotkey, lag),
    };
    let sign = |message: &[u8]| sign(&hotkey, message);
    let encoded = gradient::encode_with_sketches(&header, &tensors, &sketches, world.layout, sign);
    let Ok((mut bytes, _)) = encoded else { return nothing };
    if let Some(how) = how {
        spoil(&mut bytes, how, &mut member.peer_state.rng);
    }
    Upload { object: Some((bytes, at_ms)), work, ..nothing }
}

/// Breaks an object: cut, longer, a changed bit, a header that lies about its length.
fn spoil(bytes: &mut Vec<u8>, how: u64, rng: &mut StdRng) {
    match how % 4 {
        0 => bytes.truncate(rng.random_range(0..bytes.len().max(1))),
        1 => bytes.extend_from_slice(&[0; 4096]),
        2 => bytes.iter_mut().take(8).for_each(|byte| *byte = 0xff),
        _ => {
            let at = rng.random_range(0..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
}

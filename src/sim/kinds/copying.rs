//! Peers that live off what others upload.

use crate::sim::{
    blend,
    peer::{Behaviour, Own, PeerState, Seen, Sent, World},
};

/// When copiers upload: as a share of the put window.
const LAST_MINUTE: f64 = 0.95;

/// Uploads a blend of others' objects and noise.
pub struct Copier {
    /// Objects that are blended.
    pub of: usize,
    /// Weight of the noise.
    pub noise: f64,
}

impl Behaviour for Copier {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, _: &mut PeerState, _: &World) -> Sent {
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let at = world.during(LAST_MINUTE);
        let found = seen.draw(peer_state, world, self.of, at);
        // What they declare comes with what they send.
        let declared = found.first().map_or_else(Vec::new, |one| one.declared.to_vec());
        if let ([one], 0.0) = (found.as_slice(), self.noise) {
            return Sent::new(one.tensors.to_vec(), at, 0.0).declaring(declared);
        }
        let noise = blend::noise(world.layout, &mut peer_state.rng);
        let copied = (1.0 - self.noise as f32) / found.len().max(1) as f32;
        let mut parts: Vec<_> = found.iter().map(|one| (copied, one.tensors.as_slice())).collect();
        parts.push((self.noise as f32, &noise));
        Sent::new(blend::blend(&parts, world.layout), at, 0.0).declaring(declared)
    }
}

/// Reads an object while its author is still sending it, and has an earlier time stamp.
pub struct Thief;

impl Behaviour for Thief {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, _: &mut PeerState, _: &World) -> Sent {
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let found = seen.draw(peer_state, world, 1, u64::MAX);
        let Some(one) = found.first() else { return Sent::default() };
        Sent::new(one.tensors.to_vec(), world.during(0.0), 0.0).declaring(one.declared.to_vec())
    }
}

/// Does its own work, declares it, and sends somebody else's object ahead of its author, so that the author is taken for the copy.
pub struct Framer {
    /// What it has done in this window.
    pub own: Option<Own>,
}

impl Behaviour for Framer {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = Some(peer_state.train_own(world, 1.0));
        Sent::default()
    }

    fn act(&mut self, _: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let own = self.own.take().unwrap_or_default();
        let pay = |uid| world.incentive.get(&uid).copied().unwrap_or(0.0);
        let paid = seen.uploads.iter().filter(|one| pay(one.uid) > 0.0);
        match paid.min_by(|a, b| pay(a.uid).total_cmp(&pay(b.uid))) {
            Some(weak) => Sent { work: 0.0, ..own.behind(weak.tensors.to_vec(), world.during(0.0)) },
            None => own.sent(world.during(0.0)),
        }
    }
}

/// Its own work with others' blended in.
pub struct Mixed {
    work: f64,
    copied: f64,
    of: usize,
    own: Own,
}

impl Mixed {
    /// Does `work` of its assignment; `copied` is the weight of `of` others' objects in the blend.
    pub fn new(work: f64, copied: f64, of: usize) -> Self {
        Self { work, copied, of, own: Own::default() }
    }
}

impl Behaviour for Mixed {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = peer_state.train_own(world, self.work);
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let at = world.during(LAST_MINUTE);
        let found = seen.draw(peer_state, world, self.of, at);
        let copied = self.copied as f32 / found.len().max(1) as f32;
        let mut parts: Vec<_> = found.iter().map(|one| (copied, one.tensors.as_slice())).collect();
        parts.push((1.0 - self.copied as f32, &self.own.tensors));
        let blend = blend::blend(&parts, world.layout);
        std::mem::take(&mut self.own).behind(blend, at)
    }
}

/// Takes the others' common direction out of its own work, so that only what fits its own data is left.
#[derive(Default)]
pub struct Memoriser {
    own: Own,
}

impl Behaviour for Memoriser {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = peer_state.train_own(world, 1.0);
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let at = world.during(LAST_MINUTE);
        let found = seen.draw(peer_state, world, 20, at);
        let mean: Vec<_> = found.iter().map(|one| (1.0, one.tensors.as_slice())).collect();
        let common = blend::blend(&mean, world.layout);
        let parts = [(1.0, self.own.tensors.as_slice()), (-1.0, common.as_slice())];
        let blend = blend::blend(&parts, world.layout);
        std::mem::take(&mut self.own).behind(blend, at)
    }
}

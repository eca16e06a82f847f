//! Peers that live off what others upload.

use crate::{
    gradient::SparseTensor,
    sim::{
        blend,
        peer::{Behaviour, PeerState, Seen, Sent, World},
    },
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
        if let ([one], 0.0) = (found.as_slice(), self.noise) {
            return Sent::new(one.to_vec(), at, 0.0);
        }
        let noise = blend::noise(world.layout, &mut peer_state.rng);
        let copied = (1.0 - self.noise as f32) / found.len().max(1) as f32;
        let mut parts: Vec<_> = found.into_iter().map(|tensors| (copied, tensors)).collect();
        parts.push((self.noise as f32, &noise));
        Sent::new(blend::blend(&parts, world.layout), at, 0.0)
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
        Sent::new(one.to_vec(), world.during(0.0), 0.0)
    }
}

/// Its own work with others' blended in.
pub struct Mixed {
    work: f64,
    copied: f64,
    of: usize,
    own: Vec<SparseTensor>,
}

impl Mixed {
    /// Does `work` of its assignment; `copied` is the weight of `of` others' objects in the blend.
    pub fn new(work: f64, copied: f64, of: usize) -> Self {
        Self { work, copied, of, own: Vec::new() }
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
        let mut parts: Vec<_> = found.into_iter().map(|tensors| (copied, tensors)).collect();
        parts.push((1.0 - self.copied as f32, &self.own));
        Sent::new(blend::blend(&parts, world.layout), at, self.work)
    }
}

/// Takes the others' common direction out of its own work, so that only what fits its own data is left.
#[derive(Default)]
pub struct Memoriser {
    own: Vec<SparseTensor>,
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
        let mean: Vec<_> = found.iter().map(|tensors| (1.0, *tensors)).collect();
        let common = blend::blend(&mean, world.layout);
        let parts = [(1.0, self.own.as_slice()), (-1.0, common.as_slice())];
        Sent::new(blend::blend(&parts, world.layout), at, 1.0)
    }
}

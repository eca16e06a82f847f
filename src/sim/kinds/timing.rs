//! Peers that are too late, too early, or not always there.

use crate::{
    gradient::SparseTensor,
    sim::{
        blend,
        peer::{Behaviour, PeerState, Seen, Sent, World},
    },
};

/// Does its work, looks at everybody's, and uploads the blend after the put window.
pub struct Late {
    /// How long after.
    pub seconds: u64,
    /// Its own part.
    pub own: Option<Vec<SparseTensor>>,
}

impl Behaviour for Late {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = Some(peer_state.train_own(world, 1.0));
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let at = world.put.close_ms + 1000 * self.seconds;
        let found = seen.draw(peer_state, world, 2, at);
        let mut parts: Vec<_> = found.into_iter().map(|tensors| (0.05, tensors)).collect();
        parts.extend(self.own.as_deref().map(|own| (0.9, own)));
        // Work that comes too late for the round is none.
        Sent::new(blend::blend(&parts, world.layout), at, 0.0)
    }
}

/// Does its work from the model of the round before and uploads ahead of the put window.
pub struct Early {
    /// How long before.
    pub seconds: u64,
}

impl Behaviour for Early {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let tensors = peer_state.train_own(world, 1.0);
        Sent::new(tensors, world.put.open_ms.saturating_sub(1000 * self.seconds), 0.0)
    }
}

/// Earns a name, then rests on it.
pub struct OnOff {
    /// Windows of work.
    pub on: u64,
    /// Windows without.
    pub off: u64,
    /// Windows so far.
    pub age: u64,
    /// Its last work.
    pub last: Option<Vec<SparseTensor>>,
}

impl Behaviour for OnOff {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let works = self.age % (self.on + self.off).max(1) < self.on || self.last.is_none();
        self.age += 1;
        if works {
            self.last = Some(peer_state.train_own(world, 1.0));
        }
        let tensors = self.last.clone().unwrap_or_default();
        Sent::new(tensors, peer_state.in_time(world), if works { 1.0 } else { 0.0 })
    }
}

//! Peers that are too late, too early, or not always there.

use crate::sim::{
    blend,
    peer::{Behaviour, Own, PeerState, Seen, Sent, World},
};

/// Does its work, looks at everybody's, and uploads the blend after the put window.
pub struct Late {
    /// How long after.
    pub seconds: u64,
    /// Its own part.
    pub own: Option<Own>,
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
        let own = self.own.take().unwrap_or_default();
        let mut parts: Vec<_> = found.iter().map(|one| (0.05, one.tensors.as_slice())).collect();
        parts.push((0.9, &own.tensors));
        let blend = blend::blend(&parts, world.layout);
        // Work that comes too late for the round is none.
        Sent { work: 0.0, ..own.behind(blend, at) }
    }
}

/// Does its work from the model of the round before and uploads ahead of the put window.
pub struct Early {
    /// How long before.
    pub seconds: u64,
}

impl Behaviour for Early {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let own = peer_state.train_own(world, 1.0);
        let at = world.put.open_ms.saturating_sub(1000 * self.seconds);
        Sent { work: 0.0, ..own.sent(at) }
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
    pub last: Option<Own>,
}

impl Behaviour for OnOff {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let works = self.age % self.on.saturating_add(self.off).max(1) < self.on || self.last.is_none();
        self.age += 1;
        if works {
            self.last = Some(peer_state.train_own(world, 1.0));
        }
        let own = self.last.clone().unwrap_or_default();
        let work = if works { own.work } else { 0.0 };
        Sent { work, ..own.sent(peer_state.in_time(world)) }
    }
}

/// Works and is gone.
pub struct Vanish {
    /// Windows of work.
    pub works: u64,
    /// Windows so far.
    pub age: u64,
}

impl Behaviour for Vanish {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.age += 1;
        if self.age > self.works {
            return Sent::default();
        }
        let own = peer_state.train_own(world, 1.0);
        own.sent(peer_state.in_time(world))
    }
}

/// Earns a name, then sends nothing of use, then does harm.
pub struct Sleeper {
    /// Windows of work, and after it of nothing.
    pub works: u64,
    /// Windows so far.
    pub age: u64,
}

impl Behaviour for Sleeper {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.age += 1;
        let at = peer_state.in_time(world);
        match (self.age - 1) / self.works.max(1) {
            0 => peer_state.train_own(world, 1.0).sent(at),
            1 => Sent::new(blend::nothing(world.layout), at, 0.0),
            _ => {
                let mut own = peer_state.train_own(world, 1.0);
                blend::flip(&mut own.tensors);
                Sent { work: 0.0, ..own.sent(at) }
            }
        }
    }
}

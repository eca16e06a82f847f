//! Peers that do harm, or try to.

use crate::sim::{
    bigram::SYMBOLS,
    blend,
    peer::{Behaviour, Content, PeerState, Sent, World},
};
use rand::Rng;

/// Random numbers of the right shape.
pub struct Random;

impl Behaviour for Random {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let tensors = blend::noise(world.layout, &mut peer_state.rng);
        Sent::new(tensors, peer_state.in_time(world), 0.0)
    }
}

/// Honest work with every sign turned.
pub struct Flipped;

impl Behaviour for Flipped {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let mut own = peer_state.train_own(world, 0.125);
        blend::flip(&mut own.tensors);
        Sent { work: 0.0, ..own.sent(peer_state.in_time(world)) }
    }
}

/// Work, made long enough to outweigh everybody else's.
pub struct Inflated {
    /// Share of its assignment that it trains on.
    pub work: f64,
    /// Doublings of the length.
    pub doublings: i8,
}

impl Behaviour for Inflated {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let mut own = peer_state.train_own(world, self.work);
        blend::inflate(&mut own.tensors, self.doublings);
        own.sent(peer_state.in_time(world))
    }
}

/// Objects that are broken, each in another way.
pub struct Malformed {
    /// Which way is next.
    pub next: u64,
}

impl Behaviour for Malformed {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.next += 1;
        let tensors = blend::noise(world.layout, &mut peer_state.rng);
        let at = peer_state.in_time(world);
        Sent { upload: Some((Content::Spoilt { tensors, how: self.next }, at)), ..Sent::default() }
    }
}

/// Trains on its own text with some of the next symbols replaced by one of its choice. Where it can it computes its work too, to declare
/// it, and sends the poison.
pub struct Poisoner {
    /// The share that is replaced.
    pub share: f64,
}

impl Behaviour for Poisoner {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let declared = peer_state.honest_sketches(world);
        let own = peer_state.assigned.clone();
        let mut counts = world.text.counts(&[]);
        for index in own {
            let mut sequence = world.text.sequence(index).to_vec();
            for symbol in &mut sequence {
                if peer_state.rng.random_bool(self.share) {
                    *symbol = (SYMBOLS - 2) as u8;
                }
            }
            counts.add(&sequence);
        }
        let tensors = peer_state.train(world, &counts, 0);
        Sent::new(tensors, peer_state.in_time(world), 1.0).declaring(declared)
    }
}

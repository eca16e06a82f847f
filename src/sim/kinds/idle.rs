//! Peers that save themselves the work.

use crate::{
    data,
    gradient::SparseTensor,
    sim::{
        blend,
        peer::{Behaviour, Content, PeerState, Sent, World},
    },
};
use rand::Rng;

/// Uploads a well-formed object of zeros.
pub struct Idle;

impl Behaviour for Idle {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        Sent::new(blend::nothing(world.layout), peer_state.in_time(world), 0.0)
    }
}

/// Worked once.
#[derive(Default)]
pub struct Repeat {
    old: Option<Vec<SparseTensor>>,
}

impl Behaviour for Repeat {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let first = self.old.is_none();
        let tensors = self.old.get_or_insert_with(|| peer_state.train_own(world, 1.0)).clone();
        Sent::new(tensors, peer_state.in_time(world), if first { 1.0 } else { 0.0 })
    }
}

/// Trains honestly, on text that it chose itself.
pub struct OtherData;

impl Behaviour for OtherData {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let other =
            data::random(&peer_state.rng.random(), world.window, world.sequences, world.text.training());
        let tensors = peer_state.train(world, &world.text.counts(&other), 0);
        Sent::new(tensors, peer_state.in_time(world), 0.0)
    }
}

/// Trains from an old model, which it shows, for it has no other.
pub struct Stale {
    /// Rounds by which it is old.
    pub lag: usize,
}

impl Behaviour for Stale {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let counts = world.text.counts(&peer_state.assigned);
        let tensors = peer_state.train(world, &counts, self.lag);
        let at = peer_state.in_time(world);
        Sent { upload: Some((Content::Gradient { tensors, lag: self.lag }, at)), ..Sent::default() }
    }
}

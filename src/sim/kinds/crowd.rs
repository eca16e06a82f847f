//! Peers that belong together.

use crate::sim::{
    blend,
    peer::{Behaviour, Own, PeerState, Seen, Sent, World},
};

/// Trains on a share of its assignment and uploads what all of its group did.
pub struct Colluder {
    /// Whose members see each other's work.
    pub group: usize,
    /// The share.
    pub work: f64,
    /// What it has done in this window.
    pub own: Own,
}

impl Behaviour for Colluder {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = peer_state.train_own(world, self.work);
        Sent { shared: Some(self.own.tensors.clone()), ..Sent::default() }
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let shared = seen.shared.get(&self.group);
        let parts: Vec<_> =
            shared.into_iter().flatten().map(|(_, tensors)| (1.0, tensors.as_slice())).collect();
        let pool = blend::blend(&parts, world.layout);
        std::mem::take(&mut self.own).behind(pool, peer_state.in_time(world))
    }
}

//! Peers that do what they are asked.

use crate::sim::peer::{Behaviour, PeerState, Sent, World};

/// Trains on a share of its assignment and uploads in time.
pub struct Honest {
    /// The share.
    pub work: f64,
}

impl Behaviour for Honest {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let own = peer_state.train_own(world, self.work);
        own.sent(peer_state.in_time(world))
    }
}

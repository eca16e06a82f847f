//! Peers that do what they are asked.

use crate::sim::peer::{Behaviour, Body, Sent, World};

/// Trains on a share of its assignment and uploads in time.
pub struct Honest {
    /// The share.
    pub work: f64,
}

impl Behaviour for Honest {
    fn work(&mut self, body: &mut Body, world: &World) -> Sent {
        let tensors = body.train_own(world, self.work);
        Sent::new(tensors, body.in_time(world), self.work)
    }
}

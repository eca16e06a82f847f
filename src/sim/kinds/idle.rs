//! Peers that save themselves the work.

use crate::{
    data,
    sim::{
        blend,
        peer::{Behaviour, Content, Own, PeerState, Sent, World},
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
    old: Option<Own>,
}

impl Behaviour for Repeat {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let first = self.old.is_none();
        let own = self.old.get_or_insert_with(|| peer_state.train_own(world, 1.0)).clone();
        let work = if first { own.work } else { 0.0 };
        Sent { work, ..own.sent(peer_state.in_time(world)) }
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

/// Trains from an old model. It shows it, for it has no other, or it has the current one too and shows that.
pub struct Stale {
    /// Rounds by which it is old.
    pub lag: usize,
    /// Whether it shows the current one.
    pub hidden: bool,
}

impl Behaviour for Stale {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let Own { tensors, sketches, work } = peer_state.train_own_from(world, 1.0, self.lag);
        let at = peer_state.in_time(world);
        let lag = if self.hidden { 0 } else { self.lag };
        let upload = Some((Content::Gradient { tensors, lag }, at));
        // A model of some rounds ago is nearly the current one: what comes of it is worth something, as long as it is not found out.
        let work = if self.hidden { work } else { 0.0 };
        Sent { upload, work, ..Sent::default() }.declaring(sketches)
    }
}

/// Trains on what everybody was judged on in the window before: all that it can know of what it will be judged on.
pub struct Chaser;

impl Behaviour for Chaser {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let window = world.window.saturating_sub(1);
        let judged = data::random(&world.last_seed, window, world.sequences, world.text.training());
        let tensors = peer_state.train(world, &world.text.counts(&judged), 0);
        Sent::new(tensors, peer_state.in_time(world), 0.0)
    }
}

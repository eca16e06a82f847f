//! Peers that declare one thing and do another.

use super::Hollow as Sends;
use crate::sim::{
    blend,
    peer::{Behaviour, Own, PeerState, Seen, Sent, World},
};
use templar_codec::sketch::{BUCKETS, Sums};

/// Declares more than it does.
pub struct OverDeclarer {
    /// Share of its assignment that it trains on.
    pub work: f64,
    /// Share that it declares.
    pub declares: f64,
}

impl Behaviour for OverDeclarer {
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        let mut own = peer_state.train_own(world, self.work);
        let declared = (world.micro_batches() as f64 * self.declares).round() as usize;
        // The mean of what was computed is the best guess at what was not.
        let mean = match own.sketches.len() {
            0 => peer_state.invent(world, 1),
            _ => vec![mean(&own.sketches)],
        };
        own.sketches.resize(declared, mean[0]);
        own.sent(peer_state.in_time(world))
    }
}

fn mean(sketches: &[Sums]) -> Sums {
    let mut mean = [0.0; BUCKETS];
    for sketch in sketches {
        mean.iter_mut().zip(sketch).for_each(|(mean, sum)| *mean += sum / sketches.len() as f64);
    }
    mean
}

/// Computes and declares everything, and sends something else.
pub struct Hollow {
    /// What it sends.
    pub sends: Sends,
    /// What it has done in this window.
    pub own: Option<Own>,
}

impl Behaviour for Hollow {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = Some(peer_state.train_own(world, 1.0));
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let at = world.during(0.95);
        let mut own = self.own.take().unwrap_or_default();
        let sent = match self.sends {
            Sends::Nothing => blend::nothing(world.layout),
            Sends::Noise => blend::noise(world.layout, &mut peer_state.rng),
            Sends::Copies => {
                let found = seen.draw(peer_state, world, 5, at);
                let parts: Vec<_> = found.iter().map(|one| (1.0, one.tensors.as_slice())).collect();
                blend::blend(&parts, world.layout)
            }
            Sends::Flipped => {
                let mut tensors = std::mem::take(&mut own.tensors);
                blend::flip(&mut tensors);
                tensors
            }
            Sends::Drowned => {
                let noise = blend::noise(world.layout, &mut peer_state.rng);
                blend::blend(&[(0.3, own.tensors.as_slice()), (0.7, noise.as_slice())], world.layout)
            }
        };
        // But for what is only drowned it brings nothing of use, whatever it computed.
        let work = if self.sends == Sends::Drowned { own.work } else { 0.0 };
        Sent { work, ..own.behind(sent, at) }
    }
}

//! Real training of many peers in one process: the same model, text and order of tokens under different optimisers, so that their
//! losses can be compared at equal tokens. `scripts/reproduce loss` and the claims of Gauntlet's tests run it.
//!
//! What learns and judges here is what learns and judges in the programs: [`crate::train`], [`crate::compress`], [`crate::aggregate`] and
//! [`crate::gauntlet`]. What is missing is the network: objects are handed over in memory, always in time.

mod error;
mod method;
mod network;
mod order;
mod run;
mod task;

pub use error::LabError;
pub use method::{Contender, Method, Setup};
pub use network::{Conduct, Network, Round, Settings};
pub use order::{Order, Text};
pub use run::{Curve, Point, run};
pub use task::Task;

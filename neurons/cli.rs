//! Every verb that is no role, and what all verbs share: how a [`failure`] reaches a person, common flags, and the
//! [`output`] of results.

mod args;
pub mod audit;
pub mod bench;
pub mod chain;
pub mod config;
pub mod data;
pub mod devchain;
pub mod eval;
pub mod failure;
pub mod metagraph;
pub mod model;
pub mod money;
pub mod output;
pub mod pay;
pub mod preview;
pub mod register;
pub mod scores;
pub mod serve;
pub mod sim;
pub mod storage;
pub mod subnets;
pub mod wallet;
pub mod weights;
pub mod why;

pub use args::{NetworkArgs, PasswordArgs, WalletArgs};
pub use failure::{EXIT_CODES, Exit, Failure};
pub use money::{Amount, ConsentArgs};

//! The verbs of the program `templar`. The roles, `miner`, `validator` and `localnet`, have files of their own and share
//! `context`; every other verb is in `cli`. [`commands`] is the command tree.

mod cli;
pub mod commands;
mod context;
mod evaluator;
mod localnet;
mod miner;
mod retention;
#[cfg(test)]
mod soak;
mod validator;

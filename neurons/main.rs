//! The command tree, and nothing else: each verb has a file or a folder of its own.

use clap::{Parser, Subcommand};
use failure::ToFailure;
use std::process::ExitCode;
use templar::telemetry::{self, LogOutput};

mod audit;
mod chain;
mod cli;
mod devchain;
mod failure;
mod localnet;
mod metagraph;
mod miner;
mod output;
mod register;
mod scores;
mod setup;
mod sim;
mod storage;
mod validator;
mod wallet;
mod weights;
mod why;

/// Train one language model in the open, and be paid for what the work is worth.
#[derive(Parser)]
#[command(name = "templar", version, after_help = cli::EXIT_CODES, propagate_version = true)]
struct Templar {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a whole network on this machine: chain, storage, miners, validators
    Localnet(localnet::Args),
    /// Train and publish pseudo-gradients
    Miner(miner::Args),
    /// Judge the miners and set weights
    Validator(validator::Args),
    /// Simulate an economy of honest peers and attackers
    Sim(sim::Args),
    /// Show the neurons of a subnet
    Metagraph(metagraph::Args),
    /// Read and set the weights of validators
    Weights(weights::Args),
    /// Compare a chain's interface with what this program knows
    Chain(chain::Args),
    /// Explain a score: what was measured, which rule did what, how to earn more
    Why(why::Args),
    /// Repeat what a validator did and name the first difference
    Audit(audit::Args),
    /// Export score logs
    Scores(scores::Args),
    /// Register a hotkey on a subnet
    Register(register::Args),
    /// Work for free TAO on a development chain
    Faucet(register::FaucetArgs),
    /// Make wallets, show them, sign with them
    Wallet(wallet::Args),
    /// Run the development chain
    Devchain(devchain::Args),
    /// Run the S3 storage of a local network
    Storage(storage::Args),
}

fn main() -> ExitCode {
    let verb = Templar::parse().verb;
    match start(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[tokio::main]
async fn start(verb: Verb) -> Result<(), cli::Failure> {
    telemetry::init(LogOutput::Stderr).map_err(|e| e.to_failure())?;
    match verb {
        Verb::Localnet(args) => localnet::run(args).await,
        Verb::Miner(args) => miner::run(args).await,
        Verb::Validator(args) => validator::run(args).await,
        Verb::Sim(args) => sim::run(args).await,
        Verb::Metagraph(args) => metagraph::run(args).await,
        Verb::Weights(args) => weights::run(args).await,
        Verb::Chain(args) => chain::run(args).await,
        Verb::Why(args) => why::run(args).await,
        Verb::Audit(args) => audit::run(args).await,
        Verb::Scores(args) => scores::run(args).await,
        Verb::Register(args) => register::run(args).await,
        Verb::Faucet(args) => register::faucet(args).await,
        Verb::Wallet(args) => wallet::run(args).await,
        Verb::Devchain(args) => devchain::run(args).await,
        Verb::Storage(args) => storage::run(args).await,
    }
}

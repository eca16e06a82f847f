//! The command tree, and nothing else: each verb has a file or a folder of its own.

use crate::cli::{
    self, Failure, chain, config, data, devchain, metagraph, pay, register, scores, serve, storage, subnets,
    wallet, weights, why,
};
use clap::{Parser, Subcommand};
use std::{future::Future, process::ExitCode};
use templar::telemetry::{self, LogOutput};

pub mod node;

/// Train one language model in the open, and be paid for what the work is worth.
#[derive(Debug, Parser)]
#[command(name = "templar", version, after_help = cli::EXIT_CODES, propagate_version = true)]
pub struct Templar {
    #[command(subcommand)]
    verb: Verb,
}

impl Templar {
    /// What this process was asked for. Ends it where that is no verb, or a question for help.
    pub fn from_arguments() -> Verb {
        Self::parse().verb
    }
}

/// A verb and its flags.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// One that computes with libtorch.
    #[command(flatten)]
    Node(node::NodeVerb),
    /// One that does not.
    #[command(flatten)]
    Light(LightVerb),
}

/// The verbs that need no tensors.
#[derive(Debug, Subcommand)]
pub enum LightVerb {
    /// Show the neurons of a subnet
    Metagraph(metagraph::Args),
    /// Read and set the weights of validators
    Weights(weights::Args),
    /// Compare a chain's interface with what this program knows
    Chain(chain::Args),
    /// Explain a score: what was measured, which rule did what, how to earn more
    Why(why::Args),
    /// Export score logs
    Scores(scores::Args),
    /// Register a hotkey on a subnet
    Register(register::Args),
    /// Show which network and wallet are used, and why
    Config(config::Args),
    /// Show what accounts have
    Balance(pay::BalanceArgs),
    /// Send TAO
    Transfer(pay::TransferArgs),
    /// Show, add and remove stake
    Stake(pay::StakeArgs),
    /// List, show and make subnets
    Subnets(subnets::Args),
    /// Tell the chain where a neuron can be reached
    Serve(serve::Args),
    /// Work for free TAO on a development chain
    Faucet(register::FaucetArgs),
    /// Make wallets, show them, sign with them
    Wallet(wallet::Args),
    /// Make a corpus of text, show it, check it
    Data(data::Args),
    /// Run the development chain
    Devchain(devchain::Args),
    /// Run the S3 storage of a local network
    Storage(storage::Args),
}

/// Runs a verb that needs no tensors, to its end.
pub fn light(verb: LightVerb) -> ExitCode {
    finish(async {
        match verb {
            LightVerb::Metagraph(args) => metagraph::run(args).await,
            LightVerb::Weights(args) => weights::run(args).await,
            LightVerb::Chain(args) => chain::run(args).await,
            LightVerb::Why(args) => why::run(args).await,
            LightVerb::Scores(args) => scores::run(args).await,
            LightVerb::Register(args) => register::run(args).await,
            LightVerb::Config(args) => config::run(args),
            LightVerb::Balance(args) => pay::balance(args).await,
            LightVerb::Transfer(args) => pay::transfer(args).await,
            LightVerb::Stake(args) => pay::stake(args).await,
            LightVerb::Subnets(args) => subnets::run(args).await,
            LightVerb::Serve(args) => serve::run(args).await,
            LightVerb::Faucet(args) => register::faucet(args).await,
            LightVerb::Wallet(args) => wallet::run(args).await,
            LightVerb::Data(args) => data::run(args).await,
            LightVerb::Devchain(args) => devchain::run(args).await,
            LightVerb::Storage(args) => storage::run(args).await,
        }
    })
}

/// Starts the log and the runtime, runs a verb and reports what came of it.
fn finish(verb: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let run = || {
        telemetry::init(LogOutput::Stderr)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(|e| Failure::new(cli::Exit::Unexpected, e))?.block_on(verb)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

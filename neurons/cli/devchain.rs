//! `templar devchain`: the development chain, for a network without anybody else.

use crate::{
    cli::{Exit, Failure},
    context::told_to_stop,
};
use std::{io::Write, path::PathBuf, time::Duration};
use templar::chain::timelock::{BeaconSecret, decrypt, public_key, sign_pulse};
use templar_devchain::{BEACON_SECRET, Beacon, Config, DevchainError, SpecVersion};

/// Flags of `templar devchain`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Port of the JSON-RPC server, on this machine alone.
    #[arg(long, default_value_t = 9944)]
    port: u16,
    /// Time between two blocks, such as `250ms` or `12s`.
    #[arg(long, default_value = "250ms", value_parser = duration)]
    block_time: Duration,
    /// How many blocks the last final one is behind the newest; on the main network it is one or two.
    #[arg(long, value_name = "BLOCKS", default_value_t = 0)]
    finality_lag: u32,
    /// Replace the newest block by another every so many blocks, before it is final; 0 never does.
    #[arg(long, value_name = "BLOCKS", default_value_t = 0)]
    reorg_every: u32,
    /// Answer for the states of so many of the newest blocks alone, as a node that prunes; 0 keeps all.
    #[arg(long, value_name = "BLOCKS", default_value_t = 0)]
    keep_states: u32,
    /// Keep the blocks in this folder; without it they are gone at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The version of Subtensor's runtime that a new chain begins with: 425, or 365 where that was compiled in. A chain
    /// in a folder goes on with its own.
    #[arg(long, default_value = "425")]
    spec: SpecVersion,
    /// End when standard input ends, as a program started by another should.
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write it like 250ms or 12s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
    if (0.01..=3600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

/// Makes blocks until it is told to stop. Prints the chain's address on stdout when it listens.
pub async fn run(args: Args) -> Result<(), Failure> {
    let config = Config {
        port: args.port,
        block_time: args.block_time,
        finality_lag: args.finality_lag,
        reorg_every: args.reorg_every,
        keep_states: args.keep_states,
        dir: args.dir,
        spec: args.spec,
        beacon: beacon(),
    };
    let chain = templar_devchain::run(config).await.map_err(|e| failure(&e))?;
    // Whoever started this reads the line to learn the port; if nobody reads, that is no error.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{}", chain.url()).and_then(|()| stdout.flush());
    told_to_stop(args.exit_with_parent).await;
    chain.stop().await.map_err(|e| failure(&e))
}

/// The chain's own beacon of randomness, whose secret everybody knows: it opens timelocked weights.
fn beacon() -> Option<Beacon> {
    fn secret() -> Option<BeaconSecret> {
        BeaconSecret::from_bytes(&BEACON_SECRET).ok()
    }
    Some(Beacon {
        public_key: public_key(&secret()?).ok()?,
        sign: |round| sign_pulse(&secret()?, round).ok(),
        open: |text, signature| decrypt(text, signature).ok(),
    })
}

fn failure(error: &DevchainError) -> Failure {
    let exit = if matches!(error, DevchainError::Listen { .. }) { Exit::Network } else { Exit::Storage };
    Failure::from_error(exit, error).hint(error.hint())
}

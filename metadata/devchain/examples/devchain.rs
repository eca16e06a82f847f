//! The development chain by itself: `devchain [PORT [BLOCK_TIME_MS [DIR]]]`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::time::Duration;
use templar_devchain::{Config, DevchainError, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), DevchainError> {
    let mut args = std::env::args().skip(1);
    let mut config = Config::default();
    if let Some(port) = args.next().and_then(|port| port.parse().ok()) {
        config.port = port;
    }
    if let Some(block_time) = args.next().and_then(|time| time.parse().ok()) {
        config.block_time = Duration::from_millis(block_time);
    }
    config.dir = args.next().map(Into::into);
    let chain = run(config).await?;
    println!("{}", chain.url());
    chain.stopped().await
}

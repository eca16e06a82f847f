//! Reads a subnet's metagraph: `cargo run --example metagraph -- finney 3`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use templar::chain::{Chain, ChainError, SubtensorClient, endpoint};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ChainError> {
    let mut arguments = std::env::args().skip(1);
    let network = arguments.next().unwrap_or_else(|| "local".to_owned());
    let netuid = arguments.next().and_then(|netuid| netuid.parse().ok()).unwrap_or(3);

    let chain = SubtensorClient::connect(&endpoint(&network)?).await?;
    let metagraph = chain.metagraph(netuid, None).await?;
    for neuron in &metagraph.neurons {
        let role = if neuron.validator_permit { "validator" } else { "miner" };
        println!("{:>4}  {:9}  {}  incentive {}/65535", neuron.uid, role, neuron.hotkey, neuron.incentive);
    }
    Ok(())
}

//! Makes the subnet that a localnet lives on: parameters, registrations, stake.

use super::plan::{Kind, Plan};
use std::time::Duration;
use templar::{
    chain::{AdminCall, Chain, ChainError, RAO_PER_TAO, SubtensorClient},
    wallet::Keypair,
};

/// Creates subnets up to the plan's, sets its parameters, registers every neuron and stakes the validators.
pub async fn set_up(chain: &SubtensorClient, plan: &Plan, alice: &Keypair) -> Result<(), ChainError> {
    let netuid = plan.netuid;
    // Parameters of a subnet are frozen around its epochs, which on a fast chain is always.
    chain.sudo(AdminCall::AdminFreezeWindow { blocks: 0 }, alice).await?;
    while !chain.subnets().await?.contains(&netuid) {
        chain.register_network(&alice.account(), alice).await?;
    }
    for call in [
        AdminCall::Tempo { netuid, blocks: plan.tempo },
        AdminCall::WeightsSetRateLimit { netuid, blocks: 0 },
        AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false },
        AdminCall::MaxAllowedValidators { netuid, count: 16 },
    ] {
        chain.sudo(call, alice).await?;
    }
    chain.start_call(netuid, alice).await?;
    chain.transfer(&plan.coldkey.account(), 100_000 * RAO_PER_TAO, alice).await?;
    for neuron in &plan.neurons {
        chain.register(netuid, &neuron.account(), &plan.coldkey).await?;
    }
    // The first validator has the highest stake, so it leads.
    let validators: Vec<_> = plan.neurons.iter().filter(|n| n.kind == Kind::Validator).collect();
    for (rank, validator) in validators.iter().enumerate() {
        let stake = 1000 * RAO_PER_TAO * (validators.len() - rank) as u64;
        chain.add_stake(netuid, &validator.account(), stake, &plan.coldkey).await?;
    }
    Ok(())
}

/// Waits until an epoch has run that began after now, so that the newest weights have been paid for.
pub async fn next_epoch(chain: &dyn Chain, plan: &Plan, limit: Duration) -> Result<(), ChainError> {
    let target = chain.head().await?.number + u64::from(plan.tempo) + 2;
    let wait = async {
        while chain.head().await?.number < target {
            tokio::time::sleep(Duration::from_millis(plan.block_ms)).await;
        }
        Ok(())
    };
    tokio::time::timeout(limit, wait).await.unwrap_or(Ok(()))
}

//! Makes the subnet that a localnet lives on: parameters, registrations, stake.

use super::plan::{Kind, Neuron, Plan};
use std::time::Duration;
use templar::{
    chain::{AdminCall, Chain, ChainError, RAO_PER_TAO, SubtensorClient},
    wallet::Keypair,
};

/// Time of a block while nobody trains: a network is set up in some thirty of them.
pub const QUICK_BLOCK: Duration = Duration::from_millis(100);
/// What no permit takes as long as.
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates subnets up to the plan's, sets its parameters, registers every neuron, stakes the validators and waits until
/// the first may judge, all in quick blocks; then lets blocks take their time. `say` hears what is done.
pub async fn set_up(
    chain: &SubtensorClient,
    plan: &Plan,
    alice: &Keypair,
    say: impl Fn(&str),
) -> Result<(), ChainError> {
    say("creating the subnet");
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
    for (n, neuron) in plan.neurons.iter().enumerate() {
        say(&format!("registering neuron {} of {}", n + 1, plan.neurons.len()));
        chain.register(netuid, &neuron.account(), &plan.coldkey).await?;
    }
    // The first validator has the highest stake, so it leads.
    let validators: Vec<_> = plan.neurons.iter().filter(|n| n.kind == Kind::Validator).collect();
    for (rank, validator) in validators.iter().enumerate() {
        let stake = 1000 * RAO_PER_TAO * (validators.len() - rank) as u64;
        chain.add_stake(netuid, &validator.account(), stake, &plan.coldkey).await?;
    }
    say("waiting for the first validator's permit");
    let permit = async {
        while chain.metagraph(netuid, None).await?.leader().is_none() {
            tokio::time::sleep(QUICK_BLOCK).await;
        }
        Ok(())
    };
    // Without one the validator says itself what it waits for.
    tokio::time::timeout(PATIENCE, permit).await.unwrap_or(Ok(()))?;
    chain.set_block_time(Duration::from_millis(plan.block_ms)).await
}

/// Gives a neuron more stake than any other has.
pub async fn lead(chain: &SubtensorClient, plan: &Plan, neuron: &Neuron) -> Result<(), ChainError> {
    let stake = 10_000 * RAO_PER_TAO;
    chain.add_stake(plan.netuid, &neuron.account(), stake, &plan.coldkey).await.map(drop)
}

/// Waits until an epoch has run that began after now, so that the newest weights have been paid for.
pub async fn next_epoch(chain: &SubtensorClient, plan: &Plan, limit: Duration) -> Result<(), ChainError> {
    chain.set_block_time(QUICK_BLOCK).await?;
    let target = chain.head().await?.number + u64::from(plan.tempo) + 2;
    let wait = async {
        while chain.head().await?.number < target {
            tokio::time::sleep(QUICK_BLOCK).await;
        }
        Ok(())
    };
    tokio::time::timeout(limit, wait).await.unwrap_or(Ok(()))
}

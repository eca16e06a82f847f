//! The chain's first state: the development accounts have TAO, `//Alice` is sudo, root and netuid 1 exist.

use crate::{AccountId, BalancesConfig, RuntimeGenesisConfig, SubtensorModuleConfig, SudoConfig};
use sp_core::{Pair as _, sr25519, storage::Storage};
use sp_runtime::BuildStorage;

/// Accounts with a million TAO.
const RICH: [&str; 3] = ["//Alice", "//Bob", "//Charlie"];
/// Accounts with two thousand.
const FUNDED: [&str; 6] = ["//Dave", "//Eve", "//Ferdie", "//One", "//Two", "//Three"];

/// The account of a development key, such as `//Alice`.
///
/// # Errors
/// If that is no secret URI.
pub fn development_account(uri: &str) -> Result<AccountId, String> {
    let pair = sr25519::Pair::from_string(uri, None).map_err(|error| format!("{uri}: {error:?}"))?;
    Ok(AccountId::from(pair.public().0))
}

/// The storage of the chain before its first block.
///
/// # Errors
/// If a pallet refuses its part of it.
pub fn genesis() -> Result<Storage, String> {
    let mut balances = Vec::new();
    for uri in RICH {
        balances.push((development_account(uri)?, 1_000_000_000_000_000));
    }
    for uri in FUNDED {
        balances.push((development_account(uri)?, 2_000_000_000_000));
    }
    let alice = development_account("//Alice")?;
    RuntimeGenesisConfig {
        balances: BalancesConfig { balances, ..Default::default() },
        sudo: SudoConfig { key: Some(alice.clone()) },
        subtensor_module: SubtensorModuleConfig {
            root_owner: Some((alice, development_account("//Alice_hk")?)),
        },
        ..Default::default()
    }
    .build_storage()
}

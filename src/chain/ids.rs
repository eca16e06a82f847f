//! How the chain counts: accounts, subnets and mechanisms by number, money in rao.

use subxt::utils::AccountId32;

use crate::{wallet::AccountId, window::NetUid};

/// Rao in one TAO.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// Storage of a mechanism's weights is under `mechanism * MECHANISM_STRIDE + netuid`.
pub const MECHANISM_STRIDE: u16 = 4096;

/// The index under which the chain keeps a mechanism's weights: the subnet's number itself for the first mechanism.
pub fn storage_index(netuid: NetUid, mechanism: u8) -> u16 {
    u16::from(mechanism).saturating_mul(MECHANISM_STRIDE).saturating_add(netuid)
}

/// The subnet that a storage index belongs to.
pub(in crate::chain) fn netuid_of(index: u16) -> NetUid {
    index % MECHANISM_STRIDE
}

/// The mechanism that a storage index belongs to, at most 15.
pub(in crate::chain) fn mechanism_of(index: u16) -> u8 {
    (index / MECHANISM_STRIDE) as u8
}

/// An account as the bindings have it.
pub(in crate::chain) fn theirs(account: &AccountId) -> AccountId32 {
    AccountId32(account.clone().into())
}

/// An account of the bindings, as this library has it.
pub(in crate::chain) fn ours(account: AccountId32) -> AccountId {
    AccountId::new(account.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_its_subnet_and_mechanism() {
        for (netuid, mechanism, index) in [(3, 0, 3), (3, 1, 4099), (4095, 15, 65_535)] {
            assert_eq!(storage_index(netuid, mechanism), index);
            assert_eq!((netuid_of(index), mechanism_of(index)), (netuid, mechanism));
        }
    }
}

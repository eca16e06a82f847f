//! What the answers about subnets have in common.

use crate::{
    AccountId, Runtime as R, SubtensorModule,
    subtensor::{self as S, AxonInfo},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A number with 96 integer and 32 fractional bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FixedI128 {
    /// The number, times 2^32.
    pub bits: i128,
}

impl FixedI128 {
    /// One: the price of alpha, which this chain exchanges one to one.
    pub const ONE: Self = Self { bits: 1 << 32 };
}

/// A number with 32 integer and 32 fractional bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FixedI64 {
    /// The number, times 2^32.
    pub bits: i64,
}

/// The type that the activity cutoff is given in.
#[cfg(feature = "spec365")]
pub type ActivityCutoff = u16;
/// The type that the activity cutoff is given in.
#[cfg(not(feature = "spec365"))]
pub type ActivityCutoff = u64;

/// Blocks without weights after which a validator is inactive.
pub(super) fn activity_cutoff(netuid: u16) -> Compact<ActivityCutoff> {
    let cutoff = SubtensorModule::activity_cutoff(netuid);
    Compact(ActivityCutoff::try_from(cutoff).unwrap_or(ActivityCutoff::MAX))
}

/// Bytes as clients get text: each a compact number.
pub(super) fn text(bytes: &[u8]) -> Vec<Compact<u8>> {
    bytes.iter().copied().map(Compact).collect()
}

/// A subnet's name, which it has from its identity.
pub(super) fn name(netuid: u16) -> Vec<u8> {
    match S::SubnetIdentitiesV3::<R>::get(netuid) {
        Some(identity) => identity.subnet_name,
        None if netuid == S::ROOT => b"root".to_vec(),
        None => b"unknown".to_vec(),
    }
}

pub(super) fn compact<V>(values: Vec<V>) -> Vec<Compact<V>> {
    values.into_iter().map(Compact).collect()
}

/// The storage index of a mechanism that exists.
pub(super) fn mechanism_index(netuid: u16, mechanism: u8) -> Option<u16> {
    let exists = S::NetworksAdded::<R>::get(netuid) && mechanism < S::MechanismCountCurrent::<R>::get(netuid);
    exists.then(|| S::storage_index(netuid, mechanism))
}

pub(super) fn hotkeys(netuid: u16) -> Vec<AccountId> {
    (0..S::SubnetworkN::<R>::get(netuid)).map(|uid| S::Keys::<R>::get(netuid, uid)).collect()
}

pub(super) fn coldkeys(netuid: u16) -> Vec<AccountId> {
    hotkeys(netuid).iter().map(S::Owner::<R>::get).collect()
}

pub(super) fn axons(netuid: u16) -> Vec<AxonInfo> {
    hotkeys(netuid).iter().map(|hotkey| S::Axons::<R>::get(netuid, hotkey).unwrap_or_default()).collect()
}

pub(super) fn registered(netuid: u16) -> Vec<u64> {
    (0..S::SubnetworkN::<R>::get(netuid)).map(|uid| S::BlockAtRegistration::<R>::get(netuid, uid)).collect()
}

/// The stake of a subnet's neurons in a subnet, in rao. Root's is not weighted here; it is in the total.
pub(super) fn stakes(netuid: u16, of: u16) -> Vec<u64> {
    hotkeys(netuid).iter().map(|hotkey| S::TotalHotkeyAlpha::<R>::get(hotkey, of)).collect()
}

/// Their stake weight, in rao.
pub(super) fn total_stakes(netuid: u16) -> Vec<u64> {
    hotkeys(netuid).iter().map(|hotkey| SubtensorModule::stake_weight(hotkey, netuid) as u64).collect()
}

/// Alpha that waits for the next epoch.
pub(super) fn pending(netuid: u16) -> u64 {
    let servers = S::PendingServerEmission::<R>::get(netuid);
    servers.saturating_add(S::PendingValidatorEmission::<R>::get(netuid))
}

/// Dividends in TAO, which this chain does not pay.
pub(super) fn no_dividends(netuid: u16) -> Vec<(AccountId, Compact<u64>)> {
    hotkeys(netuid).into_iter().map(|hotkey| (hotkey, Compact(0))).collect()
}

pub(super) fn alpha_dividends(netuid: u16) -> Vec<(AccountId, Compact<u64>)> {
    let dividends = |hotkey: AccountId| {
        let alpha = S::AlphaDividendsPerSubnet::<R>::get(netuid, &hotkey);
        (hotkey, alpha.into())
    };
    hotkeys(netuid).into_iter().map(dividends).collect()
}

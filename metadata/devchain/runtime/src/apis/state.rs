//! The neurons of a subnet, column by column.

use super::{info::*, neurons::scores};
use crate::{
    AccountId, Runtime as R,
    subtensor::{self as S},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// The neurons of a subnet.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SubnetState<Account> {
    pub netuid: Compact<u16>,
    pub hotkeys: Vec<Account>,
    pub coldkeys: Vec<Account>,
    pub active: Vec<bool>,
    pub validator_permit: Vec<bool>,
    pub pruning_score: Vec<Compact<u16>>,
    pub last_update: Vec<Compact<u64>>,
    pub emission: Vec<Compact<u64>>,
    pub dividends: Vec<Compact<u16>>,
    pub incentives: Vec<Compact<u16>>,
    pub consensus: Vec<Compact<u16>>,
    pub trust: Vec<Compact<u16>>,
    pub rank: Vec<Compact<u16>>,
    pub block_at_registration: Vec<Compact<u64>>,
    pub alpha_stake: Vec<Compact<u64>>,
    pub tao_stake: Vec<Compact<u64>>,
    pub total_stake: Vec<Compact<u64>>,
    pub emission_history: Vec<Vec<Compact<u64>>>,
}

/// The neurons of a subnet. `None` if there is no such subnet.
pub fn state(netuid: u16) -> Option<SubnetState<AccountId>> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    let index = netuid;
    Some(SubnetState {
        netuid: netuid.into(),
        hotkeys: hotkeys(netuid),
        coldkeys: coldkeys(netuid),
        active: S::Active::<R>::get(netuid),
        validator_permit: S::ValidatorPermit::<R>::get(netuid),
        pruning_score: compact(scores(netuid).2),
        last_update: compact(S::LastUpdate::<R>::get(index)),
        emission: compact(S::Emission::<R>::get(netuid)),
        dividends: compact(S::Dividends::<R>::get(netuid)),
        incentives: compact(S::Incentive::<R>::get(index)),
        consensus: compact(S::Consensus::<R>::get(netuid)),
        trust: compact(scores(netuid).1),
        rank: compact(scores(netuid).0),
        block_at_registration: compact(registered(netuid)),
        alpha_stake: compact(stakes(netuid, netuid)),
        tao_stake: compact(stakes(netuid, S::ROOT)),
        total_stake: compact(total_stakes(netuid)),
        emission_history: Vec::new(),
    })
}

//! A subnet as a market and as a whole.

use super::info::*;
use crate::{
    AccountId, Runtime as R,
    subtensor::{self as S, SubnetIdentityV3},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A subnet with its alpha.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DynamicInfo<Account> {
    pub netuid: Compact<u16>,
    pub owner_hotkey: Account,
    pub owner_coldkey: Account,
    pub subnet_name: Vec<Compact<u8>>,
    pub token_symbol: Vec<Compact<u8>>,
    pub tempo: Compact<u16>,
    pub last_step: Compact<u64>,
    pub blocks_since_last_step: Compact<u64>,
    pub emission: Compact<u64>,
    pub alpha_in: Compact<u64>,
    pub alpha_out: Compact<u64>,
    pub tao_in: Compact<u64>,
    pub alpha_out_emission: Compact<u64>,
    pub alpha_in_emission: Compact<u64>,
    pub tao_in_emission: Compact<u64>,
    pub pending_alpha_emission: Compact<u64>,
    pub pending_root_emission: Compact<u64>,
    pub subnet_volume: Compact<u128>,
    pub network_registered_at: Compact<u64>,
    pub subnet_identity: Option<SubnetIdentityV3>,
    pub moving_price: FixedI128,
}

/// A subnet with its alpha. `None` if there is no such subnet.
pub fn dynamic(netuid: u16) -> Option<DynamicInfo<AccountId>> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    Some(DynamicInfo {
        netuid: netuid.into(),
        owner_hotkey: S::SubnetOwnerHotkey::<R>::get(netuid),
        owner_coldkey: S::SubnetOwner::<R>::get(netuid),
        subnet_name: text(&name(netuid)),
        token_symbol: text(&S::TokenSymbol::<R>::get(netuid)),
        tempo: S::Tempo::<R>::get(netuid).into(),
        last_step: S::LastMechansimStepBlock::<R>::get(netuid).into(),
        blocks_since_last_step: S::BlocksSinceLastStep::<R>::get(netuid).into(),
        emission: Compact(0),
        alpha_in: S::SubnetAlphaIn::<R>::get(netuid).into(),
        alpha_out: S::SubnetAlphaOut::<R>::get(netuid).into(),
        tao_in: S::SubnetTAO::<R>::get(netuid).into(),
        alpha_out_emission: S::SubnetAlphaOutEmission::<R>::get(netuid).into(),
        alpha_in_emission: Compact(0),
        tao_in_emission: Compact(0),
        pending_alpha_emission: pending(netuid).into(),
        pending_root_emission: S::PendingRootAlphaDivs::<R>::get(netuid).into(),
        subnet_volume: Compact(0),
        network_registered_at: S::NetworkRegisteredAt::<R>::get(netuid).into(),
        subnet_identity: S::SubnetIdentitiesV3::<R>::get(netuid),
        moving_price: FixedI128::ONE,
    })
}

/// A subnet.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SubnetInfo<Account> {
    pub netuid: Compact<u16>,
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub difficulty: Compact<u64>,
    pub immunity_period: Compact<u16>,
    pub max_allowed_validators: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub scaling_law_power: Compact<u16>,
    pub subnetwork_n: Compact<u16>,
    pub max_allowed_uids: Compact<u16>,
    pub blocks_since_last_step: Compact<u64>,
    pub tempo: Compact<u16>,
    pub network_modality: Compact<u16>,
    pub network_connect: Vec<[u16; 2]>,
    pub emission_values: Compact<u64>,
    pub burn: Compact<u64>,
    pub owner: Account,
}

/// A subnet. `None` if there is no such subnet.
pub fn info(netuid: u16) -> Option<SubnetInfo<AccountId>> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    Some(SubnetInfo {
        netuid: netuid.into(),
        rho: S::Rho::<R>::get(netuid).into(),
        kappa: S::Kappa::<R>::get(netuid).into(),
        difficulty: S::Difficulty::<R>::get(netuid).into(),
        immunity_period: S::ImmunityPeriod::<R>::get(netuid).into(),
        max_allowed_validators: S::MaxAllowedValidators::<R>::get(netuid).into(),
        min_allowed_weights: S::MinAllowedWeights::<R>::get(netuid).into(),
        max_weights_limit: S::MaxWeightsLimit::<R>::get(netuid).into(),
        scaling_law_power: Compact(50),
        subnetwork_n: S::SubnetworkN::<R>::get(netuid).into(),
        max_allowed_uids: S::MaxAllowedUids::<R>::get(netuid).into(),
        blocks_since_last_step: S::BlocksSinceLastStep::<R>::get(netuid).into(),
        tempo: S::Tempo::<R>::get(netuid).into(),
        network_modality: Compact(0),
        network_connect: Vec::new(),
        emission_values: Compact(0),
        burn: S::Burn::<R>::get(netuid).into(),
        owner: S::SubnetOwner::<R>::get(netuid),
    })
}

/// A subnet and its identity.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SubnetInfov2<Account> {
    pub netuid: Compact<u16>,
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub difficulty: Compact<u64>,
    pub immunity_period: Compact<u16>,
    pub max_allowed_validators: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub scaling_law_power: Compact<u16>,
    pub subnetwork_n: Compact<u16>,
    pub max_allowed_uids: Compact<u16>,
    pub blocks_since_last_step: Compact<u64>,
    pub tempo: Compact<u16>,
    pub network_modality: Compact<u16>,
    pub network_connect: Vec<[u16; 2]>,
    pub emission_value: Compact<u64>,
    pub burn: Compact<u64>,
    pub owner: Account,
    pub identity: Option<SubnetIdentityV3>,
}

/// A subnet and its identity. `None` if there is no such subnet.
pub fn info_v2(netuid: u16) -> Option<SubnetInfov2<AccountId>> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    Some(SubnetInfov2 {
        netuid: netuid.into(),
        rho: S::Rho::<R>::get(netuid).into(),
        kappa: S::Kappa::<R>::get(netuid).into(),
        difficulty: S::Difficulty::<R>::get(netuid).into(),
        immunity_period: S::ImmunityPeriod::<R>::get(netuid).into(),
        max_allowed_validators: S::MaxAllowedValidators::<R>::get(netuid).into(),
        min_allowed_weights: S::MinAllowedWeights::<R>::get(netuid).into(),
        max_weights_limit: S::MaxWeightsLimit::<R>::get(netuid).into(),
        scaling_law_power: Compact(50),
        subnetwork_n: S::SubnetworkN::<R>::get(netuid).into(),
        max_allowed_uids: S::MaxAllowedUids::<R>::get(netuid).into(),
        blocks_since_last_step: S::BlocksSinceLastStep::<R>::get(netuid).into(),
        tempo: S::Tempo::<R>::get(netuid).into(),
        network_modality: Compact(0),
        network_connect: Vec::new(),
        emission_value: Compact(0),
        burn: S::Burn::<R>::get(netuid).into(),
        owner: S::SubnetOwner::<R>::get(netuid),
        identity: S::SubnetIdentitiesV3::<R>::get(netuid),
    })
}

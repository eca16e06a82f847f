//! A subnet's hyperparameters.

use super::info::*;
use crate::{
    Runtime as R,
    subtensor::{self as S},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A subnet's hyperparameters.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SubnetHyperparams {
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub immunity_period: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub tempo: Compact<u16>,
    pub min_difficulty: Compact<u64>,
    pub max_difficulty: Compact<u64>,
    pub weights_version: Compact<u64>,
    pub weights_rate_limit: Compact<u64>,
    pub adjustment_interval: Compact<u16>,
    pub activity_cutoff: Compact<ActivityCutoff>,
    pub registration_allowed: bool,
    pub target_regs_per_interval: Compact<u16>,
    pub min_burn: Compact<u64>,
    pub max_burn: Compact<u64>,
    pub bonds_moving_avg: Compact<u64>,
    pub max_regs_per_block: Compact<u16>,
    pub serving_rate_limit: Compact<u64>,
    pub max_validators: Compact<u16>,
    pub adjustment_alpha: Compact<u64>,
    pub difficulty: Compact<u64>,
    pub commit_reveal_period: Compact<u64>,
    pub commit_reveal_weights_enabled: bool,
    pub alpha_high: Compact<u16>,
    pub alpha_low: Compact<u16>,
    pub liquid_alpha_enabled: bool,
}

/// A subnet's hyperparameters. `None` if there is no such subnet.
pub fn hyperparams(netuid: u16) -> Option<SubnetHyperparams> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    Some(SubnetHyperparams {
        rho: S::Rho::<R>::get(netuid).into(),
        kappa: S::Kappa::<R>::get(netuid).into(),
        immunity_period: S::ImmunityPeriod::<R>::get(netuid).into(),
        min_allowed_weights: S::MinAllowedWeights::<R>::get(netuid).into(),
        max_weights_limit: S::MaxWeightsLimit::<R>::get(netuid).into(),
        tempo: S::Tempo::<R>::get(netuid).into(),
        min_difficulty: S::MinDifficulty::<R>::get(netuid).into(),
        max_difficulty: S::MaxDifficulty::<R>::get(netuid).into(),
        weights_version: S::WeightsVersionKey::<R>::get(netuid).into(),
        weights_rate_limit: S::WeightsSetRateLimit::<R>::get(netuid).into(),
        adjustment_interval: S::AdjustmentInterval::<R>::get(netuid).into(),
        activity_cutoff: activity_cutoff(netuid),
        registration_allowed: S::NetworkRegistrationAllowed::<R>::get(netuid),
        target_regs_per_interval: S::TargetRegistrationsPerInterval::<R>::get(netuid).into(),
        min_burn: S::MinBurn::<R>::get(netuid).into(),
        max_burn: S::MaxBurn::<R>::get(netuid).into(),
        bonds_moving_avg: S::BondsMovingAverage::<R>::get(netuid).into(),
        max_regs_per_block: S::MaxRegistrationsPerBlock::<R>::get(netuid).into(),
        serving_rate_limit: S::ServingRateLimit::<R>::get(netuid).into(),
        max_validators: S::MaxAllowedValidators::<R>::get(netuid).into(),
        adjustment_alpha: S::AdjustmentAlpha::<R>::get(netuid).into(),
        difficulty: S::Difficulty::<R>::get(netuid).into(),
        commit_reveal_period: S::RevealPeriodEpochs::<R>::get(netuid).into(),
        commit_reveal_weights_enabled: S::CommitRevealWeightsEnabled::<R>::get(netuid),
        alpha_high: S::AlphaValues::<R>::get(netuid).1.into(),
        alpha_low: S::AlphaValues::<R>::get(netuid).0.into(),
        liquid_alpha_enabled: S::LiquidAlphaOn::<R>::get(netuid),
    })
}

/// The same, and those that came later.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SubnetHyperparamsV2 {
    pub rho: Compact<u16>,
    pub kappa: Compact<u16>,
    pub immunity_period: Compact<u16>,
    pub min_allowed_weights: Compact<u16>,
    pub max_weights_limit: Compact<u16>,
    pub tempo: Compact<u16>,
    pub min_difficulty: Compact<u64>,
    pub max_difficulty: Compact<u64>,
    pub weights_version: Compact<u64>,
    pub weights_rate_limit: Compact<u64>,
    pub adjustment_interval: Compact<u16>,
    pub activity_cutoff: Compact<ActivityCutoff>,
    pub registration_allowed: bool,
    pub target_regs_per_interval: Compact<u16>,
    pub min_burn: Compact<u64>,
    pub max_burn: Compact<u64>,
    pub bonds_moving_avg: Compact<u64>,
    pub max_regs_per_block: Compact<u16>,
    pub serving_rate_limit: Compact<u64>,
    pub max_validators: Compact<u16>,
    pub adjustment_alpha: Compact<u64>,
    pub difficulty: Compact<u64>,
    pub commit_reveal_period: Compact<u64>,
    pub commit_reveal_weights_enabled: bool,
    pub alpha_high: Compact<u16>,
    pub alpha_low: Compact<u16>,
    pub liquid_alpha_enabled: bool,
    pub alpha_sigmoid_steepness: FixedI64,
    pub yuma_version: Compact<u16>,
    pub subnet_is_active: bool,
    pub transfers_enabled: bool,
    pub bonds_reset_enabled: bool,
    pub user_liquidity_enabled: bool,
}

/// The same, and those that came later. `None` if there is no such subnet.
pub fn hyperparams_v2(netuid: u16) -> Option<SubnetHyperparamsV2> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    Some(SubnetHyperparamsV2 {
        rho: S::Rho::<R>::get(netuid).into(),
        kappa: S::Kappa::<R>::get(netuid).into(),
        immunity_period: S::ImmunityPeriod::<R>::get(netuid).into(),
        min_allowed_weights: S::MinAllowedWeights::<R>::get(netuid).into(),
        max_weights_limit: S::MaxWeightsLimit::<R>::get(netuid).into(),
        tempo: S::Tempo::<R>::get(netuid).into(),
        min_difficulty: S::MinDifficulty::<R>::get(netuid).into(),
        max_difficulty: S::MaxDifficulty::<R>::get(netuid).into(),
        weights_version: S::WeightsVersionKey::<R>::get(netuid).into(),
        weights_rate_limit: S::WeightsSetRateLimit::<R>::get(netuid).into(),
        adjustment_interval: S::AdjustmentInterval::<R>::get(netuid).into(),
        activity_cutoff: activity_cutoff(netuid),
        registration_allowed: S::NetworkRegistrationAllowed::<R>::get(netuid),
        target_regs_per_interval: S::TargetRegistrationsPerInterval::<R>::get(netuid).into(),
        min_burn: S::MinBurn::<R>::get(netuid).into(),
        max_burn: S::MaxBurn::<R>::get(netuid).into(),
        bonds_moving_avg: S::BondsMovingAverage::<R>::get(netuid).into(),
        max_regs_per_block: S::MaxRegistrationsPerBlock::<R>::get(netuid).into(),
        serving_rate_limit: S::ServingRateLimit::<R>::get(netuid).into(),
        max_validators: S::MaxAllowedValidators::<R>::get(netuid).into(),
        adjustment_alpha: S::AdjustmentAlpha::<R>::get(netuid).into(),
        difficulty: S::Difficulty::<R>::get(netuid).into(),
        commit_reveal_period: S::RevealPeriodEpochs::<R>::get(netuid).into(),
        commit_reveal_weights_enabled: S::CommitRevealWeightsEnabled::<R>::get(netuid),
        alpha_high: S::AlphaValues::<R>::get(netuid).1.into(),
        alpha_low: S::AlphaValues::<R>::get(netuid).0.into(),
        liquid_alpha_enabled: S::LiquidAlphaOn::<R>::get(netuid),
        alpha_sigmoid_steepness: FixedI64 {
            bits: i64::from(S::AlphaSigmoidSteepness::<R>::get(netuid)) << 32,
        },
        yuma_version: Compact(if S::Yuma3On::<R>::get(netuid) { 3 } else { 2 }),
        subnet_is_active: S::FirstEmissionBlockNumber::<R>::contains_key(netuid),
        transfers_enabled: true,
        bonds_reset_enabled: false,
        user_liquidity_enabled: false,
    })
}

/// A hyperparameter's value.
#[cfg(not(feature = "spec365"))]
#[allow(missing_docs)] // Each variant is what its name says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum HyperparamValue {
    Bool(bool),
    U16(Compact<u16>),
    U32(Compact<u32>),
    U64(Compact<u64>),
    U128(Compact<u128>),
    TaoBalance(Compact<u64>),
    I32F32(FixedI64),
    U64F64(S::FixedU128),
}

/// A hyperparameter.
#[cfg(not(feature = "spec365"))]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Hyperparam {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: HyperparamValue,
}

/// A subnet's hyperparameters by name. `None` if there is no such subnet.
#[cfg(not(feature = "spec365"))]
pub fn hyperparams_v3(netuid: u16) -> Option<Vec<Hyperparam>> {
    use HyperparamValue::*;
    let known = hyperparams_v2(netuid)?;
    let named = [
        ("rho", U16(known.rho)),
        ("kappa", U16(known.kappa)),
        ("immunity_period", U16(known.immunity_period)),
        ("min_allowed_weights", U16(known.min_allowed_weights)),
        ("max_weights_limit", U16(known.max_weights_limit)),
        ("tempo", U16(known.tempo)),
        ("weights_version", U64(known.weights_version)),
        ("weights_rate_limit", U64(known.weights_rate_limit)),
        ("activity_cutoff", U64(known.activity_cutoff)),
        ("activity_cutoff_factor_milli", U32(S::ActivityCutoffFactorMilli::<R>::get(netuid).into())),
        ("registration_allowed", Bool(known.registration_allowed)),
        ("min_burn", TaoBalance(known.min_burn)),
        ("max_burn", TaoBalance(known.max_burn)),
        ("burn_half_life", U16(S::BurnHalfLife::<R>::get(netuid).into())),
        ("burn_increase_mult", U64F64(S::BurnIncreaseMult::<R>::get(netuid))),
        ("bonds_moving_avg", U64(known.bonds_moving_avg)),
        ("serving_rate_limit", U64(known.serving_rate_limit)),
        ("max_validators", U16(known.max_validators)),
        ("commit_reveal_period", U64(known.commit_reveal_period)),
        ("commit_reveal_weights_enabled", Bool(known.commit_reveal_weights_enabled)),
        ("alpha_high", U16(known.alpha_high)),
        ("alpha_low", U16(known.alpha_low)),
        ("liquid_alpha_enabled", Bool(known.liquid_alpha_enabled)),
        ("alpha_sigmoid_steepness", I32F32(known.alpha_sigmoid_steepness)),
        ("yuma_version", U16(known.yuma_version)),
        ("subnet_is_active", Bool(known.subnet_is_active)),
    ];
    Some(named.into_iter().map(|(name, value)| Hyperparam { name: name.into(), value }).collect())
}

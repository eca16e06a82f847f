//! A subnet and all its neurons in one answer: whole, or only the fields that are named by their index.

use super::{info::*, neurons::scores};
use crate::{
    AccountId, Runtime as R, SubtensorModule, commitments,
    subtensor::{self as S, AxonInfo, ChainIdentityV2, SubnetIdentityV3},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// The index of the UIDs with a permit in [`SelectiveMetagraph`].
const VALIDATORS: u16 = 72;
/// The index of what hotkeys committed.
const COMMITMENTS: u16 = 73;

/// Both structs from one list: index, name, type and value of each field.
macro_rules! metagraphs {
    (|$netuid:ident, $storage_index:ident| $($index:literal $name:ident: $kind:ty = $value:expr;)*) => {
        /// A subnet and its neurons.
        #[allow(missing_docs)] // Each field is the storage item of its name.
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
        pub struct Metagraph<AccountId> {
            pub netuid: Compact<u16>,
            $(pub $name: $kind,)*
        }

        /// What was asked for of a subnet and its neurons.
        #[allow(missing_docs)] // Each field is the storage item of its name.
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
        pub struct SelectiveMetagraph<AccountId> {
            pub netuid: Compact<u16>,
            $(pub $name: Option<$kind>,)*
            pub validators: Option<Vec<Compact<u16>>>,
            pub commitments: Option<Vec<(AccountId, Vec<Compact<u8>>)>>,
        }

        /// A subnet and its neurons by one mechanism; `None` if there is no such mechanism.
        pub fn metagraph($netuid: u16, mechanism: u8) -> Option<Metagraph<AccountId>> {
            let $storage_index = mechanism_index($netuid, mechanism)?;
            Some(Metagraph { netuid: $netuid.into(), $($name: $value,)* })
        }

        /// The fields with these indices.
        pub fn selective($netuid: u16, mechanism: u8, wanted: &[u16]) -> Option<SelectiveMetagraph<AccountId>> {
            let $storage_index = mechanism_index($netuid, mechanism)?;
            Some(SelectiveMetagraph {
                netuid: $netuid.into(),
                $($name: wanted.contains(&$index).then(|| $value),)*
                validators: wanted.contains(&VALIDATORS).then(|| validators($netuid)),
                commitments: wanted.contains(&COMMITMENTS).then(|| committed($netuid)),
            })
        }
    };
}

metagraphs! { |netuid, index|
    1 name: Vec<Compact<u8>> = text(&name(netuid));
    2 symbol: Vec<Compact<u8>> = text(&S::TokenSymbol::<R>::get(netuid));
    3 identity: Option<SubnetIdentityV3> = S::SubnetIdentitiesV3::<R>::get(netuid);
    4 network_registered_at: Compact<u64> = S::NetworkRegisteredAt::<R>::get(netuid).into();
    5 owner_hotkey: AccountId = S::SubnetOwnerHotkey::<R>::get(netuid);
    6 owner_coldkey: AccountId = S::SubnetOwner::<R>::get(netuid);
    7 block: Compact<u64> = SubtensorModule::now().into();
    8 tempo: Compact<u16> = S::Tempo::<R>::get(netuid).into();
    9 last_step: Compact<u64> = S::LastMechansimStepBlock::<R>::get(netuid).into();
    10 blocks_since_last_step: Compact<u64> = S::BlocksSinceLastStep::<R>::get(netuid).into();
    11 subnet_emission: Compact<u64> = Compact(0);
    12 alpha_in: Compact<u64> = S::SubnetAlphaIn::<R>::get(netuid).into();
    13 alpha_out: Compact<u64> = S::SubnetAlphaOut::<R>::get(netuid).into();
    14 tao_in: Compact<u64> = S::SubnetTAO::<R>::get(netuid).into();
    15 alpha_out_emission: Compact<u64> = S::SubnetAlphaOutEmission::<R>::get(netuid).into();
    16 alpha_in_emission: Compact<u64> = Compact(0);
    17 tao_in_emission: Compact<u64> = Compact(0);
    18 pending_alpha_emission: Compact<u64> = pending(netuid).into();
    19 pending_root_emission: Compact<u64> = S::PendingRootAlphaDivs::<R>::get(netuid).into();
    20 subnet_volume: Compact<u128> = Compact(0);
    21 moving_price: FixedI128 = FixedI128::ONE;
    22 rho: Compact<u16> = S::Rho::<R>::get(netuid).into();
    23 kappa: Compact<u16> = S::Kappa::<R>::get(netuid).into();
    24 min_allowed_weights: Compact<u16> = S::MinAllowedWeights::<R>::get(netuid).into();
    25 max_weights_limit: Compact<u16> = S::MaxWeightsLimit::<R>::get(netuid).into();
    26 weights_version: Compact<u64> = S::WeightsVersionKey::<R>::get(netuid).into();
    27 weights_rate_limit: Compact<u64> = S::WeightsSetRateLimit::<R>::get(netuid).into();
    28 activity_cutoff: Compact<ActivityCutoff> = activity_cutoff(netuid);
    29 max_validators: Compact<u16> = S::MaxAllowedValidators::<R>::get(netuid).into();
    30 num_uids: Compact<u16> = S::SubnetworkN::<R>::get(netuid).into();
    31 max_uids: Compact<u16> = S::MaxAllowedUids::<R>::get(netuid).into();
    32 burn: Compact<u64> = S::Burn::<R>::get(netuid).into();
    33 difficulty: Compact<u64> = S::Difficulty::<R>::get(netuid).into();
    34 registration_allowed: bool = S::NetworkRegistrationAllowed::<R>::get(netuid);
    35 pow_registration_allowed: bool = S::NetworkPowRegistrationAllowed::<R>::get(netuid);
    36 immunity_period: Compact<u16> = S::ImmunityPeriod::<R>::get(netuid).into();
    37 min_difficulty: Compact<u64> = S::MinDifficulty::<R>::get(netuid).into();
    38 max_difficulty: Compact<u64> = S::MaxDifficulty::<R>::get(netuid).into();
    39 min_burn: Compact<u64> = S::MinBurn::<R>::get(netuid).into();
    40 max_burn: Compact<u64> = S::MaxBurn::<R>::get(netuid).into();
    41 adjustment_alpha: Compact<u64> = S::AdjustmentAlpha::<R>::get(netuid).into();
    42 adjustment_interval: Compact<u16> = S::AdjustmentInterval::<R>::get(netuid).into();
    43 target_regs_per_interval: Compact<u16> = S::TargetRegistrationsPerInterval::<R>::get(netuid).into();
    44 max_regs_per_block: Compact<u16> = S::MaxRegistrationsPerBlock::<R>::get(netuid).into();
    45 serving_rate_limit: Compact<u64> = S::ServingRateLimit::<R>::get(netuid).into();
    46 commit_reveal_weights_enabled: bool = S::CommitRevealWeightsEnabled::<R>::get(netuid);
    47 commit_reveal_period: Compact<u64> = S::RevealPeriodEpochs::<R>::get(netuid).into();
    48 liquid_alpha_enabled: bool = S::LiquidAlphaOn::<R>::get(netuid);
    49 alpha_high: Compact<u16> = S::AlphaValues::<R>::get(netuid).1.into();
    50 alpha_low: Compact<u16> = S::AlphaValues::<R>::get(netuid).0.into();
    51 bonds_moving_avg: Compact<u64> = S::BondsMovingAverage::<R>::get(netuid).into();
    52 hotkeys: Vec<AccountId> = hotkeys(netuid);
    53 coldkeys: Vec<AccountId> = coldkeys(netuid);
    54 identities: Vec<Option<ChainIdentityV2>> = coldkeys(netuid).into_iter().map(S::IdentitiesV2::<R>::get).collect();
    55 axons: Vec<AxonInfo> = axons(netuid);
    56 active: Vec<bool> = S::Active::<R>::get(netuid);
    57 validator_permit: Vec<bool> = S::ValidatorPermit::<R>::get(netuid);
    58 pruning_score: Vec<Compact<u16>> = compact(scores(netuid).2);
    59 last_update: Vec<Compact<u64>> = compact(S::LastUpdate::<R>::get(index));
    60 emission: Vec<Compact<u64>> = compact(S::Emission::<R>::get(netuid));
    61 dividends: Vec<Compact<u16>> = compact(S::Dividends::<R>::get(netuid));
    62 incentives: Vec<Compact<u16>> = compact(S::Incentive::<R>::get(index));
    63 consensus: Vec<Compact<u16>> = compact(S::Consensus::<R>::get(netuid));
    64 trust: Vec<Compact<u16>> = compact(scores(netuid).1);
    65 rank: Vec<Compact<u16>> = compact(scores(netuid).0);
    66 block_at_registration: Vec<Compact<u64>> = compact(registered(netuid));
    67 alpha_stake: Vec<Compact<u64>> = compact(stakes(netuid, netuid));
    68 tao_stake: Vec<Compact<u64>> = compact(stakes(netuid, S::ROOT));
    69 total_stake: Vec<Compact<u64>> = compact(total_stakes(netuid));
    70 tao_dividends_per_hotkey: Vec<(AccountId, Compact<u64>)> = no_dividends(netuid);
    71 alpha_dividends_per_hotkey: Vec<(AccountId, Compact<u64>)> = alpha_dividends(netuid);
}

fn validators(netuid: u16) -> Vec<Compact<u16>> {
    let permits = S::ValidatorPermit::<R>::get(netuid);
    (0u16..).zip(permits).filter(|(_, permit)| *permit).map(|(uid, _)| uid.into()).collect()
}

/// What hotkeys committed, as it is stored.
fn committed(netuid: u16) -> Vec<(AccountId, Vec<Compact<u8>>)> {
    commitments::CommitmentOf::<R>::iter_prefix(netuid)
        .map(|(hotkey, registration)| (hotkey, text(&registration.encode())))
        .collect()
}

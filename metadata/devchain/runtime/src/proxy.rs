//! Accounts that act for others, and what each kind of them may do.

use crate::{Balances, Runtime, RuntimeCall, RuntimeEvent, System};
use frame_support::traits::{ConstU32, ConstU64, InstanceFilter};
use parity_scale_codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_runtime::traits::BlakeTwo256;

/// The kinds of proxies, numbered as on Subtensor.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
#[allow(missing_docs, reason = "the names are the chain's, and say it")]
pub enum ProxyType {
    #[default]
    Any,
    Owner,
    NonCritical,
    NonTransfer,
    Senate,
    NonFungible,
    Triumvirate,
    Governance,
    Staking,
    Registration,
    Transfer,
    SmallTransfer,
    RootWeights,
    ChildKeys,
    SudoUncheckedSetCode,
    SwapHotkey,
    SubnetLeaseBeneficiary,
    RootClaim,
}

impl InstanceFilter<RuntimeCall> for ProxyType {
    fn filter(&self, call: &RuntimeCall) -> bool {
        use crate::subtensor::Call::{add_stake, burned_register, remove_stake};
        match self {
            Self::Any => true,
            Self::NonTransfer => !matches!(call, RuntimeCall::Balances(_)),
            Self::NonCritical => {
                !matches!(call, RuntimeCall::Sudo(_) | RuntimeCall::SubtensorModule(burned_register { .. }))
            }
            Self::NonFungible => !matches!(
                call,
                RuntimeCall::Balances(_)
                    | RuntimeCall::SubtensorModule(
                        add_stake { .. } | remove_stake { .. } | burned_register { .. }
                    )
            ),
            Self::Owner => matches!(call, RuntimeCall::AdminUtils(_)),
            Self::Staking => {
                matches!(call, RuntimeCall::SubtensorModule(add_stake { .. } | remove_stake { .. }))
            }
            Self::Registration => matches!(call, RuntimeCall::SubtensorModule(burned_register { .. })),
            Self::Transfer => matches!(call, RuntimeCall::Balances(_)),
            // Kinds whose calls this chain does not have, or which Subtensor keeps for old entries only.
            Self::Senate
            | Self::Triumvirate
            | Self::Governance
            | Self::SmallTransfer
            | Self::RootWeights
            | Self::ChildKeys
            | Self::SudoUncheckedSetCode
            | Self::SwapHotkey
            | Self::SubnetLeaseBeneficiary
            | Self::RootClaim => false,
        }
    }

    fn is_superset(&self, other: &Self) -> bool {
        match (self, other) {
            (one, another) if one == another => true,
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (Self::NonTransfer, Self::Transfer | Self::SmallTransfer) => false,
            (Self::NonTransfer, _) => true,
            (Self::Transfer, Self::SmallTransfer) => true,
            _ => false,
        }
    }
}

impl pallet_proxy::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type ProxyType = ProxyType;
    type ProxyDepositBase = ConstU64<60_000_000>;
    type ProxyDepositFactor = ConstU64<33_000_000>;
    type MaxProxies = ConstU32<20>;
    type MaxPending = ConstU32<75>;
    type WeightInfo = ();
    type CallHasher = BlakeTwo256;
    type AnnouncementDepositBase = ConstU64<36_000_000>;
    type AnnouncementDepositFactor = ConstU64<68_000_000>;
    type BlockNumberProvider = System;
}

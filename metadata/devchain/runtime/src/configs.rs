//! The pallets' parameters.

use crate::*;
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU8, ConstU16, ConstU32, ConstU64},
    weights::{IdentityFee, Weight, WeightToFee, constants::RocksDbWeight},
};
use frame_system::limits::{BlockLength, BlockWeights};
use sp_runtime::Perbill;

parameter_types! {
    pub const Version: RuntimeVersion = VERSION;
    // Four seconds of computation, three quarters of it for ordinary extrinsics.
    pub Weights: BlockWeights = BlockWeights::with_sensible_defaults(
        Weight::from_parts(4_000_000_000_000, u64::MAX), Perbill::from_percent(75));
    pub Length: BlockLength = BlockLength::builder()
        .max_length(10 * 1024 * 1024)
        .modify_max_length_for_class(frame_support::dispatch::DispatchClass::Normal, |length| {
            *length = 10 * 1024 * 1024 / 4 * 3;
        })
        .build();
}

#[cfg(feature = "spec365")]
type Migrations = ();
#[cfg(not(feature = "spec365"))]
type Migrations = upgrade::FromA;

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = sp_runtime::traits::AccountIdLookup<AccountId, ()>;
    type Nonce = u32;
    type AccountData = pallet_balances::AccountData<u64>;
    type BlockHashCount = ConstU32<2400>;
    type BlockWeights = Weights;
    type BlockLength = Length;
    type DbWeight = RocksDbWeight;
    type SS58Prefix = ConstU16<42>;
    type Version = Version;
    type SingleBlockMigrations = Migrations;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type AccountStore = System;
    type Balance = u64;
    type ExistentialDeposit = ConstU64<500>;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = ConstU32<50>;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type ReserveIdentifier = [u8; 8];
}

// Subtensor mainnet wants half a block between timestamps; here only that time moves forward, so that any
// block time works.
#[derive_impl(pallet_timestamp::config_preludes::TestDefaultConfig)]
impl pallet_timestamp::Config for Runtime {
    type MinimumPeriod = ConstU64<1>;
}

/// The chain's fee for computation: 0.0005 rao for each unit of `ref_time`.
pub struct ComputationFee;

impl WeightToFee for ComputationFee {
    type Balance = u64;

    fn weight_to_fee(weight: &Weight) -> u64 {
        weight.ref_time() / 2_000
    }
}

#[derive_impl(pallet_transaction_payment::config_preludes::TestDefaultConfig)]
impl pallet_transaction_payment::Config for Runtime {
    type OnChargeTransaction = pallet_transaction_payment::FungibleAdapter<Balances, ()>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightToFee = ComputationFee;
    type LengthToFee = IdentityFee<u64>;
}

#[derive_impl(pallet_sudo::config_preludes::TestDefaultConfig)]
impl pallet_sudo::Config for Runtime {}

impl aura::Config for Runtime {
    type SlotDuration = aura::SlotMilliseconds;
}

impl drand::Config for Runtime {}

impl subtensor::Config for Runtime {
    type Currency = Balances;
}

impl commitments::Config for Runtime {
    type MaxFields = ConstU32<3>;
    type InitialDeposit = ConstU64<0>;
    type FieldDeposit = ConstU64<0>;
}

impl admin_utils::Config for Runtime {}

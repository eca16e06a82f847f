//! The pallet's own types.

use super::Config;
use frame_support::traits::Get;
use parity_scale_codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use sp_runtime::traits::TrailingZeroInput;

/// A fixed-point number with 64 integer and 64 fractional bits.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    TypeInfo,
)]
pub struct FixedU128 {
    /// The number, times 2^64.
    pub bits: u128,
}

impl FixedU128 {
    /// A whole number.
    pub fn from_int(value: u64) -> Self {
        Self { bits: u128::from(value) << 64 }
    }
}

/// How a subnet's weights become pay.
#[cfg(not(feature = "spec365"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum EpochConsensus {
    /// By Yuma consensus.
    #[default]
    Yuma,
    /// By one validator's weights alone. Never so here.
    Null,
}

/// Where a neuron can be reached, as its hotkey published it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct AxonInfo {
    /// The block at which it was published.
    pub block: u64,
    /// The version of the neuron's software.
    pub version: u32,
    /// The address as a number, most significant byte first.
    pub ip: u128,
    /// The port.
    pub port: u16,
    /// 4 or 6.
    pub ip_type: u8,
    /// The protocol spoken there.
    pub protocol: u8,
    /// Not in use.
    pub placeholder1: u8,
    /// Not in use.
    pub placeholder2: u8,
}

/// What happens at a limited rate, at Subtensor mainnet's positions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum RateLimitKey<AccountId> {
    /// A subnet's owner hotkey was set.
    #[codec(index = 0)]
    SetSNOwnerHotkey(u16),
    /// A subnet was made.
    #[codec(index = 2)]
    NetworkLastRegistered,
    /// An account did something.
    #[codec(index = 3)]
    LastTxBlock(AccountId),
    /// An account changed its childkey take.
    #[codec(index = 4)]
    LastTxBlockChildKeyTake(AccountId),
    /// An account changed its delegate take.
    #[codec(index = 5)]
    LastTxBlockDelegateTake(AccountId),
}

/// Where a neuron can be watched. Nothing publishes it here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct PrometheusInfo {
    /// The block at which it was published.
    pub block: u64,
    /// The version of the neuron's software.
    pub version: u32,
    /// The address as a number, most significant byte first.
    pub ip: u128,
    /// The port.
    pub port: u16,
    /// 4 or 6.
    pub ip_type: u8,
}

/// What a coldkey says of itself, as text.
#[allow(missing_docs)] // Each field is what its name says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct ChainIdentityV2 {
    pub name: Vec<u8>,
    pub url: Vec<u8>,
    pub github_repo: Vec<u8>,
    pub image: Vec<u8>,
    pub discord: Vec<u8>,
    pub description: Vec<u8>,
    pub additional: Vec<u8>,
}

/// What a subnet's owner says of it, as text.
#[allow(missing_docs)] // Each field is what its name says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct SubnetIdentityV3 {
    pub subnet_name: Vec<u8>,
    pub github_repo: Vec<u8>,
    pub subnet_contact: Vec<u8>,
    pub subnet_url: Vec<u8>,
    pub discord: Vec<u8>,
    pub description: Vec<u8>,
    pub logo_url: Vec<u8>,
    pub additional: Vec<u8>,
}

/// What becomes of a coldkey's part of root dividends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum RootClaimTypeEnum {
    /// It is swapped for TAO.
    #[default]
    Swap,
    /// It stays alpha.
    Keep,
    /// It stays alpha in these subnets.
    KeepSubnets {
        /// Their netuids.
        subnets: std::collections::BTreeSet<u16>,
    },
}

/// The account of 32 zero bytes: nobody.
pub struct ZeroAccount<T>(std::marker::PhantomData<T>);

impl<T: Config> Get<T::AccountId> for ZeroAccount<T> {
    #[allow(clippy::expect_used)] // An account is 32 bytes of any value.
    fn get() -> T::AccountId {
        T::AccountId::decode(&mut TrailingZeroInput::zeroes()).expect("zero bytes are an account")
    }
}

/// The sign of a subnet that has none of its own.
pub struct DefaultSymbol;

impl Get<Vec<u8>> for DefaultSymbol {
    fn get() -> Vec<u8> {
        "\u{1d70f}".as_bytes().to_vec()
    }
}

/// A registration raises the price by 26 %.
#[cfg(not(feature = "spec365"))]
pub struct DefaultBurnIncrease;

#[cfg(not(feature = "spec365"))]
impl Get<FixedU128> for DefaultBurnIncrease {
    fn get() -> FixedU128 {
        FixedU128 { bits: (126u128 << 64) / 100 }
    }
}

/// Liquid alpha lies between 0.7 and 0.9.
pub struct DefaultAlphaValues;

impl Get<(u16, u16)> for DefaultAlphaValues {
    fn get() -> (u16, u16) {
        (45_875, 58_982)
    }
}

/// How many neurons a subnet may have that does not say so itself.
pub struct MaxUids;

impl Get<u16> for MaxUids {
    fn get() -> u16 {
        if cfg!(feature = "spec365") { 4_096 } else { 256 }
    }
}

//! The runtime of the development chain: FRAME pallets, compiled and executed natively.
//!
//! It mirrors the interface of Bittensor's subtensor at spec 425, for what a subnet needs: the same pallet
//! names and indices, call indices and argument types, storage hashers, keys and values, event and error
//! positions, and transaction extensions. [`subtensor`] holds the subnets, [`commitments`] what hotkeys
//! publish, [`admin_utils`] the hyperparameters.
//!
//! The same sources, with the feature `spec365`, make the runtime of spec 365 in the crate
//! `node_subtensor_365_runtime`: epochs by the block's number, registration for work, prices that are adjusted
//! in intervals, and events, errors, storage and extensions as they were. A chain goes from 365 to 425 by
//! `System.set_code` with [`CODE`] of the newer one, and then `upgrade` moves its storage.
//!
//! The crate's name matters: Python clients recognise calls and events by a type path that begins with a
//! crate named `*_runtime`.

// `construct_runtime!` and `impl_runtime_apis!` make public items that cannot carry documentation.
#![allow(missing_docs)]
// Calls have Subtensor mainnet's arguments, however many, and the pallet macros copy them.
#![allow(clippy::too_many_arguments)]

pub mod admin_utils;
mod apis;
pub mod aura;
pub mod beacon;
pub mod commitments;
mod configs;
pub mod drand;
pub mod extensions;
pub mod genesis;
pub mod proxy;
pub mod subtensor;
#[cfg(not(feature = "spec365"))]
pub mod upgrade;

pub use apis::api;
pub use beacon::Beacon;
use frame_support::construct_runtime;
use sp_runtime::{
    MultiAddress, MultiSignature, generic,
    traits::{BlakeTwo256, IdentifyAccount, Verify},
};
use sp_version::RuntimeVersion;
use std::borrow::Cow;

/// How an extrinsic is signed.
pub type Signature = MultiSignature;
/// An account: 32 bytes.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// A block's header.
pub type Header = generic::Header<u32, BlakeTwo256>;
/// An extrinsic as it travels.
pub type UncheckedExtrinsic =
    generic::UncheckedExtrinsic<MultiAddress<AccountId, ()>, RuntimeCall, Signature, extensions::TxExtension>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// What executes blocks.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

construct_runtime!(
    pub enum Runtime {
        System: frame_system = 0,
        Timestamp: pallet_timestamp = 2,
        Aura: aura = 3,
        Balances: pallet_balances = 5,
        TransactionPayment: pallet_transaction_payment = 6,
        SubtensorModule: subtensor = 7,
        Sudo: pallet_sudo = 12,
        Proxy: pallet_proxy = 16,
        Commitments: commitments = 18,
        AdminUtils: admin_utils = 19,
        Drand: drand = 26,
    }
);

/// The spec version that this runtime mirrors.
pub const SPEC_VERSION: u32 = if cfg!(feature = "spec365") { 365 } else { 425 };

/// The version of the interface that this runtime mirrors.
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: Cow::Borrowed("node-subtensor"),
    impl_name: Cow::Borrowed("node-subtensor"),
    authoring_version: 1,
    spec_version: SPEC_VERSION,
    impl_version: 1,
    apis: apis::VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

/// What stands under the key `:code` for this runtime, as there is no WebAssembly: a name that the node knows.
pub const CODE: &[u8] =
    if cfg!(feature = "spec365") { b"templar devchain, spec 365" } else { b"templar devchain, spec 425" };

/// The runtime's metadata at version 15, as `state_call("Metadata_metadata_at_version", 15)` gives it: the
/// `meta` magic, the version and the SCALE encoding.
pub fn metadata() -> Vec<u8> {
    Runtime::metadata_at_version(15).map(|metadata| (*metadata).clone()).unwrap_or_default()
}

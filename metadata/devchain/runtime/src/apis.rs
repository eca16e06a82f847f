//! The runtime's interface for nodes and clients, as `state_call` serves it.

use crate::*;
use frame_support::{__private::OpaqueMetadata, weights::Weight};
use parity_scale_codec::Encode;
use sp_core::H256;
use sp_runtime::{
    ApplyExtrinsicResult, ExtrinsicInclusionMode,
    transaction_validity::{TransactionSource, TransactionValidity},
};

pub mod dynamic;
pub mod hyperparams;
pub mod info;
pub mod metagraph;
pub mod neurons;
pub mod stake;
pub mod state;
pub mod subnets;

type LazyBlock = <Block as sp_runtime::traits::Block>::LazyBlock;

sp_api::impl_runtime_apis! {
    impl sp_api::Core<Block> for Runtime {
        fn version() -> RuntimeVersion {
            VERSION
        }
        fn execute_block(block: LazyBlock) {
            Executive::execute_block(block)
        }
        fn initialize_block(header: &Header) -> ExtrinsicInclusionMode {
            Executive::initialize_block(header)
        }
    }

    impl sp_api::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Runtime::metadata().encode())
        }
        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Runtime::metadata_at_version(version)
        }
        fn metadata_versions() -> Vec<u32> {
            Runtime::metadata_versions()
        }
    }

    impl sp_block_builder::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: UncheckedExtrinsic) -> ApplyExtrinsicResult {
            Executive::apply_extrinsic(extrinsic)
        }
        fn finalize_block() -> Header {
            Executive::finalize_block()
        }
        fn inherent_extrinsics(_: sp_inherents::InherentData) -> Vec<UncheckedExtrinsic> {
            Vec::new()
        }
        fn check_inherents(_: LazyBlock, _: sp_inherents::InherentData) -> sp_inherents::CheckInherentsResult {
            Default::default()
        }
    }

    impl sp_transaction_pool::runtime_api::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: TransactionSource,
            tx: UncheckedExtrinsic,
            block_hash: H256,
        ) -> TransactionValidity {
            Executive::validate_transaction(source, tx, block_hash)
        }
    }

    impl frame_system_rpc_runtime_api::AccountNonceApi<Block, AccountId, u32> for Runtime {
        fn account_nonce(account: AccountId) -> u32 {
            System::account_nonce(account)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, u64> for Runtime {
        fn query_info(
            uxt: UncheckedExtrinsic,
            len: u32,
        ) -> pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo<u64> {
            TransactionPayment::query_info(uxt, len)
        }
        fn query_fee_details(uxt: UncheckedExtrinsic, len: u32) -> pallet_transaction_payment::FeeDetails<u64> {
            TransactionPayment::query_fee_details(uxt, len)
        }
        fn query_weight_to_fee(weight: Weight) -> u64 {
            TransactionPayment::weight_to_fee(weight)
        }
        fn query_length_to_fee(length: u32) -> u64 {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl neurons::NeuronInfoRuntimeApi<Block> for Runtime {
        fn get_neurons(netuid: u16) -> Vec<neurons::NeuronInfo<AccountId>> {
            neurons::uids(netuid).filter_map(|uid| neurons::neuron(netuid, uid)).collect()
        }
        fn get_neuron(netuid: u16, uid: u16) -> Option<neurons::NeuronInfo<AccountId>> {
            neurons::neuron(netuid, uid)
        }
        fn get_neurons_lite(netuid: u16) -> Vec<neurons::NeuronInfoLite<AccountId>> {
            neurons::uids(netuid).filter_map(|uid| neurons::neuron_lite(netuid, uid)).collect()
        }
        fn get_neuron_lite(netuid: u16, uid: u16) -> Option<neurons::NeuronInfoLite<AccountId>> {
            neurons::neuron_lite(netuid, uid)
        }
    }

    #[cfg_attr(feature = "spec425", api_version(2))]
    impl subnets::SubnetInfoRuntimeApi<Block> for Runtime {
        fn get_subnet_info(netuid: u16) -> Option<dynamic::SubnetInfo<AccountId>> {
            dynamic::info(netuid)
        }
        fn get_subnets_info() -> Vec<Option<dynamic::SubnetInfo<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(dynamic::info).collect()
        }
        fn get_subnet_info_v2(netuid: u16) -> Option<dynamic::SubnetInfov2<AccountId>> {
            dynamic::info_v2(netuid)
        }
        fn get_subnets_info_v2() -> Vec<Option<dynamic::SubnetInfov2<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(dynamic::info_v2).collect()
        }
        fn get_subnet_hyperparams(netuid: u16) -> Option<hyperparams::SubnetHyperparams> {
            hyperparams::hyperparams(netuid)
        }
        fn get_subnet_hyperparams_v2(netuid: u16) -> Option<hyperparams::SubnetHyperparamsV2> {
            hyperparams::hyperparams_v2(netuid)
        }
        fn get_all_dynamic_info() -> Vec<Option<dynamic::DynamicInfo<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(dynamic::dynamic).collect()
        }
        fn get_dynamic_info(netuid: u16) -> Option<dynamic::DynamicInfo<AccountId>> {
            dynamic::dynamic(netuid)
        }
        fn get_all_metagraphs() -> Vec<Option<metagraph::Metagraph<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(|netuid| metagraph::metagraph(netuid, 0)).collect()
        }
        fn get_metagraph(netuid: u16) -> Option<metagraph::Metagraph<AccountId>> {
            metagraph::metagraph(netuid, 0)
        }
        fn get_all_mechagraphs() -> Vec<Option<metagraph::Metagraph<AccountId>>> {
            let of = |netuid| {
                let count = subtensor::MechanismCountCurrent::<Runtime>::get(netuid);
                (0..count).map(move |mechanism| metagraph::metagraph(netuid, mechanism))
            };
            SubtensorModule::netuids().into_iter().flat_map(of).collect()
        }
        fn get_mechagraph(netuid: u16, mecid: u8) -> Option<metagraph::Metagraph<AccountId>> {
            metagraph::metagraph(netuid, mecid)
        }
        fn get_subnet_state(netuid: u16) -> Option<state::SubnetState<AccountId>> {
            state::state(netuid)
        }
        fn get_selective_metagraph(
            netuid: u16,
            metagraph_indexes: Vec<u16>,
        ) -> Option<metagraph::SelectiveMetagraph<AccountId>> {
            metagraph::selective(netuid, 0, &metagraph_indexes)
        }
        fn get_selective_mechagraph(
            netuid: u16,
            subid: u8,
            metagraph_indexes: Vec<u16>,
        ) -> Option<metagraph::SelectiveMetagraph<AccountId>> {
            metagraph::selective(netuid, subid, &metagraph_indexes)
        }
        #[cfg(feature = "spec425")]
        fn get_subnet_hyperparams_v3(netuid: u16) -> Option<Vec<hyperparams::Hyperparam>> {
            hyperparams::hyperparams_v3(netuid)
        }
        #[cfg(feature = "spec425")]
        fn get_subnet_account_id(netuid: u16) -> Option<AccountId> {
            let exists = subtensor::NetworksAdded::<Runtime>::get(netuid);
            exists.then(|| SubtensorModule::subnet_account(netuid))
        }
        #[cfg(feature = "spec425")]
        fn get_next_epoch_start_block(netuid: u16) -> Option<u64> {
            SubtensorModule::next_epoch_block(netuid)
        }
    }

    impl stake::StakeInfoRuntimeApi<Block> for Runtime {
        fn get_stake_info_for_coldkey(coldkey_account: AccountId) -> Vec<stake::StakeInfo<AccountId>> {
            stake::stakes(&coldkey_account)
        }
        fn get_stake_info_for_coldkeys(
            coldkey_accounts: Vec<AccountId>,
        ) -> Vec<(AccountId, Vec<stake::StakeInfo<AccountId>>)> {
            let of = |coldkey: AccountId| (coldkey.clone(), stake::stakes(&coldkey));
            coldkey_accounts.into_iter().map(of).collect()
        }
        fn get_stake_info_for_hotkey_coldkey_netuid(
            hotkey_account: AccountId,
            coldkey_account: AccountId,
            netuid: u16,
        ) -> Option<stake::StakeInfo<AccountId>> {
            stake::stake(&hotkey_account, &coldkey_account, netuid)
        }
        fn get_stake_fee(
            _: Option<(AccountId, u16)>,
            _: AccountId,
            _: Option<(AccountId, u16)>,
            _: AccountId,
            _: u64,
        ) -> u64 {
            0
        }
    }

    impl stake::SwapRuntimeApi<Block> for Runtime {
        fn current_alpha_price(_: u16) -> u64 {
            1_000_000_000
        }
        fn sim_swap_tao_for_alpha(_: u16, tao: u64) -> stake::SimSwapResult {
            stake::swap(tao)
        }
        fn sim_swap_alpha_for_tao(_: u16, alpha: u64) -> stake::SimSwapResult {
            stake::swap(alpha)
        }
    }

    impl subnets::SubnetRegistrationRuntimeApi<Block> for Runtime {
        fn get_network_registration_cost() -> u64 {
            SubtensorModule::network_lock_cost()
        }
    }
}

/// The interface's own versions, for [`VERSION`].
pub const VERSIONS: std::borrow::Cow<'static, [([u8; 8], u32)]> = RUNTIME_API_VERSIONS;

//! What clients ask about subnets.

// The macro imports each version of a trait, and one of them is implemented.
#![allow(unused_imports)]

#[cfg(not(feature = "spec365"))]
use super::hyperparams::Hyperparam;
use super::{
    dynamic::{DynamicInfo, SubnetInfo, SubnetInfov2},
    hyperparams::{SubnetHyperparams, SubnetHyperparamsV2},
    metagraph::{Metagraph, SelectiveMetagraph},
    state::SubnetState,
};
use crate::AccountId;
#[cfg(feature = "spec365")]
use crate::drand::Metadata as Hyperparam;

sp_api::decl_runtime_apis! {
    /// Subnets. The second version came with spec 425.
    pub trait SubnetInfoRuntimeApi {
        /// A subnet.
        fn get_subnet_info(netuid: u16) -> Option<SubnetInfo<AccountId>>;
        /// All subnets.
        fn get_subnets_info() -> Vec<Option<SubnetInfo<AccountId>>>;
        /// A subnet and its identity.
        fn get_subnet_info_v2(netuid: u16) -> Option<SubnetInfov2<AccountId>>;
        /// All subnets and their identities.
        fn get_subnets_info_v2() -> Vec<Option<SubnetInfov2<AccountId>>>;
        /// A subnet's hyperparameters.
        fn get_subnet_hyperparams(netuid: u16) -> Option<SubnetHyperparams>;
        /// The same, and those that came later.
        fn get_subnet_hyperparams_v2(netuid: u16) -> Option<SubnetHyperparamsV2>;
        /// All subnets with their alpha.
        fn get_all_dynamic_info() -> Vec<Option<DynamicInfo<AccountId>>>;
        /// A subnet with its alpha.
        fn get_dynamic_info(netuid: u16) -> Option<DynamicInfo<AccountId>>;
        /// All subnets and their neurons.
        fn get_all_metagraphs() -> Vec<Option<Metagraph<AccountId>>>;
        /// A subnet and its neurons.
        fn get_metagraph(netuid: u16) -> Option<Metagraph<AccountId>>;
        /// All mechanisms of all subnets.
        fn get_all_mechagraphs() -> Vec<Option<Metagraph<AccountId>>>;
        /// A subnet and its neurons by one mechanism.
        fn get_mechagraph(netuid: u16, mecid: u8) -> Option<Metagraph<AccountId>>;
        /// The neurons of a subnet.
        fn get_subnet_state(netuid: u16) -> Option<SubnetState<AccountId>>;
        /// Fields of a subnet and its neurons, by their indices.
        fn get_selective_metagraph(
            netuid: u16,
            metagraph_indexes: Vec<u16>,
        ) -> Option<SelectiveMetagraph<AccountId>>;
        /// The same by one mechanism.
        fn get_selective_mechagraph(
            netuid: u16,
            subid: u8,
            metagraph_indexes: Vec<u16>,
        ) -> Option<SelectiveMetagraph<AccountId>>;
        /// A subnet's hyperparameters by name.
        #[api_version(2)]
        fn get_subnet_hyperparams_v3(netuid: u16) -> Option<Vec<Hyperparam>>;
        /// The account that keeps a subnet's TAO.
        #[api_version(2)]
        fn get_subnet_account_id(netuid: u16) -> Option<AccountId>;
        /// The block at which the subnet's next epoch is due; `None` if it does not exist or has no epochs.
        #[api_version(2)]
        fn get_next_epoch_start_block(netuid: u16) -> Option<u64>;
    }

    /// What a new subnet costs.
    pub trait SubnetRegistrationRuntimeApi {
        /// The price of a new subnet at this block, in rao.
        fn get_network_registration_cost() -> u64;
    }
}

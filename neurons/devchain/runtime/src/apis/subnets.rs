//! What clients ask about subnets.

sp_api::decl_runtime_apis! {
    /// When subnets run their epochs.
    pub trait SubnetInfoRuntimeApi {
        /// The block at which the subnet's next epoch is due; `None` if it does not exist or has no epochs.
        fn get_next_epoch_start_block(netuid: u16) -> Option<u64>;
    }

    /// What a new subnet costs.
    pub trait SubnetRegistrationRuntimeApi {
        /// The price of a new subnet at this block, in rao.
        fn get_network_registration_cost() -> u64;
    }
}

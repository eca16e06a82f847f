//! What clients ask about neurons.

use crate::{
    AccountId, Runtime, SubtensorModule,
    subtensor::{self, AxonInfo, PrometheusInfo},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A neuron without what it says of others.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct NeuronInfoLite<Account> {
    pub hotkey: Account,
    pub coldkey: Account,
    pub uid: Compact<u16>,
    pub netuid: Compact<u16>,
    pub active: bool,
    pub axon_info: AxonInfo,
    pub prometheus_info: PrometheusInfo,
    pub stake: Vec<(Account, Compact<u64>)>,
    pub rank: Compact<u16>,
    pub emission: Compact<u64>,
    pub incentive: Compact<u16>,
    pub consensus: Compact<u16>,
    pub trust: Compact<u16>,
    pub validator_trust: Compact<u16>,
    pub dividends: Compact<u16>,
    pub last_update: Compact<u64>,
    pub validator_permit: bool,
    pub pruning_score: Compact<u16>,
}

/// A neuron with its weights and bonds.
#[allow(missing_docs)] // Each field is the storage item of its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct NeuronInfo<Account> {
    pub hotkey: Account,
    pub coldkey: Account,
    pub uid: Compact<u16>,
    pub netuid: Compact<u16>,
    pub active: bool,
    pub axon_info: AxonInfo,
    pub prometheus_info: PrometheusInfo,
    pub stake: Vec<(Account, Compact<u64>)>,
    pub rank: Compact<u16>,
    pub emission: Compact<u64>,
    pub incentive: Compact<u16>,
    pub consensus: Compact<u16>,
    pub trust: Compact<u16>,
    pub validator_trust: Compact<u16>,
    pub dividends: Compact<u16>,
    pub last_update: Compact<u64>,
    pub validator_permit: bool,
    pub weights: Vec<(Compact<u16>, Compact<u16>)>,
    pub bonds: Vec<(Compact<u16>, Compact<u16>)>,
    pub pruning_score: Compact<u16>,
}

sp_api::decl_runtime_apis! {
    /// Neurons.
    pub trait NeuronInfoRuntimeApi {
        /// All of a subnet.
        fn get_neurons(netuid: u16) -> Vec<NeuronInfo<crate::AccountId>>;
        /// One of them.
        fn get_neuron(netuid: u16, uid: u16) -> Option<NeuronInfo<crate::AccountId>>;
        /// All of a subnet, without weights and bonds.
        fn get_neurons_lite(netuid: u16) -> Vec<NeuronInfoLite<crate::AccountId>>;
        /// One of them.
        fn get_neuron_lite(netuid: u16, uid: u16) -> Option<NeuronInfoLite<crate::AccountId>>;
    }
}

/// The value of a UID in a column of storage.
fn of<V: Copy + Default>(column: &[V], uid: u16) -> V {
    column.get(usize::from(uid)).copied().unwrap_or_default()
}

/// The rank, trust and score of each UID, which newer chains no longer have: there they are 0, 0 and 65535.
pub(super) fn scores(netuid: u16) -> (Vec<u16>, Vec<u16>, Vec<u16>) {
    #[cfg(feature = "spec365")]
    return (
        subtensor::Rank::<Runtime>::get(netuid),
        subtensor::Trust::<Runtime>::get(netuid),
        subtensor::PruningScores::<Runtime>::get(netuid),
    );
    #[cfg(not(feature = "spec365"))]
    {
        let n = usize::from(subtensor::SubnetworkN::<Runtime>::get(netuid));
        (vec![0; n], vec![0; n], vec![u16::MAX; n])
    }
}

/// A neuron without what it says of others.
pub fn neuron_lite(netuid: u16, uid: u16) -> Option<NeuronInfoLite<AccountId>> {
    if uid >= subtensor::SubnetworkN::<Runtime>::get(netuid) {
        return None;
    }
    let hotkey = subtensor::Keys::<Runtime>::get(netuid, uid);
    let coldkey = subtensor::Owner::<Runtime>::get(&hotkey);
    let stake = subtensor::TotalHotkeyAlpha::<Runtime>::get(&hotkey, netuid);
    let (rank, trust, score) = scores(netuid);
    Some(NeuronInfoLite {
        uid: uid.into(),
        netuid: netuid.into(),
        active: of(&subtensor::Active::<Runtime>::get(netuid), uid),
        axon_info: subtensor::Axons::<Runtime>::get(netuid, &hotkey).unwrap_or_default(),
        prometheus_info: subtensor::Prometheus::<Runtime>::get(netuid, &hotkey).unwrap_or_default(),
        stake: vec![(coldkey.clone(), stake.into())],
        rank: of(&rank, uid).into(),
        emission: of(&subtensor::Emission::<Runtime>::get(netuid), uid).into(),
        incentive: of(&subtensor::Incentive::<Runtime>::get(netuid), uid).into(),
        consensus: of(&subtensor::Consensus::<Runtime>::get(netuid), uid).into(),
        trust: of(&trust, uid).into(),
        validator_trust: of(&subtensor::ValidatorTrust::<Runtime>::get(netuid), uid).into(),
        dividends: of(&subtensor::Dividends::<Runtime>::get(netuid), uid).into(),
        last_update: of(&subtensor::LastUpdate::<Runtime>::get(netuid), uid).into(),
        validator_permit: of(&subtensor::ValidatorPermit::<Runtime>::get(netuid), uid),
        pruning_score: of(&score, uid).into(),
        hotkey,
        coldkey,
    })
}

/// A neuron with its weights and bonds.
pub fn neuron(netuid: u16, uid: u16) -> Option<NeuronInfo<AccountId>> {
    let lite = neuron_lite(netuid, uid)?;
    let compact = |row: Vec<(u16, u16)>| row.into_iter().map(|(uid, value)| (uid.into(), value.into()));
    Some(NeuronInfo {
        hotkey: lite.hotkey,
        coldkey: lite.coldkey,
        uid: lite.uid,
        netuid: lite.netuid,
        active: lite.active,
        axon_info: lite.axon_info,
        prometheus_info: lite.prometheus_info,
        stake: lite.stake,
        rank: lite.rank,
        emission: lite.emission,
        incentive: lite.incentive,
        consensus: lite.consensus,
        trust: lite.trust,
        validator_trust: lite.validator_trust,
        dividends: lite.dividends,
        last_update: lite.last_update,
        validator_permit: lite.validator_permit,
        weights: compact(subtensor::Weights::<Runtime>::get(netuid, uid)).collect(),
        bonds: compact(subtensor::Bonds::<Runtime>::get(netuid, uid)).collect(),
        pruning_score: lite.pruning_score,
    })
}

/// The UIDs of a subnet.
pub(super) fn uids(netuid: u16) -> std::ops::Range<u16> {
    0..if SubtensorModule::netuids().contains(&netuid) {
        subtensor::SubnetworkN::<Runtime>::get(netuid)
    } else {
        0
    }
}

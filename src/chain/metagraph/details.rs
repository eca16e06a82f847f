//! What a metagraph shows beyond what neurons act on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{wallet::AccountId, window::Block};

/// More of one neuron. Amounts are in rao, of alpha unless it says TAO.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NeuronDetails {
    /// Stake weight with what children and parents pass on, where the chain's interface says it; otherwise the
    /// neuron's own.
    pub total_stake: u64,
    /// Alpha staked on it in this subnet, with what children and parents pass on where the interface says it.
    pub alpha_stake: u64,
    /// TAO staked on it on the root, before the TAO weight, likewise.
    pub tao_stake: u64,
    /// Rank, of 65535; 0 in runtimes that no longer have it.
    pub rank: u16,
    /// Trust, of 65535; 0 in runtimes that no longer have it.
    pub trust: u16,
    /// How safe it is from being replaced, of 65535; 65535 in runtimes that no longer have it.
    pub pruning_score: u16,
    /// Where it serves, if it says so.
    pub axon: Option<Axon>,
    /// The name that its coldkey gave itself; none also where only storage could be read.
    pub identity: Option<String>,
}

/// Where a neuron serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axon {
    /// The block in which it said so.
    pub block: Block,
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// The version of what it runs, as it says.
    pub version: u32,
    /// The number of the protocol it speaks.
    pub protocol: u8,
}

impl Axon {
    /// From the chain's numbers. None for one that was never set, which the chain writes as all zeros.
    pub(in crate::chain) fn new(
        block: u64,
        ip: u128,
        ip_type: u8,
        port: u16,
        version: u32,
        protocol: u8,
    ) -> Option<Self> {
        let ip = match (ip_type, u32::try_from(ip)) {
            (6, _) | (_, Err(_)) => IpAddr::V6(Ipv6Addr::from_bits(ip)),
            (_, Ok(v4)) => IpAddr::V4(Ipv4Addr::from_bits(v4)),
        };
        let is_set = block != 0 || port != 0 || !ip.is_unspecified();
        is_set.then_some(Self { block, ip, port, version, protocol })
    }
}

/// Where a metagraph came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetagraphSource {
    /// The runtime's own interface, in one call.
    RuntimeApi,
    /// Storage, entry by entry.
    #[default]
    Storage,
}

/// A subnet's own facts at the metagraph's block. Amounts are in rao, times in blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubnetDetails {
    /// Where all this came from.
    pub source: MetagraphSource,
    /// The mechanism whose incentives and updates are shown.
    pub mechanism: u8,
    /// Its name; none where only storage could be read and the subnet has no identity.
    pub name: Option<String>,
    /// The sign of its alpha.
    pub symbol: String,
    /// The owner's hotkey.
    pub owner_hotkey: Option<AccountId>,
    /// The owner's coldkey.
    pub owner_coldkey: Option<AccountId>,
    /// The block at which it was made.
    pub registered_at: Block,
    /// The block of the last epoch.
    pub last_step: Block,
    /// Blocks since then.
    pub blocks_since_last_step: u64,
    /// What registering costs now, TAO in rao.
    pub burn: u64,
    /// The difficulty of registering by work.
    pub difficulty: u64,
    /// Whether neurons may register.
    pub registration_allowed: bool,
    /// Whether they may register by work.
    pub pow_registration_allowed: bool,
    /// The most neurons.
    pub max_uids: u16,
    /// The most validators.
    pub max_validators: u16,
    /// The fewest weights in one setting.
    pub min_allowed_weights: u16,
    /// The largest share of one weight, of 65535.
    pub max_weights_limit: u16,
    /// Blocks in which a new neuron is not replaced.
    pub immunity_period: u64,
    /// Blocks without weights after which a validator is inactive.
    pub activity_cutoff: u64,
    /// Blocks that must lie between two settings of weights.
    pub weights_rate_limit: u64,
    /// The lowest version key that weights may carry; 0 takes any.
    pub weights_version: u64,
    /// Blocks that must lie between two announcements of an axon.
    pub serving_rate_limit: u64,
    /// Whether weights must be committed and revealed.
    pub commit_reveal_enabled: bool,
    /// Epochs between commit and reveal.
    pub commit_reveal_period: u64,
    /// TAO in the pool.
    pub tao_in: u64,
    /// Alpha in the pool. The price of alpha is `tao_in / alpha_in`.
    pub alpha_in: u64,
    /// Alpha outside the pool.
    pub alpha_out: u64,
    /// The moving average of the price: rao of TAO for one alpha.
    pub moving_price: u64,
}

/// The chain's fixed-point price (32 fractional bits) in rao of TAO for one alpha, rounded down.
pub(in crate::chain) fn moving_price(bits: u128) -> u64 {
    // The fraction and the whole part apart: their product would not fit.
    let (whole, fraction) = (bits >> 32, bits & u128::from(u32::MAX));
    let rao = u128::from(crate::chain::ids::RAO_PER_TAO);
    let price = whole.saturating_mul(rao).saturating_add((fraction * rao) >> 32);
    u64::try_from(price).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let axon = Axon::new(5, 0x0102_0304, 4, 8091, 1, 4).unwrap();
        assert_eq!((axon.ip.to_string(), axon.port), ("1.2.3.4".to_owned(), 8091));
        assert_eq!(Axon::new(5, 1, 6, 1, 0, 4).unwrap().ip.to_string(), "::1");
        assert_eq!(Axon::new(0, 0, 0, 0, 0, 0), None);
    }

    #[test]
    fn prices_have_nine_decimals() {
        assert_eq!(moving_price(1 << 32), 1_000_000_000);
        assert_eq!(moving_price(1 << 31), 500_000_000);
        assert_eq!(moving_price(0), 0);
        assert_eq!(moving_price(u128::MAX), u64::MAX);
    }
}

//! Where a neuron can be reached, told to the chain.

use std::net::IpAddr;

use serde::Serialize;
use subxt::{
    ext::scale_value::{Composite, Value},
    tx::DynamicPayload,
};

use super::{
    Chain as _, check::Check, client::SubtensorClient, dry_run::Preview, error::ChainError, types::Included,
};
use crate::{
    wallet::{AccountId, Keypair},
    window::NetUid,
};

/// The call.
const CALL: &str = "serve_axon";

/// An address to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The subnet.
    pub netuid: NetUid,
    /// The address that others reach it at.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// The number of the protocol that is spoken there.
    pub protocol: u8,
}

/// What would come of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AxonPlan {
    /// The rules.
    pub checks: Vec<Check>,
    /// What would be signed, and its fee.
    pub preview: Preview,
}

impl AxonPlan {
    /// The first rule that is broken, if any is.
    ///
    /// # Errors
    /// [`ChainError::WouldRefuse`].
    pub fn refuse(&self) -> Result<(), ChainError> {
        Check::refuse(CALL, &self.checks)
    }
}

/// This program's version as the chain writes versions: 1.2.3 is 1002003.
fn version() -> u32 {
    env!("CARGO_PKG_VERSION")
        .split('.')
        .take(3)
        .fold(0, |sum, part| sum * 1000 + part.parse::<u32>().unwrap_or(0))
}

impl Announcement {
    fn payload(&self) -> DynamicPayload<Composite<()>> {
        let (ip, kind): (u128, u8) = match self.ip {
            IpAddr::V4(ip) => (u32::from(ip).into(), 4),
            IpAddr::V6(ip) => (ip.into(), 6),
        };
        let number = |value: u128| Value::u128(value);
        let arguments = [
            ("netuid", number(self.netuid.into())),
            ("version", number(version().into())),
            ("ip", number(ip)),
            ("port", number(self.port.into())),
            ("ip_type", number(kind.into())),
            ("protocol", number(self.protocol.into())),
            ("placeholder1", number(0)),
            ("placeholder2", number(0)),
        ];
        subxt::tx::dynamic("SubtensorModule", CALL, Composite::named(arguments))
    }

    /// Whether the chain takes the address: not this machine's own, and not everybody's.
    fn is_reachable(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => {
                ip != std::net::Ipv4Addr::LOCALHOST && !ip.is_broadcast() && !ip.is_unspecified()
            }
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && u128::from(ip) != u128::MAX,
        }
    }
}

impl SubtensorClient {
    /// What stands in the way of an announcement.
    ///
    /// # Errors
    /// Those of reading; [`ChainError::NoSuchSubnet`].
    pub async fn plan_axon(&self, what: &Announcement, hotkey: &AccountId) -> Result<AxonPlan, ChainError> {
        let metagraph = self.metagraph(what.netuid, None).await?;
        let neuron = metagraph.neuron(hotkey);
        let served = neuron.and_then(|neuron| neuron.details.as_ref()?.axon.as_ref());
        let limit = metagraph.details.as_ref().map_or(0, |details| details.serving_rate_limit);
        let next = metagraph.block + 1;
        let due = served.map_or(0, |axon| axon.block.saturating_add(limit));
        let checks = vec![
            Check::new(
                "the hotkey is registered",
                neuron.is_some(),
                "HotKeyNotRegisteredInNetwork",
                neuron.map_or_else(|| "it is not".to_owned(), |neuron| format!("as UID {}", neuron.uid)),
            ),
            Check::new(
                "others can reach the address",
                what.is_reachable(),
                "InvalidIpAddress",
                what.ip.to_string(),
            ),
            Check::new("the port is one", what.port != 0, "InvalidPort", what.port.to_string()),
            Check::new(
                "the rate limit has passed",
                due <= next,
                "ServingRateLimitExceeded",
                match served {
                    Some(axon) => format!("announced at block {}, {limit} blocks apart", axon.block),
                    None => "nothing is announced yet".to_owned(),
                },
            ),
        ];
        Ok(AxonPlan { checks, preview: self.preview(what.payload(), hotkey).await? })
    }

    /// Tells the chain where a hotkey can be reached.
    ///
    /// # Errors
    /// As every method with a signer.
    pub async fn serve_axon(&self, what: &Announcement, hotkey: &Keypair) -> Result<Included, ChainError> {
        Ok(self.submit(CALL, what.payload(), hotkey).await?.included)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_is_announced() {
        let reachable = |ip: &str| {
            Announcement { netuid: 1, ip: ip.parse().unwrap(), port: 80, protocol: 4 }.is_reachable()
        };
        for ip in ["10.1.2.3", "203.0.113.7", "2001:db8::1"] {
            assert!(reachable(ip), "{ip}");
        }
        for ip in ["127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::"] {
            assert!(!reachable(ip), "{ip}");
        }
        assert!(version() > 0);
    }
}

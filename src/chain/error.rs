//! What can go wrong between this program and a chain.

pub(crate) mod dispatch_error;

use super::ids::RAO_PER_TAO;
use crate::{
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};

/// Why the chain was not reached, not understood, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Not a network's name and not an endpoint.
    #[error("{given:?} is neither a network nor an endpoint")]
    UnknownNetwork {
        /// What was given.
        given: String,
    },
    /// No connection to the endpoint.
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// The endpoint, without anything secret in it.
        endpoint: String,
        /// What the connection said.
        reason: String,
    },
    /// The node did not answer in time.
    #[error("{endpoint} did not answer to {request} within {seconds} s")]
    Timeout {
        /// The endpoint.
        endpoint: String,
        /// What was asked.
        request: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection was lost in the middle of a request.
    #[error("the connection to {endpoint} was lost during {request}")]
    Disconnected {
        /// The endpoint.
        endpoint: String,
        /// What was asked.
        request: String,
    },
    /// The node answered with an error of its own.
    #[error("{endpoint} answered to {request}: {reason}")]
    Node {
        /// The endpoint.
        endpoint: String,
        /// What was asked.
        request: String,
        /// The node's words.
        reason: String,
    },
    /// A chain of another kind: its runtime has no subnets.
    #[error("{endpoint} serves a chain without subnets: it is not Bittensor's")]
    NotSubtensor {
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint now serves a chain with another genesis block.
    #[error("{endpoint} serves another chain than before")]
    OtherChain {
        /// The endpoint.
        endpoint: String,
    },
    /// The stream of blocks has ended.
    #[error("the stream of blocks has ended")]
    Closed,
    /// The block is not there (yet).
    #[error("the chain has no block {block}")]
    NoSuchBlock {
        /// The block.
        block: Block,
    },
    /// The node has thrown the block's state away.
    #[error("the node no longer has the state of block {block}")]
    Pruned {
        /// The block.
        block: Block,
    },
    /// The runtime lacks something by this name.
    #[error("the chain's runtime has no {item}")]
    Missing {
        /// Pallet and name.
        item: String,
    },
    /// A call takes other arguments than it did: what would be signed could mean something else.
    #[error("the chain's {item} takes {found}, and this program knows {stated}: it is not signed")]
    CallChanged {
        /// Pallet and name.
        item: String,
        /// The arguments that this program knows.
        stated: String,
        /// Those of the live runtime.
        found: String,
    },
    /// What the chain stores has another shape than expected.
    #[error("cannot understand the chain's {item}: {reason}")]
    Decode {
        /// Pallet and name.
        item: String,
        /// What did not fit.
        reason: String,
    },
    /// There is no such subnet.
    #[error("there is no subnet {netuid}")]
    NoSuchSubnet {
        /// The subnet.
        netuid: NetUid,
    },
    /// The hotkey is no neuron of the subnet.
    #[error("{hotkey} is not registered on subnet {netuid}")]
    NotRegistered {
        /// The hotkey.
        hotkey: AccountId,
        /// The subnet.
        netuid: NetUid,
    },
    /// The chain refused a transaction, before or while executing it, for a reason with a name.
    #[error("the chain refused {call}: {name}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The reason by its name in the runtime, for example `SettingWeightsTooFast`.
        name: String,
    },
    /// The chain would refuse a transaction, by a rule that was looked at beforehand. Nothing was sent.
    #[error("{call} was not sent: {found}; the chain would refuse it as {name}")]
    WouldRefuse {
        /// The call.
        call: &'static str,
        /// The reason by its name in the runtime, for example `NeuronNoValidatorPermit`.
        name: String,
        /// What was found.
        found: String,
    },
    /// A UID costs more than was allowed. Nothing was sent.
    #[error("registering costs {} TAO now, and no more than {} was allowed", tao(*price), tao(*limit))]
    PriceAboveLimit {
        /// The price, rao.
        price: u64,
        /// The most that was allowed, rao.
        limit: u64,
    },
    /// The subnet's rate limit has not passed. Nothing was sent.
    #[error("{call} is too soon: not before block {block}, {blocks} blocks from now")]
    TooSoon {
        /// The call.
        call: &'static str,
        /// The first block in which it may be.
        block: Block,
        /// How many blocks from the newest that is.
        blocks: u64,
    },
    /// A transaction fell out of the pool, or its time ran out, before it was in a block.
    #[error("{call} did not get into a block: {reason}")]
    NotIncluded {
        /// The call.
        call: &'static str,
        /// What happened to it.
        reason: String,
    },
    /// A transaction was not sent.
    #[error("{call} was not sent: {reason}")]
    NotSent {
        /// The call.
        call: &'static str,
        /// Why.
        reason: String,
    },
    /// What must outlive a transaction cannot be kept; nothing was sent.
    #[error("{call} was not sent, for what reveals it cannot be kept: {reason}")]
    NotKept {
        /// The call.
        call: &'static str,
        /// Why.
        reason: String,
    },
    /// A transaction was sent, no block is final any more, and it is in none that is known.
    #[error(
        "{call} was sent, and whether it gets into the chain is certain only when block {until} is final"
    )]
    FateUnknown {
        /// The call.
        call: &'static str,
        /// The last block that it can be in.
        until: Block,
    },
    /// A transaction is in a block, and no block is final any more.
    #[error("{call} is in block {block}, which is not final; it is certain when block {until} is")]
    NotFinal {
        /// The call.
        call: &'static str,
        /// The block.
        block: Block,
        /// The last block that it can be in.
        until: Block,
    },
    /// UIDs to which a commit gives weight are no longer those that they were. Nothing was sent.
    #[error("{}", moved(uids))]
    UidsChanged {
        /// UID, whose it was at the commit, and whose it is now, if it still is anybody's.
        uids: Vec<(Uid, AccountId, Option<AccountId>)>,
    },
    /// The arguments break a rule of the chain that is checked here, before anything is sent.
    #[error("{call} cannot be sent: {reason}")]
    Invalid {
        /// The call.
        call: &'static str,
        /// The rule.
        reason: String,
    },
}

/// Which UIDs have changed, for messages.
fn moved(uids: &[(Uid, AccountId, Option<AccountId>)]) -> String {
    let one = |(uid, before, now): &(Uid, AccountId, Option<AccountId>)| match now {
        Some(now) => format!("UID {uid} was {before} at the commit and is {now} now"),
        None => format!("UID {uid} was {before} at the commit and is gone now"),
    };
    uids.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Rao as TAO, for messages.
pub(in crate::chain) fn tao(rao: u64) -> String {
    format!("{}", rao as f64 / RAO_PER_TAO as f64)
}

impl ChainError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownNetwork { .. } => {
                "use local, test, finney, archive, dev, latent-lite, or an endpoint such as ws://127.0.0.1:9944"
            }
            Self::Connect { .. } => {
                "check the endpoint and that a node listens there; `templar devchain` starts one on this machine"
            }
            Self::Timeout { .. } | Self::Disconnected { .. } => {
                "try again, or use another endpoint with --network"
            }
            Self::Node { .. } => "the node's own words say what it lacks; another endpoint may have it",
            Self::NotSubtensor { .. } => {
                "check --network: use local, test, finney, archive, dev, latent-lite, or an endpoint of a Bittensor node"
            }
            Self::UidsChanged { .. } => {
                "set new weights; or give `--changed-too` to reveal these as they are, whoever holds the UIDs now"
            }
            Self::OtherChain { .. } => "restart this program if the development chain was started anew",
            Self::Closed => "restart this program",
            Self::NoSuchBlock { .. } => "the number is beyond the newest final block",
            Self::Pruned { .. } => {
                "use an archive node: --network archive, or a node of your own with all states"
            }
            Self::CallChanged { .. } => "update templar; `templar chain check` shows all that has changed",
            Self::Missing { .. } => {
                "the chain runs a runtime that this version of templar does not know; update templar"
            }
            Self::Decode { .. } => {
                "the chain's runtime differs from what this version of templar knows; update templar"
            }
            Self::NoSuchSubnet { .. } => {
                "check --netuid and --network: the same number is another subnet on another network"
            }
            Self::NotRegistered { .. } => {
                "register it first: `templar register --netuid N --wallet COLD/HOT`"
            }
            Self::Refused { name, .. } | Self::WouldRefuse { name, .. } => dispatch_error::hint(name),
            Self::PriceAboveLimit { .. } => {
                "the price falls while nobody registers: try again later, or allow more"
            }
            Self::TooSoon { .. } => {
                "wait: the subnet's rate limit counts from the last weights, or from registration"
            }
            Self::NotIncluded { .. } => "it is certain that nothing was done on chain; try again",
            Self::NotSent { .. } => {
                "nothing was done on chain; try again, or use another endpoint with --network"
            }
            Self::NotKept { .. } => "make room, or name another file with --commits",
            Self::FateUnknown { .. } | Self::NotFinal { .. } => {
                "look at the chain when that block is final, and do not send it again before: it would count twice"
            }
            Self::Invalid { .. } => "correct the arguments; nothing was sent",
        }
    }

    /// What a question that failed means for a transaction that was not sent yet: that it was not.
    pub(in crate::chain) fn before_sending(self, call: &'static str) -> Self {
        match self {
            // What cannot be read or written down stays so: trying again is no help.
            Self::Decode { .. } => self,
            error if error.is_certain() => error,
            error => Self::NotSent { call, reason: error.to_string() },
        }
    }

    /// Whether it is certain that a transaction that ended with this has done nothing: it was not sent, not taken, refused in its block, or
    /// its time is over.
    pub fn is_certain(&self) -> bool {
        match self {
            Self::FateUnknown { .. } | Self::NotFinal { .. } => false,
            // A question on the way failed: before the transaction was sent, or after.
            Self::Timeout { .. }
            | Self::Disconnected { .. }
            | Self::Node { .. }
            | Self::NoSuchBlock { .. }
            | Self::Pruned { .. }
            | Self::Closed => false,
            // What a block says of it could not be read.
            Self::Decode { .. } => false,
            _ => true,
        }
    }

    /// Whether the same request may succeed if it is made again, without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Timeout { .. }
                | Self::Disconnected { .. }
                | Self::NotIncluded { .. }
                | Self::NotSent { .. }
                | Self::FateUnknown { .. }
                | Self::NotFinal { .. }
        ) || matches!(self, Self::Refused { name, .. } if dispatch_error::is_transient(name))
    }
}

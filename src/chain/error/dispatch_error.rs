//! The chain's reasons for a refusal, by name, and what to do about each.
//!
//! A call that pays nothing is checked when it enters the pool; the pool then answers with a bare number.
//! Everything else is refused in a block, by an error of a pallet whose name the live metadata gives.

/// The name of a number that the chain's own transaction extension gives as `Custom error: N`.
pub(crate) fn pool_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "ColdkeyInSwapSchedule",
        1 => "StakeAmountTooLow",
        2 => "BalanceTooLow",
        3 => "SubnetNotExists",
        4 => "HotkeyAccountDoesntExist",
        5 => "NotEnoughStakeToWithdraw",
        6 => "RateLimitExceeded",
        7 => "InsufficientLiquidity",
        8 => "SlippageTooHigh",
        9 => "TransferDisallowed",
        10 => "HotKeyNotRegisteredInNetwork",
        11 => "InvalidIpAddress",
        12 => "ServingRateLimitExceeded",
        13 => "InvalidPort",
        14 => "ZeroMaxAmount",
        15 => "InvalidRevealRound",
        16 => "CommitNotFound",
        17 => "CommitBlockNotInRevealRange",
        18 => "InputLengthsUnequal",
        19 => "UidNotFound",
        20 => "EvmKeyAssociateRateLimitExceeded",
        21 => "ColdkeySwapDisputed",
        22 => "InvalidRealAccount",
        23 => "FailedShieldedTxParsing",
        24 => "InvalidShieldedTxPubKeyHash",
        25 => "NonAssociatedColdKey",
        26 => "DelegateTakeTooLow",
        27 => "DelegateTakeTooHigh",
        255 => "BadRequest",
        _ => return None,
    })
}

/// The refusal's name in what a pool answers: its `data` (or its message) as text.
pub(crate) fn name_in(text: &str) -> Option<String> {
    if let Some((_, rest)) = text.split_once("Custom error: ") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let code = digits.parse().ok()?;
        return Some(pool_name(code).map_or_else(|| format!("custom error {code}"), str::to_owned));
    }
    POOL_TEXTS.iter().find_map(|(words, name)| text.contains(words).then(|| (*name).to_owned()))
}

/// How a node words the refusals that every Substrate chain has.
const POOL_TEXTS: &[(&str, &str)] = &[
    ("outdated", "Stale"),
    ("will be valid in the future", "Future"),
    ("Inability to pay some fees", "Payment"),
    ("bad signature", "BadProof"),
    ("ancient birth block", "AncientBirthBlock"),
    ("exhaust the resources", "ExhaustsResources"),
    ("Priority is too low", "PriorityTooLow"),
    ("Already Imported", "AlreadyImported"),
    ("temporarily banned", "TemporarilyBanned"),
];

/// Whether the refusal passes by itself, if the transaction is signed anew: another one of the same account was in the way, or the
/// runtime has changed since.
pub(crate) fn is_transient(name: &str) -> bool {
    matches!(
        name,
        "Stale" | "Future" | "PriorityTooLow" | "ExhaustsResources" | "BadProof" | "AncientBirthBlock"
    )
}

/// Whether the pool says that it has, or had, this very transaction.
pub(crate) fn is_known_to_pool(name: &str) -> bool {
    matches!(name, "AlreadyImported" | "TemporarilyBanned")
}

/// What to do about a refusal, in one sentence.
pub(crate) fn hint(name: &str) -> &'static str {
    known_hint(name).unwrap_or("the name is the runtime's own; its documentation says more")
}

/// The hint of a refusal that this program's calls can meet.
fn known_hint(name: &str) -> Option<&'static str> {
    Some(match name {
        // Weights.
        "SettingWeightsTooFast"
        | "CommittingWeightsTooFast"
        | "RateLimitExceeded"
        | "NetworkTxRateLimitExceeded" => {
            "wait: the limit counts from the last such call, and for weights from registration too"
        }
        "NotEnoughStakeToSetWeights" | "StakeAmountTooLow" => {
            "the stake is below what the chain asks for: add some with `templar stake add`"
        }
        "NeuronNoValidatorPermit" => {
            "a validator needs enough stake and then one epoch before it may set weights"
        }
        "CommitRevealEnabled" => {
            "this subnet takes weights by commit and reveal only; its owner can turn that off"
        }
        "CommitRevealDisabled" => {
            "the subnet's owner has turned commit and reveal off: set the weights again, plainly"
        }
        "UidVecContainInvalidOne" | "UidsLengthExceedUidsInSubNet" => {
            "a UID is not in use, or not any more: `templar metagraph` shows who is there; set new weights"
        }
        "WeightVecLengthIsLow" => "weigh more UIDs: the subnet's owner sets how many it takes at least",
        "MaxWeightExceeded" => {
            "spread the weights over more UIDs: the subnet's owner limits the largest share"
        }
        "DuplicateUids" | "WeightVecNotEqualSize" | "InputLengthsUnequal" => "give each UID one weight",
        "IncorrectWeightVersionKey" => "the subnet asks for newer weights: update templar",
        "CanNotSetRootNetworkWeights" => "the root takes no weights: name another subnet with --netuid",
        "TooManyUnrevealedCommits" => {
            "ten commits wait already: reveal those that are due with `templar weights reveal`, or wait for the next epoch"
        }
        "RevealTooEarly" | "CommitBlockNotInRevealRange" => {
            "wait for the epoch in which it can be revealed: `templar weights reveal --wait` does"
        }
        "NoWeightsCommitFound" | "CommitNotFound" | "ExpiredWeightCommit" => {
            "the chain does not have this commit any more: set the weights again"
        }
        "InvalidRevealCommitHashNotMatch" => {
            "these are not the weights that were committed to: reveal with the file that the commit is in"
        }
        "IncorrectCommitRevealVersion" => "the chain takes another kind of commit now: update templar",
        "InvalidRevealRound" => "the beacon is further than was thought: set the weights again",
        // Registration.
        "HotKeyNotRegisteredInSubNet" | "HotKeyNotRegisteredInNetwork" | "UidNotFound" => {
            "register it first: `templar register --netuid N --wallet COLD/HOT`"
        }
        "HotKeyAlreadyRegisteredInSubNet" => "nothing to do: this hotkey is registered there",
        "NonAssociatedColdKey" => "this hotkey belongs to another coldkey: use that one, or a new hotkey",
        "SubnetNotExists" | "SubnetDoesNotExist" | "MechanismDoesNotExist" | "RootNetworkDoesNotExist" => {
            "check --netuid, --mechanism and --network: the same number is another subnet on another network"
        }
        "SubNetRegistrationDisabled" => "the subnet's owner has closed registration",
        "RegistrationNotPermittedOnRootSubnet" => {
            "the root is no subnet to register on: give another --netuid"
        }
        "NoNeuronIdAvailable" => "the subnet is full and nobody can be replaced now: try again later",
        "RegistrationPriceLimitExceeded" => {
            "the price rose above --max-cost before it came in: try again, or allow more"
        }
        "TooManyRegistrationsThisBlock" | "TooManyRegistrationsThisInterval" => {
            "others were faster: try again in the next block, or in some minutes"
        }
        "InvalidWorkBlock" | "InvalidDifficulty" | "InvalidSeal" => {
            "the proof of work came too late: search for another one"
        }
        "FaucetDisabled" => "only a development chain has a faucet",
        // Money.
        "NotEnoughBalanceToStake"
        | "BalanceTooLow"
        | "Payment"
        | "FundsUnavailable"
        | "InsufficientBalance"
        | "BalanceWithdrawalError"
        | "ZeroBalanceAfterWithdrawn"
        | "CannotAffordLockCost" => {
            "the coldkey has too little TAO for this and its fee: transfer some to it"
        }
        "NotExpendable" | "Expendability" | "OnlyProvider" => {
            "an account must keep its existential deposit: send less, or all of it with --all"
        }
        "BelowMinimum" | "ExistentialDeposit" | "CannotCreate" => {
            "the amount is too small to open the account with: send more"
        }
        "Frozen"
        | "LiquidityRestrictions"
        | "TransferDisallowed"
        | "StakeUnavailable"
        | "AccountRejectsLockedAlpha" => "a part of it is locked and cannot be moved now",
        "AmountTooLow" | "ZeroMaxAmount" => "the least that can be staked is 0.002 TAO and the fee",
        "NotEnoughStake" | "NotEnoughStakeToWithdraw" => {
            "there is less stake than that: `templar stake show` says how much"
        }
        "InsufficientLiquidity" => "the subnet's pool is too small for this: take a smaller amount",
        "SlippageTooHigh" => "the price would move too far: take a smaller amount",
        "StakingRateLimitExceeded" | "AddStakeBurnRateLimitExceeded" | "TxRateLimitExceeded" => {
            "wait some blocks: the chain limits how often stake is moved"
        }
        "SubtokenDisabled" => "the subnet's owner has not started it yet (start_call)",
        "HotKeyAccountNotExists" | "HotkeyAccountDoesntExist" => {
            "the chain does not know this hotkey yet: register it on a subnet first"
        }
        "CannotUseSystemAccount" => "that account is the chain's own: check the address",
        "ColdkeyInSwapSchedule" | "ColdkeySwapAnnounced" | "ColdkeySwapDisputed" => {
            "this coldkey is being exchanged for another, and signs nothing else meanwhile"
        }
        // Subnets.
        "SubnetLimitReached" | "AllNetworksInImmunity" => {
            "there are as many subnets as there may be, and none can be replaced now: try again later"
        }
        "FirstEmissionBlockNumberAlreadySet" => "nothing to do: the subnet has been started",
        "NeedWaitingMoreBlocksToStarCall" => "a new subnet can be started some days after it was made: wait",
        "AdminActionProhibitedDuringWeightsWindow" => "try again after the subnet's next epoch",
        // Serving and commitments.
        "AccountNotAllowedCommit" => "only a registered hotkey may commit: `templar register` first",
        "SpaceLimitExceeded" => "this hotkey has committed too much in this epoch: wait for the next",
        "TooManyFieldsInCommitmentInfo" => "a commitment has three fields at most",
        "InvalidIpType" | "InvalidIpAddress" => {
            "give an address that others can reach: not 127.0.0.1, ::1 or 255.255.255.255"
        }
        "InvalidPort" => "give a port above 0",
        "ServingRateLimitExceeded" => "wait: an address may be announced once in 50 blocks or so",
        // Keys and the pool.
        "RequireSudo" | "BadOrigin" | "NotSubnetOwner" | "InvalidRealAccount" => {
            "another key has to sign this"
        }
        "NotProxy" | "Unannounced" => {
            "the hotkey has to name this key as its proxy first, without a delay and of a kind that may set weights: Any or NonTransfer"
        }
        "CallFiltered" | "CallDisabled" | "DisabledTemporarily" | "Deprecated" => {
            "the chain does not take this call now, or not from a proxy of this kind"
        }
        "Stale" | "Future" | "PriorityTooLow" | "AncientBirthBlock" | "TemporarilyBanned" => {
            "another transaction of the same account was in the way: try again"
        }
        "ExhaustsResources" => "the block was full: try again",
        "BadProof" => "the runtime has changed while it was signed: try again",
        "BadRequest" => "the pool does not say more: `--dry-run` shows which rule is broken",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_answers_have_names() {
        for (text, name) in [
            ("Invalid Transaction: Custom error: 6", "RateLimitExceeded"),
            ("Custom error: 1", "StakeAmountTooLow"),
            ("Custom error: 255", "BadRequest"),
            ("Custom error: 99", "custom error 99"),
            ("Transaction is outdated", "Stale"),
            ("Inability to pay some fees (e.g. account balance too low)", "Payment"),
        ] {
            assert_eq!(name_in(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(name_in("something else"), None);
    }

    /// What the calls that this program sends can be refused for, by Subtensor's source (specification 425), and by
    /// the pool's own table.
    #[test]
    fn every_refusal_that_can_be_met_says_what_to_do() {
        // Of calls that this program does not send: EVM keys, shielded transactions, delegates' takes.
        let others = [20, 23, 24, 26, 27];
        let of_pool = (0..=255).filter(|code| !others.contains(code)).filter_map(pool_name);
        let of_blocks = [
            "CanNotSetRootNetworkWeights WeightVecNotEqualSize MechanismDoesNotExist UidsLengthExceedUidsInSubNet",
            "HotKeyNotRegisteredInSubNet NotEnoughStakeToSetWeights IncorrectWeightVersionKey SettingWeightsTooFast",
            "NeuronNoValidatorPermit DuplicateUids UidVecContainInvalidOne WeightVecLengthIsLow MaxWeightExceeded",
            "CommitRevealEnabled CommitRevealDisabled CommittingWeightsTooFast TooManyUnrevealedCommits",
            "NoWeightsCommitFound ExpiredWeightCommit InvalidRevealCommitHashNotMatch RevealTooEarly",
            "IncorrectCommitRevealVersion InvalidRevealRound RegistrationNotPermittedOnRootSubnet SubnetNotExists",
            "SubNetRegistrationDisabled HotKeyAlreadyRegisteredInSubNet NotEnoughBalanceToStake NonAssociatedColdKey",
            "NoNeuronIdAvailable RegistrationPriceLimitExceeded TooManyRegistrationsThisBlock InvalidWorkBlock",
            "TooManyRegistrationsThisInterval InvalidDifficulty InvalidSeal FaucetDisabled SubtokenDisabled AmountTooLow",
            "HotKeyAccountNotExists SlippageTooHigh InsufficientLiquidity NotEnoughStakeToWithdraw StakeUnavailable",
            "CannotAffordLockCost SubnetLimitReached NetworkTxRateLimitExceeded NotSubnetOwner InvalidIpType InvalidPort",
            "FirstEmissionBlockNumberAlreadySet NeedWaitingMoreBlocksToStarCall HotKeyNotRegisteredInNetwork",
            "InvalidIpAddress ServingRateLimitExceeded AccountNotAllowedCommit TooManyFieldsInCommitmentInfo",
            "SpaceLimitExceeded FundsUnavailable OnlyProvider BelowMinimum CannotCreate Frozen NotExpendable",
            "InsufficientBalance Expendability ExistentialDeposit LiquidityRestrictions CallFiltered BadOrigin",
            "NotProxy Unannounced",
        ];
        let of_blocks = of_blocks.iter().flat_map(|line| line.split(' '));
        let of_every_chain = POOL_TEXTS.iter().map(|(_, name)| *name).filter(|name| !is_known_to_pool(name));
        for name in of_pool.chain(of_blocks).chain(of_every_chain) {
            assert!(known_hint(name).is_some(), "{name}");
        }
    }
}

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
    match name {
        "SettingWeightsTooFast" | "CommittingWeightsTooFast" | "RateLimitExceeded" => {
            "wait: the subnet's rate limit counts from the last weights, or from registration"
        }
        "NotEnoughStakeToSetWeights" | "StakeAmountTooLow" => {
            "the hotkey's stake is below the threshold for weights: add stake to it"
        }
        "NeuronNoValidatorPermit" => {
            "a validator needs enough stake and then one epoch before it may set weights"
        }
        "HotKeyNotRegisteredInSubNet" | "HotKeyNotRegisteredInNetwork" | "UidNotFound" => {
            "register it first: `templar register --netuid N --wallet COLD/HOT`"
        }
        "AccountNotAllowedCommit" => "only a registered hotkey may commit: `templar register` first",
        "HotKeyAlreadyRegisteredInSubNet" => "nothing to do: this hotkey is registered there",
        "NonAssociatedColdKey" => "this hotkey belongs to another coldkey",
        "SubnetNotExists" | "SubnetDoesNotExist" | "MechanismDoesNotExist" => {
            "check --netuid and --network: the same number is another subnet on another network"
        }
        "SubNetRegistrationDisabled" => "the subnet's owner has closed registration",
        "NoNeuronIdAvailable" => "the subnet is full and nobody can be replaced now: try again later",
        "NotEnoughBalanceToStake"
        | "BalanceTooLow"
        | "Payment"
        | "FundsUnavailable"
        | "InsufficientBalance" => "the coldkey has too little TAO for this and its fee: transfer some to it",
        "AmountTooLow" => "the least that can be staked is 0.002 TAO and the fee",
        "SubtokenDisabled" => "the subnet's owner has not started it yet (start_call)",
        "HotKeyAccountNotExists" | "HotkeyAccountDoesntExist" => {
            "the chain does not know this hotkey yet: register it on a subnet first"
        }
        "CommitRevealEnabled" => {
            "this subnet takes weights by commit and reveal only; its owner can turn that off"
        }
        "UidVecContainInvalidOne" => {
            "a UID is not in use, or not any more: `templar metagraph` shows who is there; set new weights"
        }
        "IncorrectWeightVersionKey" => "the subnet asks for newer weights: update templar",
        "AdminActionProhibitedDuringWeightsWindow" => "try again after the subnet's next epoch",
        "SpaceLimitExceeded" => "this hotkey has committed too much in this epoch: wait for the next",
        "RequireSudo" | "BadOrigin" | "NotSubnetOwner" => "another key has to sign this",
        "Stale" | "Future" | "PriorityTooLow" => {
            "another transaction of the same account was in the way: try again"
        }
        _ => "the name is the runtime's own; its documentation says more",
    }
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
}

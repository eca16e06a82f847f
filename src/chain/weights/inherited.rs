//! A hotkey's stake weight as the chain compares it with the threshold for weights.

use subxt::utils::AccountId32;

use crate::{
    chain::{
        error::ChainError,
        ids::theirs,
        rpc::storage::{Reader, Slot},
    },
    wallet::AccountId,
    window::NetUid,
};

/// The root, whose stake counts on every subnet in part.
const ROOT: NetUid = 0;

/// Other hotkeys, and the share of `2^64 - 1` that each gets or gives.
type Shares = Vec<(u64, AccountId32)>;

/// A part of an amount.
fn part(amount: u64, share: u64) -> u64 {
    (u128::from(amount) * u128::from(share) / u128::from(u64::MAX)) as u64
}

/// What a hotkey has after it has passed on to its children, with what its parents pass on to it.
fn inherited(own: u64, children: &Shares, parents: impl Iterator<Item = (u64, u64)>) -> u64 {
    let given = children.iter().map(|(share, _)| part(own, *share)).fold(0, u64::saturating_add);
    let taken = parents.map(|(share, amount)| part(amount, share)).fold(0, u64::saturating_add);
    own.saturating_sub(given).saturating_add(taken)
}

/// Stake weight on a subnet, rao: alpha and `TaoWeight / 2^64` of the stake on the root, each with what children and
/// parents pass on.
pub(super) async fn stake_weight(
    reader: &Reader<'_>,
    netuid: NetUid,
    hotkey: &AccountId,
) -> Result<u64, ChainError> {
    let key = theirs(hotkey);
    let alpha = |key, netuid| reader.find::<_, u64>("TotalHotkeyAlpha", (key, netuid));
    let shares = |name| reader.find::<_, Shares>(name, (key, netuid));
    let (children, parents) = (shares("ChildKeys")?, shares("ParentKeys")?);
    let weight = reader.find::<_, u64>("TaoWeight", ())?;
    let mut keys: Vec<&[u8]> = Vec::new();
    keys.extend(children.as_ref().map(Slot::key));
    keys.extend(parents.as_ref().map(Slot::key));
    keys.extend(weight.as_ref().map(Slot::key));
    let values = reader.fetch(keys).await?;
    let children = reader.get_if(&values, &children)?.unwrap_or_default();
    let parents = reader.get_if(&values, &parents)?.unwrap_or_default();
    let weight = reader.get_if(&values, &weight)?.unwrap_or(0);

    let holders: Vec<AccountId32> =
        std::iter::once(key).chain(parents.iter().map(|parent| parent.1)).collect();
    let here = holders.iter().map(|holder| alpha(*holder, netuid)).collect::<Result<Vec<_>, _>>()?;
    let root = holders.iter().map(|holder| alpha(*holder, ROOT)).collect::<Result<Vec<_>, _>>()?;
    let mut keys: Vec<&[u8]> = Vec::new();
    keys.extend(here.iter().flatten().map(Slot::key));
    keys.extend(root.iter().flatten().map(Slot::key));
    let values = reader.fetch(keys).await?;
    let mut total = [0, 0];
    for (total, slots) in total.iter_mut().zip([here, root]) {
        let mut amounts = Vec::with_capacity(slots.len());
        for slot in &slots {
            amounts.push(reader.get_if(&values, slot)?.unwrap_or(0));
        }
        let (own, given) = amounts.split_first().map_or((0, [].as_slice()), |(own, given)| (*own, given));
        let given = parents.iter().map(|parent| parent.0).zip(given.iter().copied());
        *total = inherited(own, &children, given);
    }
    Ok(total[0].saturating_add(part(total[1], weight)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_take_and_parents_give() {
        let child = |share| (share, AccountId32([1; 32]));
        let none = Shares::new();
        assert_eq!(inherited(100, &none, std::iter::empty()), 100);
        assert_eq!(
            inherited(100, &vec![child(u64::MAX / 2)], std::iter::empty()),
            51,
            "rounded down for the child"
        );
        assert_eq!(inherited(100, &vec![child(u64::MAX)], std::iter::empty()), 0);
        assert_eq!(inherited(7, &none, [(u64::MAX, 50), (u64::MAX / 2 + 1, 10)].into_iter()), 62);
    }
}

//! What this program asks of a chain, and whether a runtime has it in the same shape.
//!
//! A runtime upgrade may change a call's arguments under the same name. What is signed then would mean something
//! else, so that a call is compared with its stated shape, argument by argument, before it is signed
//! ([`ChainError::CallChanged`](super::ChainError::CallChanged)). Indices, names of types and order of variants may change:
//! they are taken from the live metadata.
//!
//! `interface/stated.txt` states the shapes of the main network (specification 365).

mod items;
mod shape;

use std::collections::BTreeMap;

use serde::Serialize;
use subxt::Metadata;

/// The statement, a line an item.
const STATED: &str = include_str!("interface/stated.txt");

/// How an item of a runtime compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as stated.
    Same,
    /// It has another shape.
    Differs,
    /// It is not there.
    Missing,
    /// It is not there, and need not be.
    Absent,
}

/// One item of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Kind, pallet and name: `call SubtensorModule.set_weights`.
    pub item: String,
    /// How it compares.
    pub verdict: Verdict,
    /// The shape that this program knows.
    pub stated: String,
    /// The runtime's; empty where it has none.
    pub found: String,
    /// What is not possible without it, for items that a runtime need not have.
    pub needed_for: Option<&'static str>,
}

/// Compares everything that this program asks of a chain with a runtime's metadata.
pub fn compare(metadata: &Metadata) -> Vec<Item> {
    let stated = stated();
    let mut items: Vec<Item> = found(metadata)
        .into_iter()
        .map(|(item, found)| {
            let expected = stated.get(item.as_str()).copied().unwrap_or_default();
            let verdict = match &found {
                None => Verdict::Missing,
                Some(found) if found == expected || known_difference(&item, found) => Verdict::Same,
                Some(_) => Verdict::Differs,
            };
            let (stated, found) = (expected.to_owned(), found.unwrap_or_default());
            Item { item, verdict, stated, found, needed_for: None }
        })
        .collect();
    let calls = items::OPTIONAL_CALLS.iter().map(|item| ("call", shape::call as Shape, item));
    let storage = items::OPTIONAL_STORAGE.iter().map(|item| ("storage", shape::storage as Shape, item));
    for (kind, describe, (pallet, name, stated, needed_for)) in calls.chain(storage) {
        let found = describe(metadata, pallet, name);
        let verdict = match &found {
            None => Verdict::Absent,
            Some(found) if found == stated => Verdict::Same,
            Some(_) => Verdict::Differs,
        };
        items.push(Item {
            item: format!("{kind} {pallet}.{name}"),
            verdict,
            stated: (*stated).to_owned(),
            found: found.unwrap_or_default(),
            needed_for: Some(needed_for),
        });
    }
    items
}

/// How a call's arguments differ from the statement: stated and found. `None` where they do not, and for calls that
/// are not in it.
pub(super) fn reshaped(metadata: &Metadata, pallet: &str, name: &str) -> Option<(String, String)> {
    let found = shape::call(metadata, pallet, name)?;
    let optional = items::OPTIONAL_CALLS.iter().find(|item| (item.0, item.1) == (pallet, name));
    let stated = match optional {
        Some(item) => item.2,
        None => stated().get(format!("call {pallet}.{name}").as_str()).copied()?,
    };
    (stated != found).then(|| (stated.to_owned(), found))
}

/// An item's shape, by its pallet and its name.
type Shape = fn(&Metadata, &str, &str) -> Option<String>;

/// Every item that a chain must have, and its shape in this metadata.
pub fn found(metadata: &Metadata) -> BTreeMap<String, Option<String>> {
    let mut lines = BTreeMap::new();
    let kinds: [(&str, items::List, Shape); 4] = [
        ("call", items::CALLS, shape::call),
        ("storage", items::STORAGE, shape::storage),
        ("event", items::EVENTS, shape::event),
        ("error", items::ERRORS, shape::error),
    ];
    for (kind, pallets, describe) in kinds {
        for (pallet, name) in
            pallets.iter().flat_map(|(pallet, names)| names.iter().map(move |n| (pallet, n)))
        {
            lines.insert(format!("{kind} {pallet}.{name}"), describe(metadata, pallet, name));
        }
    }
    lines.insert("transaction extensions".to_owned(), Some(shape::extensions(metadata)));
    lines
}

/// The stated shape of every item that a chain must have.
pub fn stated() -> BTreeMap<&'static str, &'static str> {
    let lines = STATED.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).collect()
}

/// Differences that change nothing: a runtime that takes other versions of transactions beside version 4, which is
/// the one that is sent.
fn known_difference(item: &str, found: &str) -> bool {
    let rest = |text: &str| text.split_once(": ").map(|(_, rest)| rest.to_owned());
    item == "transaction extensions"
        && found.starts_with("[4")
        && stated().get(item).is_some_and(|stated| rest(stated) == rest(found))
}

//! What this program asks of a chain, and whether a runtime has it in the same shape.
//!
//! A runtime upgrade may change a call's arguments under the same name. What is signed then would mean something
//! else, so that a call is compared with its stated shape, argument by argument, before it is signed
//! ([`ChainError::CallChanged`]). Indices, names of types and order of variants may change:
//! they are taken from the live metadata.
//!
//! `interface/stated.txt` states the shapes of the main network (specification 365), and of what is newer those of
//! specification 425. Whatever is read, called or signed goes through the registry in `items.rs`: a name that is not in it is refused.

mod abilities;
mod items;
mod shape;

use std::collections::BTreeMap;

use serde::Serialize;
use subxt::Metadata;

pub use abilities::{Ability, abilities};
pub use items::{Change, SUBSTITUTES};

use super::error::ChainError;

/// The statement, a line an item.
const STATED: &str = include_str!("interface/stated.txt");

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Storage,
    Event,
    Error,
    /// A function of the runtime.
    Api,
    Constant,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Storage => "storage",
            Self::Event => "event",
            Self::Error => "error",
            Self::Api => "api",
            Self::Constant => "constant",
        }
    }

    fn shape(self, metadata: &Metadata, pallet: &str, name: &str) -> Option<String> {
        match self {
            Self::Call => shape::call(metadata, pallet, name),
            Self::Storage => shape::storage(metadata, pallet, name),
            Self::Event => shape::event(metadata, pallet, name),
            Self::Error => shape::error(metadata, pallet, name),
            Self::Api => shape::api(metadata, pallet, name),
            Self::Constant => shape::constant(metadata, pallet, name),
        }
    }
}

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

/// Compares everything that this program asks of a chain with the shapes of a runtime's items, as [`found`] gives them.
pub fn compare(found: &BTreeMap<String, Option<String>>) -> Vec<Item> {
    let stated = stated();
    let needed_for: BTreeMap<String, &str> = items::OPTIONAL
        .iter()
        .flat_map(|(kind, pallet, names, what)| names.iter().map(|name| (key(*kind, pallet, name), *what)))
        .collect();
    let one = |(item, found): (&String, &Option<String>)| {
        let expected = stated.get(item.as_str()).copied().unwrap_or_default();
        let needed_for = needed_for.get(item).copied();
        let verdict = match found {
            None if needed_for.is_some() => Verdict::Absent,
            None => Verdict::Missing,
            Some(found) if found == expected || known_difference(item, found) => Verdict::Same,
            Some(_) => Verdict::Differs,
        };
        let found = found.clone().unwrap_or_default();
        Item { item: item.clone(), verdict, stated: expected.to_owned(), found, needed_for }
    };
    found.iter().map(one).collect()
}

/// How a call's arguments differ from the statement: stated and found. `None` where they do not, and where the runtime has no such call.
pub(super) fn reshaped(metadata: &Metadata, pallet: &str, name: &str) -> Option<(String, String)> {
    let found = shape::call(metadata, pallet, name)?;
    let stated = stated().get(key(Kind::Call, pallet, name).as_str()).copied()?;
    (stated != found).then(|| (stated.to_owned(), found))
}

/// That an item is in the registry. One that is not is a mistake of this program.
pub(super) fn listed(kind: Kind, pallet: &str, name: &str) -> Result<(), ChainError> {
    if items::lists(kind, pallet, name) {
        return Ok(());
    }
    let reason = "it is not in the list of what this program asks for".to_owned();
    Err(ChainError::Decode { item: key(kind, pallet, name), reason })
}

/// Whether an event is one that this program understands.
pub(super) fn understands(pallet: &str, event: &str) -> bool {
    items::lists(Kind::Event, pallet, event)
}

fn key(kind: Kind, pallet: &str, name: &str) -> String {
    format!("{} {pallet}.{name}", kind.word())
}

/// Every item of the registry, and its shape in this metadata.
pub fn found(metadata: &Metadata) -> BTreeMap<String, Option<String>> {
    let needed = items::NEEDED.iter().map(|(kind, pallet, names)| (*kind, *pallet, *names));
    let optional = items::OPTIONAL.iter().map(|(kind, pallet, names, _)| (*kind, *pallet, *names));
    let mut lines = BTreeMap::new();
    for (kind, pallet, names) in needed.chain(optional) {
        for name in names {
            lines.insert(key(kind, pallet, name), kind.shape(metadata, pallet, name));
        }
    }
    lines.insert("transaction extensions".to_owned(), Some(shape::extensions(metadata)));
    lines
}

/// The stated shape of every item.
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

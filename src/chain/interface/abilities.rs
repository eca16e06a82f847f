//! What can be done with a runtime: read, or signed.

use serde::Serialize;

use super::{Item, Kind, Verdict, items, key};

/// Something that this program does with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// What it is: a kind of reading, or a call.
    pub name: String,
    /// Whether it is signed.
    pub signed: bool,
    /// Whether this runtime has all that it takes.
    pub possible: bool,
    /// What is in the way, or otherwise than in the newest runtime; empty where nothing is.
    pub why: String,
}

/// An item that something cannot do without.
type Need = (Kind, &'static str, &'static str);

/// What each kind of reading cannot do without. Everything else has a substitute or an empty column.
const READING: &[(&str, &[Need])] = &[
    (
        "neurons",
        &[
            (Kind::Storage, "SubtensorModule", "NetworksAdded"),
            (Kind::Storage, "SubtensorModule", "SubnetworkN"),
            (Kind::Storage, "SubtensorModule", "Keys"),
        ],
    ),
    (
        "settings",
        &[
            (Kind::Storage, "SubtensorModule", "NetworksAdded"),
            (Kind::Storage, "SubtensorModule", "SubnetworkN"),
        ],
    ),
    (
        "commitments",
        &[(Kind::Storage, "SubtensorModule", "Keys"), (Kind::Storage, "Commitments", "CommitmentOf")],
    ),
    ("weights", &[(Kind::Storage, "SubtensorModule", "Weights")]),
    (
        "history of weights",
        &[
            (Kind::Storage, "SubtensorModule", "LastUpdate"),
            (Kind::Storage, "SubtensorModule", "Weights"),
            (Kind::Storage, "SubtensorModule", "Keys"),
            (Kind::Storage, "SubtensorModule", "Uids"),
            (Kind::Storage, "System", "Events"),
            (Kind::Storage, "System", "ParentHash"),
            (Kind::Storage, "Timestamp", "Now"),
            (Kind::Event, "SubtensorModule", "WeightsSet"),
        ],
    ),
    ("balances", &[(Kind::Storage, "System", "Account")]),
    ("stakes", &[(Kind::Api, "StakeInfoRuntimeApi", "get_stake_info_for_coldkey")]),
];

/// What can be read and what can be signed with a runtime that compares like this.
pub fn abilities(items: &[Item]) -> Vec<Ability> {
    let find = |kind, pallet: &str, name: &str| {
        let wanted = key(kind, pallet, name);
        items.iter().find(|item| item.item == wanted)
    };
    let is_there = |item: &Item| matches!(item.verdict, Verdict::Same | Verdict::Differs);
    let mut all = Vec::new();
    for (name, needs) in READING {
        let missing: Vec<String> = needs
            .iter()
            .filter(|(kind, pallet, name)| !find(*kind, pallet, name).is_some_and(is_there))
            .map(|(_, pallet, name)| format!("{pallet}.{name}"))
            .collect();
        let why =
            if missing.is_empty() { String::new() } else { format!("there is no {}", missing.join(", no ")) };
        all.push(Ability { name: (*name).to_owned(), signed: false, possible: missing.is_empty(), why });
    }
    let calls = items::NEEDED.iter().map(|(kind, pallet, names)| (*kind, *pallet, *names));
    let optional = items::OPTIONAL.iter().map(|(kind, pallet, names, _)| (*kind, *pallet, *names));
    // What only a development chain's administrator signs is no promise.
    let calls = calls.chain(optional).filter(|(kind, pallet, _)| {
        *kind == Kind::Call && !matches!(*pallet, "Sudo" | "AdminUtils" | "System")
    });
    for (kind, pallet, names) in calls {
        for name in names {
            let item = find(kind, pallet, name);
            let (possible, why) = match item.map(|item| (item.verdict, item)) {
                Some((Verdict::Same, _)) => (true, String::new()),
                Some((Verdict::Differs, item)) => {
                    (false, format!("it takes {}, not {}", item.found, item.stated))
                }
                _ => (false, "the runtime does not have it".to_owned()),
            };
            all.push(Ability { name: format!("{pallet}.{name}"), signed: true, possible, why });
        }
    }
    all
}

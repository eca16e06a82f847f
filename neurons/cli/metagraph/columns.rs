//! The columns of the metagraph: their names, which are a stable interface, and where their values are.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use templar::{
    bucket::ReadCredential,
    chain::{Metagraph, Neuron, NeuronDetails},
    wallet::AccountId,
    window::Uid,
};

use crate::cli::{
    Exit, Failure,
    output::{share, tao},
};

/// What columns show besides the metagraph itself.
#[derive(Debug, Default)]
pub struct Extra {
    /// What each hotkey committed.
    pub commitments: BTreeMap<AccountId, Vec<Vec<u8>>>,
    /// Each neuron's row of weights, by UID; empty unless it was asked for.
    pub weights: Vec<Vec<(Uid, u16)>>,
    /// Each neuron's row of bonds, by UID; empty unless it was asked for.
    pub bonds: Vec<Vec<(Uid, u16)>>,
}

/// What a hotkey's commitment says of it, in templar's form: a bucket's read key, and a validator's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Committed {
    run: Option<[u8; 32]>,
}

impl Extra {
    fn of(&self, hotkey: &AccountId) -> Option<Committed> {
        let fields = self.commitments.get(hotkey)?;
        ReadCredential::from_bytes(fields.first()?).ok()?;
        Some(Committed { run: fields.get(1).and_then(|run| run.as_slice().try_into().ok()) })
    }
}

/// A neuron, and what else its columns need.
pub struct View<'a> {
    metagraph: &'a Metagraph,
    neuron: &'a Neuron,
    extra: &'a Extra,
    committed: Option<Committed>,
    /// Whether anybody on the subnet runs this program.
    is_templars: bool,
    leads: bool,
}

impl<'a> View<'a> {
    /// Of every neuron, by UID.
    pub fn all(metagraph: &'a Metagraph, extra: &'a Extra) -> impl Iterator<Item = Self> {
        let is_templars = metagraph.neurons.iter().any(|neuron| extra.of(&neuron.hotkey).is_some());
        let leader = leader(metagraph, extra);
        metagraph.neurons.iter().map(move |neuron| Self {
            metagraph,
            neuron,
            extra,
            committed: extra.of(&neuron.hotkey),
            is_templars,
            leads: leader == Some(neuron.uid),
        })
    }

    /// What it does. Where somebody has committed a bucket or a run, that tells; on other subnets the permit does, which
    /// every neuron with stake has while there are few.
    pub fn role(&self) -> &'static str {
        match (self.leads, self.committed, self.neuron.validator_permit) {
            (true, ..) => "leader",
            (_, Some(Committed { run: Some(_) }), true) => "validator",
            // It judges, and nobody counts it before it has a permit.
            (_, Some(Committed { run: Some(_) }), false) => "no permit",
            (_, Some(Committed { run: None }), _) => "miner",
            (_, None, _) if self.is_templars => "-",
            (_, None, true) => "validator",
            (_, None, false) if self.neuron.active => "miner",
            _ => "inactive",
        }
    }

    fn row(rows: &[Vec<(Uid, u16)>], uid: Uid) -> Cell {
        rows.get(usize::from(uid)).map_or(Cell::None, |row| Cell::Row(row.clone()))
    }

    fn details(&self, cell: impl Fn(&NeuronDetails) -> Cell) -> Cell {
        self.neuron.details.as_ref().map_or(Cell::None, cell)
    }
}

/// The UID of the leader: of those with a permit who have committed a run the one with the highest stake; where nobody has
/// committed one, of all with a permit.
pub fn leader(metagraph: &Metagraph, extra: &Extra) -> Option<Uid> {
    let runs = |neuron: &&Neuron| extra.of(&neuron.hotkey).is_some_and(|committed| committed.run.is_some());
    let mut candidates = metagraph.clone();
    if metagraph.neurons.iter().any(|neuron| runs(&neuron)) {
        candidates.neurons.retain(|neuron| runs(&neuron));
    }
    candidates.leader().map(|leader| leader.uid)
}

/// One value.
pub enum Cell {
    /// A count, or a block.
    Number(u64),
    /// Of 65535.
    Share(u16),
    /// Rao, of TAO or alpha.
    Amount(u64),
    Flag(bool),
    Text(String),
    /// UIDs, each with a share of 65535.
    Row(Vec<(Uid, u16)>),
    None,
}

impl Cell {
    /// For people: amounts with four decimals, shares as fractions.
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Share(of_u16) => share(*of_u16),
            Self::Amount(rao) => tao(*rao),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::Text(text) => text.clone(),
            Self::Row(row) if row.is_empty() => "-".to_owned(),
            Self::Row(row) => pairs(row),
            Self::None => "-".to_owned(),
        }
    }

    /// For programs: the chain's own numbers.
    pub fn json(&self) -> Value {
        match self {
            Self::Number(number) | Self::Amount(number) => json!(number),
            Self::Share(share) => json!(share),
            Self::Flag(flag) => json!(flag),
            Self::Text(text) => json!(text),
            Self::Row(row) => json!(row),
            Self::None => Value::Null,
        }
    }

    /// As in JSON, quoted where it must be; nothing for nothing.
    pub fn csv(&self) -> String {
        match self {
            Self::Text(text) if text.contains([',', '"', '\n', '\r']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Self::Text(text) => text.clone(),
            Self::Row(row) => pairs(row),
            Self::None => String::new(),
            other => other.json().to_string(),
        }
    }
}

/// A row as text: `3:65535 8:120`.
fn pairs(row: &[(Uid, u16)]) -> String {
    row.iter().map(|(uid, of_u16)| format!("{uid}:{of_u16}")).collect::<Vec<_>>().join(" ")
}

/// A column.
pub struct Column {
    /// Its name in flags, CSV and JSON.
    pub name: &'static str,
    /// Its heading in the table.
    pub heading: &'static str,
    /// Whether it starts at the left: words do, numbers do not.
    pub left: bool,
    /// Whether it is in the table unless others are asked for.
    usual: bool,
    /// Its value.
    pub cell: fn(&View<'_>) -> Cell,
}

const fn column(
    name: &'static str,
    heading: &'static str,
    left: bool,
    usual: bool,
    cell: fn(&View<'_>) -> Cell,
) -> Column {
    Column { name, heading, left, usual, cell }
}

/// Every column, in the order of the table.
const COLUMNS: &[Column] = &[
    column("uid", "UID", false, true, |v| Cell::Number(v.neuron.uid.into())),
    column("role", "ROLE", true, true, |v| Cell::Text(v.role().to_owned())),
    column("stake", "STAKE", false, true, |v| Cell::Amount(v.neuron.stake)),
    column("total_stake", "TOTAL STAKE", false, false, |v| v.details(|d| Cell::Amount(d.total_stake))),
    column("alpha_stake", "ALPHA STAKE", false, false, |v| v.details(|d| Cell::Amount(d.alpha_stake))),
    column("tao_stake", "TAO STAKE", false, false, |v| v.details(|d| Cell::Amount(d.tao_stake))),
    column("rank", "RANK", false, false, |v| v.details(|d| Cell::Share(d.rank))),
    column("trust", "TRUST", false, false, |v| v.details(|d| Cell::Share(d.trust))),
    column("consensus", "CONSENSUS", false, true, |v| Cell::Share(v.neuron.consensus)),
    column("incentive", "INCENTIVE", false, true, |v| Cell::Share(v.neuron.incentive)),
    column("dividends", "DIVIDENDS", false, true, |v| Cell::Share(v.neuron.dividends)),
    column("validator_trust", "VTRUST", false, true, |v| Cell::Share(v.neuron.validator_trust)),
    column("emission", "EMISSION", false, true, |v| Cell::Amount(v.neuron.emission)),
    column("updated", "UPDATED", false, true, |v| {
        Cell::Number(v.metagraph.block.saturating_sub(v.neuron.last_update))
    }),
    column("last_update", "LAST UPDATE", false, false, |v| Cell::Number(v.neuron.last_update)),
    column("active", "ACTIVE", true, true, |v| Cell::Flag(v.neuron.active)),
    column("validator_permit", "PERMIT", true, true, |v| Cell::Flag(v.neuron.validator_permit)),
    column("pruning_score", "PRUNING", false, false, |v| v.details(|d| Cell::Share(d.pruning_score))),
    column("block_at_registration", "REGISTERED", false, false, |v| {
        Cell::Number(v.neuron.block_at_registration)
    }),
    column("axon", "AXON", true, false, |v| {
        v.details(|d| match &d.axon {
            Some(axon) => Cell::Text(std::net::SocketAddr::new(axon.ip, axon.port).to_string()),
            None => Cell::None,
        })
    }),
    column("identity", "IDENTITY", true, false, |v| {
        v.details(|d| d.identity.clone().map_or(Cell::None, Cell::Text))
    }),
    column("run", "RUN", true, false, |v| match v.committed.and_then(|committed| committed.run) {
        Some(run) => Cell::Text(format!("0x{}", hex::encode(run))),
        None => Cell::None,
    }),
    column("bucket", "BUCKET", true, false, |v| {
        let key = v.extra.commitments.get(&v.neuron.hotkey).and_then(|fields| fields.first());
        match key.and_then(|key| ReadCredential::from_bytes(key).ok()) {
            Some(key) => Cell::Text(key.account_id().to_owned()),
            None => Cell::None,
        }
    }),
    column("weights", "WEIGHTS (UID:OF 65535)", true, false, |v| View::row(&v.extra.weights, v.neuron.uid)),
    column("bonds", "BONDS (UID:OF 65535)", true, false, |v| View::row(&v.extra.bonds, v.neuron.uid)),
    column("hotkey", "HOTKEY", true, true, |v| Cell::Text(v.neuron.hotkey.to_string())),
    column("coldkey", "COLDKEY", true, true, |v| Cell::Text(v.neuron.coldkey.to_string())),
];

/// Columns that are long, and are there only when they are asked for by name.
const LONG: [&str; 2] = ["weights", "bonds"];

/// Every column but the long ones.
pub fn all() -> Vec<&'static Column> {
    COLUMNS.iter().filter(|column| !LONG.contains(&column.name)).collect()
}

/// The columns of the table unless others are asked for.
pub fn usual() -> Vec<&'static Column> {
    COLUMNS.iter().filter(|column| column.usual).collect()
}

/// The columns with these names, in this order; `all` means all.
pub fn choose(names: &str) -> Result<Vec<&'static Column>, Failure> {
    if names.trim() == "all" {
        return Ok(all());
    }
    let find = |name: &str| {
        COLUMNS.iter().find(|column| column.name == name.trim()).ok_or_else(|| {
            let known: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
            Failure::new(Exit::Usage, format!("there is no column {:?}", name.trim()))
                .hint(format!("the columns are {}", known.join(", ")))
        })
    };
    names.split(',').map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_chosen_by_name_and_in_order() {
        let names = |names: &str| -> Vec<&str> {
            choose(names)
                .map(|columns| columns.iter().map(|column| column.name).collect())
                .unwrap_or_default()
        };
        assert_eq!(names("hotkey, uid"), ["hotkey", "uid"]);
        assert_eq!(names("all").len() + LONG.len(), COLUMNS.len());
        assert!(names("uid,colour").is_empty());
        assert!(usual().len() < all().len());
    }

    fn neuron(uid: u16, stake: u64, validator_permit: bool) -> Neuron {
        let key = AccountId::new([uid as u8; 32]).to_string();
        let numbers = ["consensus", "incentive", "dividends", "validator_trust", "emission", "last_update"];
        let mut json = json!({ "uid": uid, "hotkey": key, "coldkey": key, "stake": stake, "active": true });
        json["validator_permit"] = json!(validator_permit);
        for name in numbers.into_iter().chain(["block_at_registration"]) {
            json[name] = json!(0);
        }
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_was_committed_tells_miners_with_a_permit_from_validators() {
        let neurons =
            vec![neuron(0, 50, true), neuron(1, 90, true), neuron(2, 40, true), neuron(3, 1, false)];
        let metagraph = Metagraph { netuid: 3, block: 1, hash: [0; 32], tempo: 10, neurons, details: None };
        let roles = |extra: &Extra| View::all(&metagraph, extra).map(|view| view.role()).collect::<Vec<_>>();
        // A subnet of others: the permit is all there is.
        assert_eq!(roles(&Extra::default()), ["validator", "leader", "validator", "miner"]);
        let key = ReadCredential::new(&"a".repeat(32), &"b".repeat(32), &"c".repeat(64)).unwrap();
        let bucket = key.to_commitment().into_bytes();
        let run = vec![bucket.clone(), vec![7; 32]];
        let of = |uid: u8, fields: &Vec<Vec<u8>>| (AccountId::new([uid; 32]), fields.clone());
        let commitments = BTreeMap::from([of(0, &run), of(1, &vec![bucket]), of(3, &run)]);
        let extra = Extra { commitments, ..Extra::default() };
        assert_eq!(roles(&extra), ["leader", "miner", "-", "no permit"]);
        assert_eq!(leader(&metagraph, &extra), Some(0));
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(Cell::Row(vec![(3, 65535), (8, 1)]).csv(), "3:65535 8:1");
        assert_eq!(Cell::Text("a,\"b\"".to_owned()).csv(), "\"a,\"\"b\"\"\"");
        assert_eq!((Cell::None.csv(), Cell::Flag(true).csv()), (String::new(), "true".to_owned()));
        assert_eq!(
            (Cell::Amount(1_999_999_999).csv(), Cell::Share(65535).text()),
            ("1999999999".to_owned(), "1.0000".to_owned())
        );
    }
}

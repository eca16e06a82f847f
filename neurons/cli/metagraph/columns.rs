//! The columns of the metagraph: their names, which are a stable interface, and where their values are.

use serde_json::{Value, json};
use templar::chain::{Metagraph, Neuron, NeuronDetails};

use crate::cli::{
    Exit, Failure,
    output::{share, tao},
};

/// A neuron, and what else its columns need.
pub struct View<'a> {
    metagraph: &'a Metagraph,
    neuron: &'a Neuron,
    leads: bool,
}

impl<'a> View<'a> {
    /// Of every neuron, by UID.
    pub fn all(metagraph: &'a Metagraph) -> impl Iterator<Item = Self> {
        let leader = metagraph.leader().map(|leader| leader.uid);
        metagraph.neurons.iter().map(move |neuron| Self {
            metagraph,
            neuron,
            leads: leader == Some(neuron.uid),
        })
    }

    fn role(&self) -> &'static str {
        match (self.leads, self.neuron.validator_permit, self.neuron.active) {
            (true, ..) => "leader",
            (_, true, _) => "validator",
            (_, _, true) => "miner",
            _ => "inactive",
        }
    }

    fn details(&self, cell: impl Fn(&NeuronDetails) -> Cell) -> Cell {
        self.neuron.details.as_ref().map_or(Cell::None, cell)
    }
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
            Self::None => String::new(),
            other => other.json().to_string(),
        }
    }
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
    column("active", "ACTIVE", true, false, |v| Cell::Flag(v.neuron.active)),
    column("validator_permit", "PERMIT", true, false, |v| Cell::Flag(v.neuron.validator_permit)),
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
    column("hotkey", "HOTKEY", true, true, |v| Cell::Text(v.neuron.hotkey.to_string())),
    column("coldkey", "COLDKEY", true, true, |v| Cell::Text(v.neuron.coldkey.to_string())),
];

/// Every column.
pub fn all() -> Vec<&'static Column> {
    COLUMNS.iter().collect()
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
        assert_eq!(names("all").len(), COLUMNS.len());
        assert!(names("uid,colour").is_empty());
        assert!(usual().len() < all().len());
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(Cell::Text("a,\"b\"".to_owned()).csv(), "\"a,\"\"b\"\"\"");
        assert_eq!((Cell::None.csv(), Cell::Flag(true).csv()), (String::new(), "true".to_owned()));
        assert_eq!(
            (Cell::Amount(1_999_999_999).csv(), Cell::Share(65535).text()),
            ("1999999999".to_owned(), "1.0000".to_owned())
        );
    }
}

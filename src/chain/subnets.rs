//! Subnets as their owners and those who look for one see them.

use serde::Serialize;
use subxt::{
    ext::scale_value::{Composite, Primitive, Value, ValueDef},
    utils::AccountId32,
};

use super::{
    client::SubtensorClient,
    error::ChainError,
    ids::ours,
    metagraph::{self, details::moving_price},
    rpc::{
        api,
        dynamic_value::{Fields, elements, number, option, text},
        storage::{Reader, Slot, Values},
    },
};
use crate::{wallet::AccountId, window::NetUid};

/// A subnet in a list. What the runtime does not have is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubnetSummary {
    /// Its number.
    pub netuid: NetUid,
    /// Its name, as its owner gave it.
    pub name: Option<String>,
    /// The sign of its alpha.
    pub symbol: Option<String>,
    /// The coldkey that owns it.
    pub owner: Option<AccountId>,
    /// UIDs in use.
    pub neurons: u16,
    /// The most neurons.
    pub max_uids: Option<u16>,
    /// Blocks between two epochs.
    pub tempo: Option<u16>,
    /// What registering costs now, rao.
    pub burn: Option<u64>,
    /// Whether neurons may register.
    pub registration_allowed: Option<bool>,
    /// Whether weights must be committed and revealed.
    pub commit_reveal: Option<bool>,
    /// The moving average of what one alpha costs, rao.
    pub moving_price: Option<u64>,
}

/// A setting of a subnet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hyperparameter {
    /// Its name, as the runtime calls it.
    pub name: String,
    /// Its value.
    pub value: HyperparameterValue,
}

/// A setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HyperparameterValue {
    /// Yes or no.
    Flag(bool),
    /// A count, a share, a number of blocks.
    Number(u128),
    /// An amount of TAO, rao.
    Rao(u64),
    /// A number with a fraction.
    Fraction(f64),
}

impl SubtensorClient {
    /// All subnets.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn subnet_summaries(&self) -> Result<Vec<SubnetSummary>, ChainError> {
        let reader = self.reader(None).await?;
        let netuids = metagraph::subnets(&reader).await?;
        let mut wanted = Vec::with_capacity(netuids.len());
        for netuid in netuids {
            wanted.push(Wanted::new(&reader, netuid)?);
        }
        let values = reader.fetch(wanted.iter().flat_map(Wanted::keys)).await?;
        wanted.iter().map(|wanted| wanted.read(&reader, &values)).collect()
    }

    /// Every setting of a subnet that the runtime tells.
    ///
    /// # Errors
    /// [`ChainError::NoSuchSubnet`]; [`ChainError::Missing`] where the runtime has no function for it.
    pub async fn hyperparameter_list(&self, netuid: NetUid) -> Result<Vec<Hyperparameter>, ChainError> {
        let reader = self.reader(None).await?;
        let arguments = netuid.to_le_bytes();
        let mut missing = None;
        for method in ["get_subnet_hyperparams_v3", "get_subnet_hyperparams_v2", "get_subnet_hyperparams"] {
            let answer = match api::call(&reader, "SubnetInfoRuntimeApi", method, &arguments).await {
                Err(error @ (ChainError::Missing { .. } | ChainError::Decode { .. })) => {
                    missing = Some(error);
                    continue;
                }
                answer => answer?,
            };
            let item = format!("SubnetInfoRuntimeApi.{method}");
            let undecoded =
                || ChainError::Decode { item: item.clone(), reason: "it has another form".to_owned() };
            let settings =
                option(&answer).ok_or_else(undecoded)?.ok_or(ChainError::NoSuchSubnet { netuid })?;
            return listed(settings).ok_or_else(undecoded);
        }
        Err(missing.unwrap_or(ChainError::NoSuchSubnet { netuid }))
    }
}

/// What is read of one subnet.
struct Wanted {
    netuid: NetUid,
    neurons: Option<Slot<u16>>,
    max_uids: Option<Slot<u16>>,
    tempo: Option<Slot<u16>>,
    burn: Option<Slot<u64>>,
    open: Option<Slot<bool>>,
    commit_reveal: Option<Slot<bool>>,
    symbol: Option<Slot<Vec<u8>>>,
    owner: Option<Slot<AccountId32>>,
    price: Option<Slot<Value<()>>>,
    identity: Option<Slot<Value<()>>>,
}

impl Wanted {
    fn new(reader: &Reader<'_>, netuid: NetUid) -> Result<Self, ChainError> {
        let number = |name| reader.find::<_, u16>(name, (netuid,));
        let flag = |name| reader.find::<_, bool>(name, (netuid,));
        Ok(Self {
            netuid,
            neurons: number("SubnetworkN")?,
            max_uids: number("MaxAllowedUids")?,
            tempo: number("Tempo")?,
            burn: reader.find("Burn", (netuid,))?,
            open: flag("NetworkRegistrationAllowed")?,
            commit_reveal: flag("CommitRevealWeightsEnabled")?,
            symbol: reader.find("TokenSymbol", (netuid,))?,
            owner: reader.find("SubnetOwner", (netuid,))?,
            price: reader.find("SubnetMovingPrice", (netuid,))?,
            identity: reader.find("SubnetIdentitiesV3", (netuid,))?,
        })
    }

    fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = Vec::new();
        keys.extend([&self.neurons, &self.max_uids, &self.tempo].into_iter().flatten().map(Slot::key));
        keys.extend([&self.open, &self.commit_reveal].into_iter().flatten().map(Slot::key));
        keys.extend([&self.price, &self.identity].into_iter().flatten().map(Slot::key));
        keys.extend(self.burn.iter().map(Slot::key));
        keys.extend(self.symbol.iter().map(Slot::key));
        keys.extend(self.owner.iter().map(Slot::key));
        keys
    }

    fn read(&self, reader: &Reader<'_>, values: &Values) -> Result<SubnetSummary, ChainError> {
        let price = reader.get_if(values, &self.price)?;
        let symbol = reader.get_if(values, &self.symbol)?;
        let identity = reader.get_if(values, &self.identity)?;
        let name = identity.as_ref().and_then(|identity| {
            Fields::of("SubnetIdentity", identity).ok()?.find("subnet_name").and_then(text)
        });
        Ok(SubnetSummary {
            netuid: self.netuid,
            name: name.filter(|name| !name.is_empty()),
            symbol: symbol.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            owner: reader.get_if(values, &self.owner)?.map(ours),
            neurons: reader.get_if(values, &self.neurons)?.unwrap_or(0),
            max_uids: reader.get_if(values, &self.max_uids)?,
            tempo: reader.get_if(values, &self.tempo)?,
            burn: reader.get_if(values, &self.burn)?,
            registration_allowed: reader.get_if(values, &self.open)?,
            commit_reveal: reader.get_if(values, &self.commit_reveal)?,
            moving_price: price.as_ref().and_then(number::<u128>).map(moving_price),
        })
    }
}

/// The settings in an answer: a list of names and values, or a structure with a field for each.
fn listed(settings: &Value<()>) -> Option<Vec<Hyperparameter>> {
    if let ValueDef::Composite(Composite::Named(fields)) = &settings.value {
        let each = fields.iter().filter_map(|(name, value)| {
            Some(Hyperparameter { name: name.clone(), value: read(name, value)? })
        });
        return Some(each.collect());
    }
    let each = elements(settings)?.filter_map(|setting| {
        let fields = Fields::of("hyperparameter", setting).ok()?;
        let (name, value) = (fields.text("name").ok()?, fields.find("value")?);
        let value = read(&name, value)?;
        Some(Hyperparameter { name, value })
    });
    Some(each.collect())
}

/// A value by its form, and where that does not tell by its name.
fn read(name: &str, value: &Value<()>) -> Option<HyperparameterValue> {
    match &value.value {
        ValueDef::Variant(variant) => {
            let inner = variant.values.values().next()?;
            match variant.name.as_str() {
                "TaoBalance" => number(inner).map(HyperparameterValue::Rao),
                "I32F32" => bits(inner).map(|bits| HyperparameterValue::Fraction(bits / 2f64.powi(32))),
                "U64F64" => bits(inner).map(|bits| HyperparameterValue::Fraction(bits / 2f64.powi(64))),
                _ => read(name, inner),
            }
        }
        ValueDef::Primitive(Primitive::Bool(flag)) => Some(HyperparameterValue::Flag(*flag)),
        _ if name == "alpha_sigmoid_steepness" => {
            bits(value).map(|bits| HyperparameterValue::Fraction(bits / 2f64.powi(32)))
        }
        _ if matches!(name, "min_burn" | "max_burn") => number(value).map(HyperparameterValue::Rao),
        _ => number(value).map(HyperparameterValue::Number),
    }
}

/// The bits of a fixed-point number.
fn bits(value: &Value<()>) -> Option<f64> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(bits)) => Some(*bits as f64),
        ValueDef::Primitive(Primitive::I128(bits)) => Some(*bits as f64),
        ValueDef::Composite(inner) if inner.len() == 1 => bits(inner.values().next()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_both_forms() {
        let named = |name: &str, variant: &str, value: Value<()>| {
            let value = Value::unnamed_variant(variant, [value]);
            Value::named_composite([("name", Value::from_bytes(name)), ("value", value)])
        };
        let steepness = Value::named_composite([("bits", Value::i128(-(3 << 31)))]);
        let list = Value::unnamed_composite([
            named("tempo", "U16", Value::u128(360)),
            named("min_burn", "TaoBalance", Value::u128(500_000)),
            named("registration_allowed", "Bool", Value::bool(true)),
            named("alpha_sigmoid_steepness", "I32F32", steepness.clone()),
        ]);
        let structure = Value::named_composite([
            ("tempo", Value::u128(360)),
            ("min_burn", Value::u128(500_000)),
            ("registration_allowed", Value::bool(true)),
            ("alpha_sigmoid_steepness", steepness),
        ]);
        let wanted = [
            HyperparameterValue::Number(360),
            HyperparameterValue::Rao(500_000),
            HyperparameterValue::Flag(true),
            HyperparameterValue::Fraction(-1.5),
        ];
        for settings in [list, structure] {
            let listed = listed(&settings).unwrap();
            assert_eq!(listed.iter().map(|one| one.value).collect::<Vec<_>>(), wanted);
            assert_eq!(listed[3].name, "alpha_sigmoid_steepness");
        }
    }
}

//! Calls that an account's proxy signs for it, by the chain's pallet of proxies.

use subxt::{
    ext::scale_value::{Composite, Value, ValueDef, scale::decode_as_type},
    tx::{DynamicPayload, Payload},
};

use crate::{
    chain::{
        check::Check,
        error::ChainError,
        ids::theirs,
        rpc::{
            connection::{AtBlock, Connection},
            dynamic_value::{Fields, elements, structures},
            storage::Reader,
        },
        types::Head,
    },
    wallet::AccountId,
};

/// The pallet of proxies, and its call that does another one.
const PALLET: &str = "Proxy";
const CALL: &str = "proxy";
/// The kinds of proxies that may set weights, the widest first. Of others the chain says whether they may.
const MAY_SET_WEIGHTS: [&str; 4] = ["Any", "NonTransfer", "NonCritical", "NonFungible"];

/// How an account is the proxy of another.
struct Proxy {
    delegate: AccountId,
    /// Which calls it may make, by the runtime's name.
    kind: String,
    /// Blocks before each call in which it has to announce it.
    delay: u32,
}

/// The proxies of an account, those first that are best for setting weights.
async fn proxies(reader: &Reader<'_>, real: &AccountId) -> Result<Vec<Proxy>, ChainError> {
    let slot = reader.named::<_, Value<()>>(PALLET, "Proxies", (theirs(real),))?;
    let values = reader.fetch([slot.key()]).await?;
    let Some(found) = reader.get(&values, &slot)? else { return Ok(Vec::new()) };
    let item = format!("{PALLET}.Proxies");
    let proxy = |value| {
        let fields = Fields::of(&item, value)?;
        let kind = fields.find("proxy_type").and_then(|kind| match &kind.value {
            ValueDef::Variant(kind) => Some(kind.name.clone()),
            _ => None,
        });
        let kind = kind.ok_or_else(|| undecoded("a proxy has no kind"))?;
        Ok(Proxy { delegate: fields.account("delegate")?, kind, delay: fields.number("delay")? })
    };
    // Beside the deposit, and in a list that is bounded.
    let list = elements(&found).and_then(|mut parts| structures(parts.next()?));
    let list = list.ok_or_else(|| undecoded("there is no list of proxies"))?;
    let mut all = list.map(proxy).collect::<Result<Vec<Proxy>, ChainError>>()?;
    all.sort_by_key(|proxy| {
        let rank = MAY_SET_WEIGHTS.iter().position(|kind| *kind == proxy.kind);
        (proxy.delay, rank.unwrap_or(MAY_SET_WEIGHTS.len()))
    });
    Ok(all)
}

fn undecoded(reason: &str) -> ChainError {
    ChainError::Decode { item: format!("{PALLET}.Proxies"), reason: reason.to_owned() }
}

/// The call of the proxy `delegate` for the account `real`.
///
/// # Errors
/// Those of reading; [`ChainError::Missing`] where the chain knows no proxies. That `delegate` is one [`check`] tells.
pub(in crate::chain) async fn wrap<P: Payload>(
    link: &Connection,
    at: &AtBlock,
    head: Head,
    (real, delegate): (&AccountId, &AccountId),
    call: &P,
) -> Result<DynamicPayload<Composite<()>>, ChainError> {
    let reader = Reader::of(link, at.clone(), head);
    // Named, because the chain would take the first of them, whatever that may do.
    let own = proxies(&reader, real).await?.into_iter().find(|proxy| proxy.delegate == *delegate);
    let kind = match own {
        Some(proxy) => Value::unnamed_variant("Some", [Value::unnamed_variant(proxy.kind, [])]),
        None => Value::unnamed_variant("None", []),
    };
    let item = format!("{}.{}", call.pallet_name(), call.call_name());
    let undecoded = |reason: String| ChainError::Decode { item: item.clone(), reason };
    let bytes = at.tx().call_data(call).map_err(|e| undecoded(e.to_string()))?;
    let outer = at.metadata_ref().outer_enums().call_enum_ty();
    let call = decode_as_type(&mut bytes.as_slice(), outer, at.metadata_ref().types());
    let call = call.map_err(|e| undecoded(e.to_string()))?.remove_context();
    let real = Value::unnamed_variant("Id", [Value::from_bytes(theirs(real).0)]);
    let fields = [("real", real), ("force_proxy_type", kind), ("call", call)];
    Ok(subxt::dynamic::tx(PALLET, CALL, Composite::named(fields)))
}

/// That `delegate` may sign for `real` without announcing it before. Of which kind it has to be for a call the chain says.
///
/// # Errors
/// Those of reading; [`ChainError::Missing`] where the chain knows no proxies.
pub(in crate::chain) async fn check(
    reader: &Reader<'_>,
    real: &AccountId,
    delegate: &AccountId,
) -> Result<Check, ChainError> {
    let all = proxies(reader, real).await?;
    let (kept, name, found) = match all.iter().find(|proxy| proxy.delegate == *delegate) {
        None => (false, "NotProxy", format!("{delegate} is none of the {} proxies of {real}", all.len())),
        Some(Proxy { delay: 0, kind, .. }) => {
            (true, "NotProxy", format!("{delegate} is a proxy of {real}, of the kind {kind}"))
        }
        Some(Proxy { delay, .. }) => {
            (false, "Unannounced", format!("{delegate} has to announce each call {delay} blocks before it"))
        }
    };
    Ok(Check::new("the signer is a proxy of the hotkey", kept, name, found))
}

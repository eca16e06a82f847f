//! A call's arguments as a person reads them: accounts as addresses, bytes in hex, long lists cut short.

use scale_info::{PortableRegistry, TypeDef, TypeDefPrimitive};
use subxt::ext::scale_value::{Composite, Primitive, Value, ValueDef};

use crate::wallet::AccountId;

/// The most elements of a list that are shown.
const LONGEST_LIST: usize = 16;
/// The most bytes that are shown.
const LONGEST_BYTES: usize = 64;

/// The arguments of a decoded call, which is a pallet's variant around a call's.
pub(super) fn shown(call: &Value<u32>, types: &PortableRegistry) -> String {
    let inner = |value: &Value<u32>| match &value.value {
        ValueDef::Variant(variant) => Some(variant.values.clone()),
        _ => None,
    };
    let arguments = inner(call).and_then(|pallet| inner(pallet.values().next()?));
    arguments.map_or_else(|| one(call, types), |arguments| fields(&arguments, types))
}

/// Bytes in hex; of many only the first, and how many there are.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=LONGEST_BYTES => format!("0x{}", hex::encode(bytes)),
        length => format!("0x{}… ({length} bytes)", hex::encode(&bytes[..LONGEST_BYTES / 4])),
    }
}

fn fields(composite: &Composite<u32>, types: &PortableRegistry) -> String {
    let texts: Vec<String> = match composite {
        Composite::Named(fields) => {
            fields.iter().map(|(name, value)| format!("{name}: {}", one(value, types))).collect()
        }
        Composite::Unnamed(values) => values.iter().map(|value| one(value, types)).collect(),
    };
    texts.join(", ")
}

fn one(value: &Value<u32>, types: &PortableRegistry) -> String {
    let kind = types.resolve(value.context);
    let is_account =
        kind.is_some_and(|kind| kind.path.segments.last().is_some_and(|name| name == "AccountId32"));
    match &value.value {
        _ if is_account => match bytes(value).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(account) => AccountId::new(account).to_string(),
            None => "an account".to_owned(),
        },
        ValueDef::Primitive(primitive) => match primitive {
            Primitive::U128(number) => number.to_string(),
            Primitive::I128(number) => number.to_string(),
            Primitive::Bool(flag) => flag.to_string(),
            other => format!("{other:?}"),
        },
        ValueDef::Variant(variant) if variant.values.is_empty() => variant.name.clone(),
        // The usual kind of address: an account.
        ValueDef::Variant(variant) if variant.name == "Id" => fields(&variant.values, types),
        ValueDef::Variant(variant) => format!("{}({})", variant.name, fields(&variant.values, types)),
        ValueDef::BitSequence(bits) => format!("{} bits", bits.len()),
        ValueDef::Composite(composite) => match kind.map(|kind| &kind.type_def) {
            Some(TypeDef::Sequence(list)) => listed(composite, is_byte(types, list.type_param.id), types),
            Some(TypeDef::Array(list)) => listed(composite, is_byte(types, list.type_param.id), types),
            // A newtype is what it wraps.
            Some(TypeDef::Composite(_)) if composite.len() == 1 => {
                composite.values().next().map_or_else(String::new, |inner| one(inner, types))
            }
            Some(TypeDef::Tuple(_)) => format!("({})", fields(composite, types)),
            _ => format!("{{{}}}", fields(composite, types)),
        },
    }
}

fn is_byte(types: &PortableRegistry, id: u32) -> bool {
    types.resolve(id).is_some_and(|kind| matches!(kind.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)))
}

fn listed(list: &Composite<u32>, of_bytes: bool, types: &PortableRegistry) -> String {
    if of_bytes {
        let bytes: Option<Vec<u8>> = list.values().map(byte).collect();
        return bytes.map_or_else(|| "bytes".to_owned(), |bytes| hex_of(&bytes));
    }
    let mut texts: Vec<String> = list.values().take(LONGEST_LIST).map(|value| one(value, types)).collect();
    if list.len() > LONGEST_LIST {
        texts.push(format!("… {} in all", list.len()));
    }
    format!("[{}]", texts.join(", "))
}

fn byte(value: &Value<u32>) -> Option<u8> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => u8::try_from(*number).ok(),
        _ => None,
    }
}

/// The bytes of an account, which is an array in a newtype.
fn bytes(value: &Value<u32>) -> Option<Vec<u8>> {
    let ValueDef::Composite(composite) = &value.value else { return None };
    match composite.len() {
        1 => bytes(composite.values().next()?),
        _ => composite.values().map(byte).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use subxt::{
        ext::{
            scale_encode::{EncodeAsFields as _, Field},
            scale_value::scale,
        },
        metadata::Metadata,
        utils::MultiAddress,
    };
    use templar_metadata::api;

    /// The arguments of a call by the bindings' metadata.
    fn of(payload: impl subxt::tx::Payload) -> String {
        let metadata = include_bytes!("../../../metadata/subnet.scale");
        let metadata = Metadata::decode_from(metadata).unwrap();
        let pallet = metadata.pallet_by_name(payload.pallet_name()).unwrap();
        let call = pallet.call_variant_by_name(payload.call_name()).unwrap();
        let mut data = vec![pallet.call_index(), call.index];
        let mut fields = call.fields.iter().map(|field| Field::new(field.ty.id, field.name.as_deref()));
        payload.call_data().encode_as_fields_to(&mut fields, metadata.types(), &mut data).unwrap();
        let outer = metadata.outer_enums().call_enum_ty();
        shown(
            &scale::decode_as_type(&mut data.as_slice(), outer, metadata.types()).unwrap(),
            metadata.types(),
        )
    }

    #[test]
    fn accounts_are_addresses_bytes_are_hex_and_lists_end() {
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        let key = crate::chain::ids::theirs(&alice.parse().unwrap());
        let tx = api::tx();
        assert_eq!(
            of(tx.balances().transfer_keep_alive(MultiAddress::Id(key), 1_500_000_000)),
            format!("dest: {alice}, value: 1500000000")
        );
        assert_eq!(
            of(tx.subtensor_module().commit_weights(3, [0xab; 32].into())),
            format!("netuid: 3, commit_hash: 0x{}", "ab".repeat(32))
        );
        let many: Vec<u16> = (0..256).collect();
        let text = of(tx.subtensor_module().set_weights(3, many.clone(), many, 7));
        assert!(
            text.starts_with("netuid: 3, dests: [0, 1, 2,") && text.contains("15, … 256 in all]"),
            "{text}"
        );
        assert!(text.ends_with("version_key: 7") && text.len() < 300, "{text}");
        assert_eq!(hex_of(&[1; 200]), format!("0x{}… (200 bytes)", "01".repeat(16)));
    }
}

//! What a hotkey commits on chain: up to three fields of raw bytes.
//!
//! The chain's `Data` is an enum with a variant for each length (`Raw0` to `Raw128`), one for more (`BigRaw`),
//! and some that are no raw bytes. It is handled by the variants' names.

use subxt::{
    ext::scale_value::{At as _, Composite, Primitive, Value, ValueDef},
    tx::DynamicPayload,
};

use crate::{chain::error::ChainError, window::NetUid};

/// The most fields in one commitment.
pub const MAX_FIELDS: usize = 3;
/// The longest field of raw bytes.
pub const MAX_FIELD_BYTES: usize = 512;
/// The longest field whose length is in its variant's name.
const MAX_SIZED: usize = 128;

/// The call that commits `fields`.
pub(in crate::chain) fn call(
    netuid: NetUid,
    fields: &[Vec<u8>],
) -> Result<DynamicPayload<Composite<()>>, ChainError> {
    let invalid = |reason: String| ChainError::Invalid { call: "set_commitment", reason };
    if fields.len() > MAX_FIELDS {
        return Err(invalid(format!("a commitment has at most {MAX_FIELDS} fields, not {}", fields.len())));
    }
    if let Some(field) = fields.iter().find(|field| field.len() > MAX_FIELD_BYTES) {
        let length = field.len();
        return Err(invalid(format!("a field has at most {MAX_FIELD_BYTES} bytes, not {length}")));
    }
    let data = fields.iter().map(|field| {
        let name = match field.len() {
            length @ 0..=MAX_SIZED => format!("Raw{length}"),
            _ => "BigRaw".to_owned(),
        };
        Value::unnamed_variant(name, [Value::from_bytes(field)])
    });
    let info = Value::named_composite([("fields", Value::unnamed_composite(data))]);
    let arguments = Composite::named([("netuid", Value::u128(netuid.into())), ("info", info)]);
    Ok(subxt::tx::dynamic("Commitments", "set_commitment", arguments))
}

/// The raw fields of a stored registration. `None` if it has another shape, or fields that are not raw.
pub(in crate::chain) fn fields(registration: &Value<()>) -> Option<Vec<Vec<u8>>> {
    let fields = items(registration.at("info")?.at("fields")?)?;
    if fields.len() > MAX_FIELDS {
        return None;
    }
    fields.into_iter().map(raw).collect()
}

fn raw(data: &Value<()>) -> Option<Vec<u8>> {
    let ValueDef::Variant(variant) = &data.value else { return None };
    if !variant.name.starts_with("Raw") && variant.name != "BigRaw" {
        return None;
    }
    // A variant for no bytes may have no field at all.
    let Some(bytes) = variant.values.values().next() else { return Some(Vec::new()) };
    items(bytes)?.into_iter().map(byte).collect()
}

/// The items of a sequence, which may be wrapped once (`BoundedVec`).
fn items(value: &Value<()>) -> Option<Vec<&Value<()>>> {
    let ValueDef::Composite(composite) = &value.value else { return None };
    let items: Vec<_> = composite.values().collect();
    match items.as_slice() {
        [wrapped] if matches!(wrapped.value, ValueDef::Composite(_)) => {
            let ValueDef::Composite(inner) = &wrapped.value else { return None };
            Some(inner.values().collect())
        }
        _ => Some(items),
    }
}

fn byte(value: &Value<()>) -> Option<u8> {
    match value.value {
        ValueDef::Primitive(Primitive::U128(byte)) => u8::try_from(byte).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(fields: Vec<Value<()>>) -> Value<()> {
        let fields = Value::unnamed_composite([Value::unnamed_composite(fields)]);
        Value::named_composite([
            ("deposit", Value::u128(0)),
            ("block", Value::u128(9)),
            ("info", Value::named_composite([("fields", fields)])),
        ])
    }

    #[test]
    fn raw_fields_are_read_wrapped_or_not() {
        let sized = Value::unnamed_variant("Raw4", [Value::from_bytes(b"test")]);
        let long = [7; 300];
        let big = Value::unnamed_variant(
            "BigRaw",
            [Value::unnamed_composite([Value::unnamed_composite(long.map(|b| Value::u128(b.into())))])],
        );
        let read = fields(&registration(vec![sized, big])).unwrap();
        assert_eq!(read, [b"test".to_vec(), long.to_vec()]);
        let empty = Value::unnamed_variant("Raw0", []);
        assert_eq!(fields(&registration(vec![empty])).unwrap(), [Vec::<u8>::new()]);
    }

    #[test]
    fn what_is_not_raw_is_no_commitment() {
        let reset = Value::unnamed_variant("ResetBondsFlag", []);
        assert_eq!(fields(&registration(vec![reset])), None);
        assert_eq!(fields(&Value::u128(1)), None);
        let wide = Value::unnamed_variant("Raw1", [Value::unnamed_composite([Value::u128(256)])]);
        assert_eq!(fields(&registration(vec![wide])), None);
    }

    #[test]
    fn limits_are_checked_before_sending() {
        assert!(call(3, &[vec![0; 128], vec![0; 512], vec![]]).is_ok());
        for bad in [vec![vec![]; 4], vec![vec![0; 513]]] {
            assert!(matches!(call(3, &bad), Err(ChainError::Invalid { .. })));
        }
    }
}

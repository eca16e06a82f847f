//! Values whose type is known only at run time, taken apart by the names of their fields.

use subxt::ext::scale_value::{Composite, Primitive, Value, ValueDef};

use crate::{chain::error::ChainError, wallet::AccountId};

/// The fields of a structure.
pub(in crate::chain) struct Fields<'a> {
    item: &'a str,
    fields: &'a [(String, Value<()>)],
}

impl<'a> Fields<'a> {
    /// Of a value that is a structure with names.
    pub(in crate::chain) fn of(item: &'a str, value: &'a Value<()>) -> Result<Self, ChainError> {
        match &value.value {
            ValueDef::Composite(Composite::Named(fields)) => Ok(Self { item, fields }),
            _ => Err(wrong(item, "it has no fields with names")),
        }
    }

    /// A field, if the runtime has it.
    pub(in crate::chain) fn find(&self, name: &str) -> Option<&'a Value<()>> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    fn read<T>(
        &self,
        name: &str,
        read: impl Fn(&'a Value<()>) -> Option<T>,
        what: &str,
    ) -> Result<T, ChainError> {
        let value = self.find(name).ok_or_else(|| wrong(self.item, &format!("it has no {name}")))?;
        read(value).ok_or_else(|| wrong(self.item, &format!("its {name} is not {what}")))
    }

    /// A number that fits.
    pub(in crate::chain) fn number<T: TryFrom<u128>>(&self, name: &str) -> Result<T, ChainError> {
        self.read(name, |value| T::try_from(number(value)?).ok(), "a number that fits")
    }

    /// A number, or the default where the runtime has no such field.
    pub(in crate::chain) fn number_or<T: TryFrom<u128>>(
        &self,
        name: &str,
        default: T,
    ) -> Result<T, ChainError> {
        if self.find(name).is_some() { self.number(name) } else { Ok(default) }
    }

    pub(in crate::chain) fn flag(&self, name: &str) -> Result<bool, ChainError> {
        self.read(name, Value::as_bool, "true or false")
    }

    pub(in crate::chain) fn account(&self, name: &str) -> Result<AccountId, ChainError> {
        self.read(name, account, "an account")
    }

    pub(in crate::chain) fn text(&self, name: &str) -> Result<String, ChainError> {
        self.read(name, text, "text")
    }

    /// The elements of a list.
    pub(in crate::chain) fn list(&self, name: &str) -> Result<Vec<&'a Value<()>>, ChainError> {
        self.read(name, |value| Some(elements(value)?.collect()), "a list")
    }

    /// A list of which each element is read the same way.
    pub(in crate::chain) fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&'a Value<()>) -> Option<T>,
    ) -> Result<Vec<T>, ChainError> {
        self.read(name, |value| elements(value)?.map(&read).collect(), "a list of what it should be")
    }
}

fn wrong(item: &str, reason: &str) -> ChainError {
    ChainError::Decode { item: item.to_owned(), reason: reason.to_owned() }
}

/// The elements of a list.
pub(in crate::chain) fn elements(value: &Value<()>) -> Option<impl Iterator<Item = &Value<()>>> {
    match &value.value {
        ValueDef::Composite(Composite::Unnamed(values)) => Some(values.iter()),
        _ => None,
    }
}

/// The elements of a list of structures, in whatever is wrapped around it.
pub(in crate::chain) fn structures(mut value: &Value<()>) -> Option<impl Iterator<Item = &Value<()>>> {
    loop {
        let mut inner = elements(value)?;
        match (inner.next(), inner.next()) {
            (Some(only), None) if elements(only).is_some() => value = only,
            _ => return elements(value),
        }
    }
}

/// A number, in whatever is wrapped around it.
pub(in crate::chain) fn number<T: TryFrom<u128>>(value: &Value<()>) -> Option<T> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => T::try_from(*number).ok(),
        ValueDef::Primitive(Primitive::I128(number)) => T::try_from(u128::try_from(*number).ok()?).ok(),
        ValueDef::Composite(inner) if inner.len() == 1 => number(inner.values().next()?),
        _ => None,
    }
}

/// Bytes, in whatever is wrapped around them.
fn bytes(value: &Value<()>) -> Option<Vec<u8>> {
    match &value.value {
        ValueDef::Composite(Composite::Unnamed(values)) if values.len() != 1 => {
            values.iter().map(number).collect()
        }
        ValueDef::Composite(inner) => {
            let inner = inner.values().next()?;
            bytes(inner).or_else(|| Some(vec![number(inner)?]))
        }
        _ => None,
    }
}

pub(in crate::chain) fn account(value: &Value<()>) -> Option<AccountId> {
    Some(AccountId::new(bytes(value)?.try_into().ok()?))
}

/// Bytes as text; what is no UTF-8 is replaced.
pub(in crate::chain) fn text(value: &Value<()>) -> Option<String> {
    Some(String::from_utf8_lossy(&bytes(value)?).into_owned())
}

/// What an option holds; the inner one is none for `None`, the outer for what is no option.
pub(in crate::chain) fn option(value: &Value<()>) -> Option<Option<&Value<()>>> {
    match &value.value {
        ValueDef::Variant(variant) if variant.name == "None" => Some(None),
        ValueDef::Variant(variant) if variant.name == "Some" => Some(variant.values.values().next()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_do_not_matter() {
        let bare = Value::u128(7);
        let wrapped = Value::unnamed_composite([Value::named_composite([("bits", Value::u128(7))])]);
        assert_eq!((number::<u16>(&bare), number::<u16>(&wrapped)), (Some(7), Some(7)));
        assert_eq!(number::<u8>(&Value::u128(256)), None);
        let key = Value::from_bytes([3; 32]);
        let wrapped = Value::unnamed_composite([key.clone()]);
        assert_eq!(account(&key), Some(AccountId::new([3; 32])));
        assert_eq!(account(&wrapped), account(&key));
        assert_eq!(account(&Value::from_bytes([3; 31])), None);
        for words in ["", "a", "ab"] {
            assert_eq!(text(&Value::from_bytes(words)).as_deref(), Some(words));
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let value = Value::named_composite([("a", Value::u128(70_000)), ("b", Value::bool(true))]);
        let fields = Fields::of("Thing", &value).unwrap();
        assert!(fields.number::<u16>("a").unwrap_err().to_string().contains("its a is not"));
        assert!(fields.flag("c").unwrap_err().to_string().contains("it has no c"));
        assert_eq!((fields.number_or("c", 5u64).unwrap(), fields.flag("b").unwrap()), (5, true));
        assert!(fields.list("b").is_err() && Fields::of("Thing", &Value::u128(1)).is_err());
    }
}

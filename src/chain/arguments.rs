//! What calls are put together from where the bindings do not give them, and whether a runtime has a call.

use subxt::ext::scale_value::Value;

use super::rpc::{connection::AtBlock, storage::SUBNETS};
use crate::wallet::AccountId;

/// Whether the pallet of subnets has a call by this name.
pub(in crate::chain) fn has(at: &AtBlock, call: &str) -> bool {
    let pallet = at.metadata_ref().pallet_by_name(SUBNETS);
    pallet.is_some_and(|pallet| pallet.call_variant_by_name(call).is_some())
}

pub(in crate::chain) fn number(value: impl Into<u128>) -> Value {
    Value::u128(value.into())
}

pub(in crate::chain) fn key(account: &AccountId) -> Value {
    let bytes: &[u8; 32] = account.as_ref();
    Value::from_bytes(bytes)
}

//! Functions of a runtime, found and taken apart by name.

use subxt::{
    ext::{scale_decode::DecodeAsType as _, scale_value::Value},
    utils::H256,
};

use crate::chain::{
    error::ChainError,
    interface::{self as registry, Kind},
    rpc::{
        connection::{AtBlock, Connection},
        storage::Reader,
    },
};

/// Calls a function of the runtime at the reader's block; its arguments are SCALE-encoded.
///
/// # Errors
/// [`ChainError::Missing`] where the runtime has none of this name, [`ChainError::Decode`] where the answer is not what
/// its metadata says.
pub(in crate::chain) async fn call(
    reader: &Reader<'_>,
    interface: &str,
    method: &str,
    arguments: &[u8],
) -> Result<Value<()>, ChainError> {
    registry::listed(Kind::Api, interface, method)?;
    output(&reader.at, interface, method)?;
    let answer = ask(reader.link, reader.head.hash, interface, method, arguments).await;
    let answer = answer.map_err(|e| reader.link.at_block(reader.head.number, e))?;
    read(&reader.at, interface, method, &answer)
}

/// The answer of a function of the runtime, before anything is known of its form.
pub(in crate::chain) async fn ask(
    link: &Connection,
    hash: [u8; 32],
    interface: &str,
    method: &str,
    arguments: &[u8],
) -> Result<Vec<u8>, ChainError> {
    let function = format!("{interface}_{method}");
    link.ask("state_call", || link.rpc.state_call(&function, Some(arguments), Some(H256(hash)))).await
}

/// What such an answer says, by the metadata of its block.
pub(in crate::chain) fn read(
    at: &AtBlock,
    interface: &str,
    method: &str,
    answer: &[u8],
) -> Result<Value<()>, ChainError> {
    let form = output(at, interface, method)?;
    Value::<()>::decode_as_type(&mut &*answer, form, at.metadata_ref().types())
        .map_err(|e| ChainError::Decode { item: format!("{interface}.{method}"), reason: e.to_string() })
}

/// The type of what a function of the runtime answers.
fn output(at: &AtBlock, interface: &str, method: &str) -> Result<u32, ChainError> {
    let found = at.metadata_ref().runtime_api_trait_by_name(interface);
    let found = found.and_then(|api| Some(api.method_by_name(method)?.output_ty()));
    found.ok_or_else(|| ChainError::Missing { item: format!("{interface}.{method}") })
}

/// [`call`]; none where the runtime has no such function, or answers in an unknown form.
pub(in crate::chain) async fn call_if_there(
    reader: &Reader<'_>,
    interface: &str,
    method: &str,
    arguments: &[u8],
) -> Result<Option<Value<()>>, ChainError> {
    match call(reader, interface, method, arguments).await {
        Err(ChainError::Missing { .. } | ChainError::Decode { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

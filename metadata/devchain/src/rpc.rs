//! Substrate's legacy JSON-RPC: what subxt and Python clients ask of a node.
//!
//! Only legacy names are advertised, so that clients do not look for the newer families.

mod calls;
mod subscriptions;

use crate::chain::{Block, Chain};
use jsonrpsee::{RpcModule, core::RegisterMethodError, server::ServerConfig, types::ErrorObjectOwned};
use node_subtensor_runtime::Header;
use parity_scale_codec::Encode;
use serde_json::{Value, json};
use sp_core::H256;
use std::sync::Arc;

/// Bounds on what one client may ask.
pub(crate) fn limits() -> ServerConfig {
    ServerConfig::builder()
        .max_request_body_size(16 << 20)
        .max_response_body_size(64 << 20)
        .max_connections(512)
        .max_subscriptions_per_connection(256)
        .build()
}

/// All methods.
pub(crate) fn module(chain: Arc<Chain>) -> Result<RpcModule<Chain>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(chain);
    calls::register(&mut module)?;
    subscriptions::register(&mut module)?;
    let mut names: Vec<String> = module.method_names().map(str::to_owned).collect();
    names.sort();
    module.register_method("rpc_methods", move |_, _, _| json!({ "methods": names }))?;
    Ok(module)
}

/// An error of the node's own.
fn error(code: i32, message: &str, data: impl Into<Option<String>>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, data.into())
}

fn invalid_params(problem: &str) -> ErrorObjectOwned {
    error(-32602, "Invalid params", problem.to_owned())
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn unhex(text: &str) -> Result<Vec<u8>, ErrorObjectOwned> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| invalid_params("not hex"))
}

fn hash(text: &str) -> Result<H256, ErrorObjectOwned> {
    let bytes: [u8; 32] = unhex(text)?.try_into().map_err(|_| invalid_params("a hash has 32 bytes"))?;
    Ok(H256(bytes))
}

/// The block with this hash, if there is one; the newest where none is named.
fn known(chain: &Chain, block: Option<&str>) -> Result<Option<Arc<Block>>, ErrorObjectOwned> {
    let Some(text) = block else { return Ok(Some(chain.best())) };
    Ok(chain.by_hash(&hash(text)?))
}

/// The block on whose state a method works; the newest where none is named.
fn at(chain: &Chain, block: Option<&str>) -> Result<Arc<Block>, ErrorObjectOwned> {
    let named = block.unwrap_or_default();
    let found = known(chain, block)?.ok_or_else(|| {
        error(4003, &format!("Client error: UnknownBlock: there is no block {named}"), None)
    })?;
    if chain.keeps_state_of(&found) {
        return Ok(found);
    }
    let words = format!("Client error: Api called for an unknown Block: State already discarded for {named}");
    Err(error(4003, &words, None))
}

fn header(header: &Header) -> Value {
    let logs: Vec<String> = header.digest.logs.iter().map(|log| hex(log.encode())).collect();
    json!({
        "parentHash": hex(header.parent_hash),
        "number": format!("0x{:x}", header.number),
        "stateRoot": hex(header.state_root),
        "extrinsicsRoot": hex(header.extrinsics_root),
        "digest": { "logs": logs },
    })
}

/// The version of the runtime after a block.
fn runtime_version(chain: &Chain, block: &Block) -> Value {
    let version = (chain.runtime(block).version)();
    let apis: Vec<Value> = version.apis.iter().map(|(id, version)| json!([hex(id), version])).collect();
    json!({
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": apis,
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    })
}

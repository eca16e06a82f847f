//! Methods that are asked once and answer once.

use super::{at, error, header, hex, invalid_params, known, runtime_version, unhex};
use crate::{
    chain::{Block, Chain, SubmitError},
    pool::{Refusal, Status},
};
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    types::{ErrorObjectOwned, Params},
};
use node_subtensor_runtime::AccountId;
use parity_scale_codec::{Compact, Decode, Encode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sp_core::{H256, crypto::Ss58Codec};
use sp_io::hashing::blake2_256;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Keys that one page can hold.
const MAX_PAGE: usize = 1_000;
/// Keys that the unpaged method gives.
const MAX_KEYS: usize = 100_000;
/// Block numbers that can be asked for at once.
const MAX_NUMBERS: usize = 1_000;

/// What a block may take, milliseconds.
const BLOCK_MS: std::ops::RangeInclusive<u64> = 10..=3_600_000;

type Answer = Result<Value, ErrorObjectOwned>;
type Method = fn(&Chain, &Params<'_>) -> Answer;

/// What answers from what is known, at once.
const QUICK: &[(&str, Method)] = &[
    ("system_chain", |_, _| Ok(json!("Templar Development"))),
    ("system_name", |_, _| Ok(json!("templar-devchain"))),
    ("system_version", |_, _| Ok(json!(env!("CARGO_PKG_VERSION")))),
    ("system_chainType", |_, _| Ok(json!("Development"))),
    ("system_nodeRoles", |_, _| Ok(json!(["Authority"]))),
    ("system_properties", |_, _| Ok(json!({ "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO" }))),
    ("system_health", |_, _| Ok(json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }))),
    ("system_accountNextIndex", next_nonce),
    ("account_nextIndex", next_nonce),
    ("chain_getBlockHash", block_hash),
    ("chain_getHead", block_hash),
    ("chain_getFinalizedHead", |chain, _| Ok(json!(hex(chain.last_final().hash)))),
    ("chain_getFinalisedHead", |chain, _| Ok(json!(hex(chain.last_final().hash)))),
    ("chain_getHeader", |chain, params| {
        Ok(json!(known(chain, only_block(params)?.as_deref())?.map(|block| header(&block.header))))
    }),
    ("chain_getBlock", |chain, params| {
        let block = known(chain, only_block(params)?.as_deref())?;
        Ok(json!(block.map(|block| {
            let extrinsics: Vec<String> = block.extrinsics.iter().map(hex).collect();
            json!({
                "block": { "header": header(&block.header), "extrinsics": extrinsics },
                "justifications": null,
            })
        })))
    }),
    ("chain_getRuntimeVersion", version),
    ("state_getRuntimeVersion", version),
    ("state_getStorage", storage),
    ("state_getStorageAt", storage),
    ("state_getStorageHash", |chain, params| {
        Ok(json!(value(chain, params)?.map(|value| hex(blake2_256(&value)))))
    }),
    ("state_getStorageSize", |chain, params| Ok(json!(value(chain, params)?.map(|value| value.len())))),
    ("state_getKeysPaged", keys_paged),
    ("state_getKeysPagedAt", keys_paged),
    ("state_getKeys", |chain, params| {
        let (prefix, block): (String, Option<String>) = two(params)?;
        let (prefix, block) = (unhex(&prefix)?, at(chain, block.as_deref())?);
        let keys = chain.keys(&block, &prefix, None, MAX_KEYS.saturating_add(1));
        if keys.len() > MAX_KEYS {
            return Err(error(4002, "there are too many keys: ask for pages", None));
        }
        Ok(json!(keys.iter().map(hex).collect::<Vec<_>>()))
    }),
    ("state_queryStorageAt", |chain, params| {
        let (keys, block): (Vec<String>, Option<String>) = two(params)?;
        let block = at(chain, block.as_deref())?;
        let read = |key: &String| Ok((key.clone(), chain.value(&block, &unhex(key)?).map(hex)));
        let changes = keys.iter().map(read).collect::<Result<Vec<_>, ErrorObjectOwned>>()?;
        Ok(json!([{ "block": hex(block.hash), "changes": changes }]))
    }),
    // Not Subtensor's: whoever sets a network up does it in quick blocks, and then lets them take their time.
    ("dev_setBlockTime", |chain, params| {
        let milliseconds: u64 = params.one()?;
        if !BLOCK_MS.contains(&milliseconds) {
            return Err(invalid_params("a block takes 10 ms to an hour"));
        }
        chain.set_block_time(Duration::from_millis(milliseconds));
        Ok(Value::Null)
    }),
    ("dev_setFinalityLag", |chain, params| {
        chain.set_finality_lag(params.one()?);
        Ok(Value::Null)
    }),
    // As a node does that prunes: it has the states of the newest blocks alone.
    ("dev_keepStates", |chain, params| {
        chain.keep_states(params.one()?);
        Ok(Value::Null)
    }),
    ("author_pendingExtrinsics", |chain, _| Ok(json!(chain.pending().iter().map(hex).collect::<Vec<_>>()))),
];

/// What runs the runtime and may take a while.
const SLOW: &[(&str, Method)] = &[
    ("state_getMetadata", |chain, params| {
        let block = at(chain, only_block(params)?.as_deref())?;
        let metadata = call_runtime(chain, &block, "Metadata_metadata", &[])?;
        // The answer is the metadata wrapped as bytes, with their length before them.
        let unwrapped = Vec::<u8>::decode(&mut &metadata[..]).map_err(|_| failed("no metadata"))?;
        Ok(json!(hex(unwrapped)))
    }),
    ("state_call", call),
    ("state_callAt", call),
    ("payment_queryInfo", payment),
    ("author_submitExtrinsic", |chain, params| {
        let bytes: String = params.one()?;
        Ok(json!(hex(submit(chain, &bytes, None)?)))
    }),
];

pub(super) fn register(module: &mut RpcModule<Chain>) -> Result<(), RegisterMethodError> {
    for (name, method) in QUICK {
        module.register_method(name, move |params, chain, _| method(chain, &params))?;
    }
    for (name, method) in SLOW {
        module.register_blocking_method(name, move |params, chain, _| method(&chain, &params))?;
    }
    Ok(())
}

/// The only parameter, a block's hash, which may be missing.
fn only_block(params: &Params<'_>) -> Result<Option<String>, ErrorObjectOwned> {
    params.sequence().optional_next()
}

/// A parameter and a block's hash, which may be missing.
fn two<A: DeserializeOwned>(params: &Params<'_>) -> Result<(A, Option<String>), ErrorObjectOwned> {
    let mut sequence = params.sequence();
    Ok((sequence.next()?, sequence.optional_next()?))
}

fn version(chain: &Chain, params: &Params<'_>) -> Answer {
    let block = at(chain, only_block(params)?.as_deref())?;
    Ok(runtime_version(chain, &block))
}

/// By number, as a JSON number or in hex, one or a list; the newest where there is none.
fn block_hash(chain: &Chain, params: &Params<'_>) -> Answer {
    let one = |number: &Value| {
        let number = match number {
            Value::Null => return Ok(json!(hex(chain.best().hash))),
            Value::Number(number) => number.as_u64(),
            Value::String(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            },
            _ => None,
        };
        let number = number.ok_or_else(|| invalid_params("not a block number"))?;
        let block = u32::try_from(number).ok().and_then(|number| chain.by_number(number));
        Ok(json!(block.map(|block| hex(block.hash))))
    };
    match params.sequence().optional_next::<Value>()?.unwrap_or(Value::Null) {
        Value::Array(numbers) if numbers.len() > MAX_NUMBERS => Err(invalid_params("too many numbers")),
        Value::Array(numbers) => numbers.iter().map(one).collect(),
        number => one(&number),
    }
}

fn value(chain: &Chain, params: &Params<'_>) -> Result<Option<Vec<u8>>, ErrorObjectOwned> {
    let (key, block): (String, Option<String>) = two(params)?;
    Ok(chain.value(&*at(chain, block.as_deref())?, &unhex(&key)?))
}

fn storage(chain: &Chain, params: &Params<'_>) -> Answer {
    Ok(json!(value(chain, params)?.map(hex)))
}

fn keys_paged(chain: &Chain, params: &Params<'_>) -> Answer {
    let mut sequence = params.sequence();
    let prefix: Option<String> = sequence.next()?;
    let prefix = unhex(&prefix.unwrap_or_default())?;
    let count: usize = sequence.next()?;
    if count > MAX_PAGE {
        return Err(error(
            4002,
            &format!("count exceeds maximum value. value: {count}, max: {MAX_PAGE}"),
            None,
        ));
    }
    let start: Option<String> = sequence.optional_next()?;
    let start = start.map(|start| unhex(&start)).transpose()?;
    let block: Option<String> = sequence.optional_next()?;
    let block = at(chain, block.as_deref())?;
    let keys = chain.keys(&block, &prefix, start.as_deref(), count);
    Ok(json!(keys.iter().map(hex).collect::<Vec<_>>()))
}

fn next_nonce(chain: &Chain, params: &Params<'_>) -> Answer {
    let account: String = params.one()?;
    let account = AccountId::from_ss58check(&account).map_err(|_| invalid_params("not an SS58 address"))?;
    Ok(json!(chain.next_nonce(&account)))
}

fn call(chain: &Chain, params: &Params<'_>) -> Answer {
    let mut sequence = params.sequence();
    let (name, data): (String, String) = (sequence.next()?, sequence.next()?);
    let block: Option<String> = sequence.optional_next()?;
    let block = at(chain, block.as_deref())?;
    Ok(json!(hex(call_runtime(chain, &block, &name, &unhex(&data)?)?)))
}

/// Calls a function of the runtime's interface on the state after a block.
fn call_runtime(chain: &Chain, block: &Block, name: &str, data: &[u8]) -> Result<Vec<u8>, ErrorObjectOwned> {
    let output = chain.look(block, |runtime| (runtime.call)(name, data));
    let output = output.ok_or_else(|| failed(&format!("{name} panicked")))?;
    output.ok_or_else(|| failed(&format!("Exported method {name} is not found")))
}

fn failed(reason: &str) -> ErrorObjectOwned {
    error(4003, &format!("Client error: Execution failed: {reason}"), None)
}

/// What an extrinsic would cost.
fn payment(chain: &Chain, params: &Params<'_>) -> Answer {
    let (extrinsic, block): (String, Option<String>) = two(params)?;
    let block = at(chain, block.as_deref())?;
    let mut data = unhex(&extrinsic)?;
    let length = u32::try_from(data.len()).map_err(|_| invalid_params("too long"))?;
    data.extend(length.encode());
    let info = call_runtime(chain, &block, "TransactionPaymentApi_query_info", &data)?;
    let info = <((Compact<u64>, Compact<u64>), u8, u64)>::decode(&mut &info[..]);
    let ((time, size), class, fee) = info.map_err(|_| failed("no dispatch info"))?;
    let class = ["normal", "operational", "mandatory"].get(usize::from(class)).copied().unwrap_or("normal");
    let weight = json!({ "ref_time": time.0, "proof_size": size.0 });
    Ok(json!({ "weight": weight, "class": class, "partialFee": fee.to_string() }))
}

/// Takes an extrinsic into the pool; the errors have the codes and texts that clients know.
pub(super) fn submit(
    chain: &Chain,
    bytes: &str,
    watcher: Option<mpsc::UnboundedSender<Status>>,
) -> Result<H256, ErrorObjectOwned> {
    chain.submit(unhex(bytes)?, watcher).map_err(|refused| match refused {
        SubmitError::Undecodable(problem) => {
            error(1001, &format!("Extrinsic has invalid format: {problem}"), None)
        }
        SubmitError::Invalid(TransactionValidityError::Invalid(reason)) => {
            let text = match reason {
                InvalidTransaction::Custom(code) => format!("Custom error: {code}"),
                other => <&'static str>::from(other).to_owned(),
            };
            error(1010, "Invalid Transaction", text)
        }
        SubmitError::Invalid(TransactionValidityError::Unknown(reason)) => {
            error(1011, "Unknown Transaction Validity", <&'static str>::from(reason).to_owned())
        }
        SubmitError::Refused(Refusal::Known) => error(1013, "Transaction Already Imported", None),
        SubmitError::Refused(Refusal::SameNonce) => error(
            1014,
            "Priority is too low: (1 vs 1)",
            "The transaction has too low priority to replace another transaction already in the pool."
                .to_owned(),
        ),
        SubmitError::Refused(Refusal::Full) => {
            error(1016, "Immediately Dropped", "The pool is full.".to_owned())
        }
        SubmitError::Refused(Refusal::Unsigned) => {
            error(1011, "Unknown Transaction Validity", "It is not signed by an account.".to_owned())
        }
        SubmitError::Panicked => error(1002, "Verification Error: the runtime panicked", None),
    })
}

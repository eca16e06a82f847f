//! Transactions: signed, sent, and followed until they are final.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use subxt::{
    config::DefaultExtrinsicParamsBuilder,
    events::{DecodeAsEvent, Events, Phase},
    ext::scale_value::{At as _, Composite, Value, ValueDef},
    metadata::Metadata,
    rpcs::{self, methods::legacy::TransactionStatus},
    tx::{Payload, Signer, StaticPayload},
    utils::{AccountId32, H256, MultiSignature},
};

use crate::{
    chain::{
        error::{ChainError, dispatch_error},
        interface,
        rpc::{
            answer::{REQUEST, is_lost, words},
            connection::{AtBlock, Config, Connection},
        },
        types::{Head, Included},
    },
    wallet::{AccountId, Keypair},
};

/// Blocks in which a transaction may get into the chain; the same as the official SDK's.
const MORTALITY: u64 = 128;
/// How often a transaction is signed anew with a fresh nonce, if another of the same account was faster.
const MAX_ATTEMPTS: u32 = 5;
/// With no news of a transaction for this long, the chain itself is searched for it.
const SILENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at the newest final block.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// One transaction of an account at a time, so that two tasks do not sign with one nonce.
#[derive(Debug, Default)]
pub(in crate::chain) struct NonceLocks(Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>);

impl NonceLocks {
    async fn take(&self, account: &AccountId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            // A poisoned map is whole: nothing panics while it is held.
            let mut turns = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            turns.entry(account.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

struct Signing<'a>(&'a Keypair);

impl Signer<Config> for Signing<'_> {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.0.account().into())
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.sign(payload))
    }
}

/// A transaction that is final and succeeded, and what it did.
pub(in crate::chain) struct Settled {
    pub(in crate::chain) included: Included,
    events: Events<Config>,
    index: u32,
    metadata: subxt::ArcMetadata,
}

/// Signs `payload`, sends it, and waits until it is final.
pub(in crate::chain) async fn submit<C>(
    link: &Connection,
    turns: &NonceLocks,
    call: &'static str,
    payload: StaticPayload<C>,
    signer: &Keypair,
) -> Result<Settled, ChainError>
where
    StaticPayload<C>: Payload,
{
    let payload = payload.unvalidated();
    let account = signer.account();
    let _turn = turns.take(&account).await;
    for attempt in 1.. {
        let birth = link.head().await?;
        let extrinsic = sign(link, call, &payload, signer, birth).await?;
        match watch(link, call, &extrinsic).await {
            Ok(Some(block)) => return settle(link, call, &extrinsic, block).await,
            Ok(None) => {
                let block = search(link, call, &extrinsic, birth).await?;
                return settle(link, call, &extrinsic, block).await;
            }
            Err(ChainError::Refused { name, .. })
                if dispatch_error::is_transient(&name) && attempt < MAX_ATTEMPTS =>
            {
                tracing::debug!(call, name, "signing again with a fresh nonce");
                tokio::time::sleep(POLL_INTERVAL * attempt).await;
            }
            Err(e) => return Err(e),
        }
    }
    Err(ChainError::NotIncluded { call, reason: "no turn came".to_owned() })
}

/// The signed transaction as it goes over the wire.
async fn sign<P: Payload>(
    link: &Connection,
    call: &'static str,
    payload: &P,
    signer: &Keypair,
    birth: Head,
) -> Result<Vec<u8>, ChainError> {
    let at = link.at(birth).await?;
    let (pallet, name) = (payload.pallet_name(), payload.call_name());
    if let Some((stated, found)) = interface::reshaped(at.metadata_ref(), pallet, name) {
        return Err(ChainError::CallChanged { item: format!("{pallet}.{name}"), stated, found });
    }
    let account = AccountId32(signer.account().into());
    // The node counts what waits in its pool, which the state at the final block does not show.
    let nonce = link.ask("system_accountNextIndex", || link.rpc.system_account_next_index(&account)).await?;
    let params = DefaultExtrinsicParamsBuilder::<Config>::new()
        .nonce(nonce)
        .mortal_from_unchecked(MORTALITY, birth.number, H256(birth.hash))
        .build();
    let signed = at
        .tx()
        .create_signable_offline(payload, params)
        .and_then(|mut signable| signable.sign(&Signing(signer)));
    match signed {
        Ok(signed) => Ok(signed.into_encoded()),
        Err(e) => {
            let item = format!("{}.{}", payload.pallet_name(), payload.call_name());
            let known = at.metadata_ref().pallet_by_name(payload.pallet_name());
            if known.and_then(|pallet| pallet.call_variant_by_name(payload.call_name()).cloned()).is_none() {
                return Err(ChainError::Missing { item });
            }
            tracing::debug!(call, error = %e, "cannot encode");
            Err(ChainError::Decode { item, reason: e.to_string() })
        }
    }
}

/// Sends a transaction and follows it. The final block's hash; `None` if the connection broke before that
/// was known.
async fn watch(link: &Connection, call: &'static str, extrinsic: &[u8]) -> Result<Option<H256>, ChainError> {
    let request = "author_submitAndWatchExtrinsic";
    let submitted = link.rpc.author_submit_and_watch_extrinsic(extrinsic);
    let mut news = match tokio::time::timeout(REQUEST, submitted).await {
        Err(_) => return Ok(None),
        Ok(Err(e)) if is_lost(&e) => return Ok(None),
        Ok(Err(rpcs::Error::User(e))) => {
            let said = words(&e);
            return Err(match dispatch_error::name_in(&said) {
                Some(name) => ChainError::Refused { call, name },
                None => {
                    ChainError::Node { endpoint: link.endpoint.clone(), request: call.into(), reason: said }
                }
            });
        }
        Ok(Err(e)) => return Err(link.trouble(request, e)),
        Ok(Ok(news)) => news,
    };
    let failed = |reason: &str| Err(ChainError::NotIncluded { call, reason: reason.to_owned() });
    loop {
        match tokio::time::timeout(SILENCE, news.next()).await {
            Ok(Some(Ok(TransactionStatus::Finalized(block)))) => return Ok(Some(block)),
            Ok(Some(Ok(TransactionStatus::Usurped(_)))) => {
                return failed("another transaction took its place");
            }
            Ok(Some(Ok(TransactionStatus::Dropped))) => return failed("the node's pool dropped it"),
            Ok(Some(Ok(TransactionStatus::Invalid))) => {
                return failed("it became invalid in the node's pool");
            }
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) | Err(_) => return Ok(None),
        }
    }
}

/// Looks for a transaction in every block in which it may be.
async fn search(
    link: &Connection,
    call: &'static str,
    extrinsic: &[u8],
    birth: Head,
) -> Result<H256, ChainError> {
    tracing::debug!(call, from = birth.number, "lost sight of a transaction; searching the blocks for it");
    for number in birth.number + 1..=birth.number + MORTALITY {
        let hash = loop {
            match link.block_hash(number).await? {
                // A block may exist before it is final; only final ones count.
                Some(hash) if link.head().await?.number >= number => break H256(hash),
                _ => tokio::time::sleep(POLL_INTERVAL).await,
            }
        };
        let block = link.ask("chain_getBlock", || link.rpc.chain_get_block(Some(hash))).await?;
        let found =
            block.is_some_and(|found| found.block.extrinsics.iter().any(|bytes| bytes.0 == extrinsic));
        if found {
            return Ok(hash);
        }
    }
    Err(ChainError::NotIncluded { call, reason: format!("it was in none of {MORTALITY} blocks") })
}

/// What became of a transaction in its block.
async fn settle(
    link: &Connection,
    call: &'static str,
    extrinsic: &[u8],
    hash: H256,
) -> Result<Settled, ChainError> {
    let lost = |what: &str| ChainError::Node {
        endpoint: link.endpoint.clone(),
        request: "chain_getBlock".to_owned(),
        reason: what.to_owned(),
    };
    let block = link.ask("chain_getBlock", || link.rpc.chain_get_block(Some(hash))).await?;
    let block = block.ok_or_else(|| lost("it does not know a block that it called final"))?.block;
    let index = block.extrinsics.iter().position(|bytes| bytes.0 == extrinsic);
    let index = index.ok_or_else(|| lost("the transaction is not in the block that was named"))? as u32;
    let head = Head { number: block.header.number, hash: hash.0 };
    let at = link.at(head).await?;
    let events = events(link, &at).await?;
    let settled = Settled {
        included: Included { block: head.number, hash: head.hash },
        events,
        index,
        metadata: at.metadata(),
    };
    match settled.refusal("System", "ExtrinsicFailed", "dispatch_error")? {
        Some(name) => Err(ChainError::Refused { call, name }),
        None => Ok(settled),
    }
}

/// All events of a block.
pub(in crate::chain) async fn events(link: &Connection, at: &AtBlock) -> Result<Events<Config>, ChainError> {
    let key = subxt::storage::dynamic::<(), Value>("System", "Events");
    let key = at.storage().entry(&key).and_then(|entry| entry.fetch_key(()));
    let key = key.map_err(|_| ChainError::Missing { item: "System.Events".to_owned() })?;
    let hash = at.block_hash();
    let bytes = link.ask("state_getStorage", || link.rpc.state_get_storage(&key, Some(hash))).await;
    let bytes = bytes.map_err(|e| link.at_block(at.block_number(), e))?;
    Ok(at.events().from_bytes(bytes.unwrap_or_default()))
}

impl Settled {
    /// The first event of this kind that the transaction caused.
    pub(in crate::chain) fn find<E: DecodeAsEvent>(&self) -> Result<Option<E>, ChainError> {
        for event in self.events.iter() {
            let event = event.map_err(undecoded)?;
            if event.phase() == Phase::ApplyExtrinsic(self.index)
                && let Some(found) = event.decode_fields_as::<E>()
            {
                return found.map(Some).map_err(undecoded);
            }
        }
        Ok(None)
    }

    /// The error's name, if the transaction caused this event with an error in `field`.
    pub(in crate::chain) fn refusal(
        &self,
        pallet: &str,
        name: &str,
        field: &str,
    ) -> Result<Option<String>, ChainError> {
        for event in self.events.iter() {
            let event = event.map_err(undecoded)?;
            if event.phase() == Phase::ApplyExtrinsic(self.index)
                && (event.pallet_name(), event.event_name()) == (pallet, name)
            {
                let fields: Fields = event.decode_fields_unchecked_as().map_err(undecoded)?;
                return Ok(fields.0.at(field).and_then(|error| error_name(error, &self.metadata)));
            }
        }
        Ok(None)
    }
}

/// An event's fields, whatever they are.
struct Fields(Composite<()>);

impl subxt::ext::scale_decode::DecodeAsFields for Fields {
    fn decode_as_fields<'info, R: subxt::ext::scale_type_resolver::TypeResolver>(
        input: &mut &[u8],
        fields: &mut dyn subxt::ext::scale_decode::FieldIter<'info, R::TypeId>,
        types: &'info R,
    ) -> Result<Self, subxt::ext::scale_decode::Error> {
        Composite::<()>::decode_as_fields(input, fields, types).map(Self)
    }
}

impl DecodeAsEvent for Fields {
    fn is_event(_: &str, _: &str) -> bool {
        true
    }
}

fn undecoded(error: subxt::error::EventsError) -> ChainError {
    ChainError::Decode { item: "System.Events".to_owned(), reason: error.to_string() }
}

/// The name of a dispatch error, or of the error in a `Result`; none for `Ok`. A pallet's errors are numbers
/// whose names are in the metadata of the runtime that gave them.
fn error_name(value: &Value<()>, metadata: &Metadata) -> Option<String> {
    let ValueDef::Variant(variant) = &value.value else { return None };
    match variant.name.as_str() {
        "Ok" => None,
        "Err" => variant.values.at(0).and_then(|error| error_name(error, metadata)),
        "Module" => {
            let module = variant.values.at(0)?;
            let pallet = u8::try_from(module.at("index")?.as_u128()?).ok()?;
            let error = module.at("error")?;
            // Four bytes, of which the first is the error; older runtimes had that one only.
            let error = error.as_u128().or_else(|| error.at(0)?.as_u128())?;
            let name = metadata.pallet_by_error_index(pallet).and_then(|pallet| {
                Some(pallet.error_variant_by_index(u8::try_from(error).ok()?)?.name.clone())
            });
            Some(name.unwrap_or_else(|| format!("error {error} of pallet {pallet}")))
        }
        name => match variant.values.at(0).map(|inner| &inner.value) {
            Some(ValueDef::Variant(inner)) => Some(inner.name.clone()),
            _ => Some(name.to_owned()),
        },
    }
}

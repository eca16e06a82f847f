//! Transactions: signed, sent, and followed until they are final.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
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
        interface::{self, Kind},
        proxied,
        rpc::{
            answer::{REQUEST, unsent, words},
            connection::{AtBlock, Config, Connection},
            failover::is_policy,
        },
        types::{Head, Included},
    },
    wallet::{AccountId, Keypair},
    window::Block,
};

/// Blocks in which a transaction may get into the chain. After them it is certain whether it did; half of what the official SDK allows.
const MORTALITY: u64 = 64;
/// How often a transaction that the node did not take is signed anew.
const MAX_ATTEMPTS: u32 = 5;
/// With no news of a transaction for this long, the chain itself is searched for it.
const SILENCE: Duration = Duration::from_secs(60);
/// With no new final block for this long, nobody waits any longer: what is known is said.
const STALLED: Duration = Duration::from_secs(180);
/// The codes of a node's errors about a transaction that its pool did not take.
const POOL_ERRORS: std::ops::RangeInclusive<i32> = 1000..=1099;
/// The pause between two looks at the newest final block.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// One transaction of an account at a time, so that two tasks do not sign with one nonce; and the one whose fate is not known.
#[derive(Debug, Default)]
pub(in crate::chain) struct NonceLocks(Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<Option<Sent>>>>>);

impl NonceLocks {
    async fn take(&self, account: &AccountId) -> tokio::sync::OwnedMutexGuard<Option<Sent>> {
        let turn = {
            // A poisoned map is whole: nothing panics while it is held.
            let mut turns = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            turns.entry(account.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// A transaction that may be on its way.
#[derive(Debug, Clone)]
pub(in crate::chain) struct Sent {
    /// The call with its arguments, as it is encoded.
    call_data: Vec<u8>,
    extrinsic: Vec<u8>,
    account: AccountId32,
    nonce: u64,
    /// A final block before it was sent.
    birth: Head,
}

impl Sent {
    /// The last block that it can be in.
    fn until(&self) -> Block {
        self.birth.number + MORTALITY
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
///
/// # Errors
/// [`ChainError::NotSent`] and [`ChainError::Refused`] if nothing was done; [`ChainError::NotIncluded`] if it was sent and it is certain
/// that it will never be in a block. [`ChainError::FateUnknown`] and [`ChainError::NotFinal`] where finality stalls. The next transaction
/// of the account first finds out what became of such a one, and if that was the same call and has succeeded, its result is this one's.
pub(in crate::chain) async fn submit<C>(
    link: &Connection,
    turns: &NonceLocks,
    call: &'static str,
    payload: StaticPayload<C>,
    signer: &Keypair,
    real: Option<&AccountId>,
) -> Result<Settled, ChainError>
where
    StaticPayload<C>: Payload,
{
    let payload = payload.unvalidated();
    let account = signer.account();
    let mut unknown = turns.take(&account).await;
    if let Some(before) = unknown.clone() {
        match search(link, call, &before).await {
            Ok(block) => {
                *unknown = None;
                let (head, at) = link.at_best().await?;
                let same = match real {
                    Some(real) => {
                        let wrapped = proxied::wrap(link, &at, head, (real, &account), &payload).await?;
                        at.tx().call_data(&wrapped)
                    }
                    None => at.tx().call_data(&payload),
                };
                if same.is_ok_and(|data| data == before.call_data) {
                    return settle_surely(link, call, &before.extrinsic, block).await;
                }
            }
            Err(ChainError::NotIncluded { .. }) => *unknown = None,
            // Whatever is signed now might come in beside it.
            Err(error) => return Err(error),
        }
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        let sent =
            sign(link, call, &payload, signer, real).await.map_err(|error| error.before_sending(call))?;
        let again = match watch(link, &sent).await {
            Fate::Final(block) => return settle_surely(link, call, &sent.extrinsic, block).await,
            Fate::Lost => {
                // Until that is known nothing else is signed, whatever becomes of this future.
                *unknown = Some(sent.clone());
                match search(link, call, &sent).await {
                    Ok(block) => {
                        *unknown = None;
                        return settle_surely(link, call, &sent.extrinsic, block).await;
                    }
                    Err(error @ ChainError::NotIncluded { .. }) => {
                        *unknown = None;
                        return Err(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            Fate::Unsent(reason) => ChainError::NotSent { call, reason },
            Fate::Refused(name) if dispatch_error::is_transient(&name) => ChainError::Refused { call, name },
            Fate::Refused(name) => return Err(ChainError::Refused { call, name }),
        };
        if attempt >= MAX_ATTEMPTS {
            return Err(again);
        }
        tracing::debug!(call, error = %again, "signing again");
        tokio::time::sleep(POLL_INTERVAL * attempt).await;
    }
}

/// The signed transaction as it goes over the wire: for the runtime of the newest block, which executes it, and of an age counted from a
/// block that stays.
async fn sign<P: Payload>(
    link: &Connection,
    call: &'static str,
    payload: &P,
    signer: &Keypair,
    real: Option<&AccountId>,
) -> Result<Sent, ChainError> {
    let birth = link.head().await?;
    let (head, at) = link.at_best().await?;
    unchanged(&at, payload)?;
    if let Some(real) = real {
        let wrapped = proxied::wrap(link, &at, head, (real, &signer.account()), payload).await?;
        unchanged(&at, &wrapped)?;
        return sign_at(link, &at, birth, call, &wrapped, signer).await;
    }
    sign_at(link, &at, birth, call, payload, signer).await
}

/// That the runtime takes the call's arguments as they are known here.
fn unchanged<P: Payload>(at: &AtBlock, payload: &P) -> Result<(), ChainError> {
    let (pallet, name) = (payload.pallet_name(), payload.call_name());
    interface::listed(Kind::Call, pallet, name)?;
    match interface::reshaped(at.metadata_ref(), pallet, name) {
        Some((stated, found)) => {
            Err(ChainError::CallChanged { item: format!("{pallet}.{name}"), stated, found })
        }
        None => Ok(()),
    }
}

async fn sign_at<P: Payload>(
    link: &Connection,
    at: &AtBlock,
    birth: Head,
    call: &'static str,
    payload: &P,
    signer: &Keypair,
) -> Result<Sent, ChainError> {
    let account = AccountId32(signer.account().into());
    // The node counts what waits in its pool, which the state at a block does not show.
    let nonce = link.ask("system_accountNextIndex", || link.rpc.system_account_next_index(&account)).await?;
    let params = DefaultExtrinsicParamsBuilder::<Config>::new()
        .nonce(nonce)
        .mortal_from_unchecked(MORTALITY, birth.number, H256(birth.hash))
        .build();
    let encoded = at.tx().call_data(payload).and_then(|call_data| {
        let mut signable = at.tx().create_signable_offline(payload, params)?;
        Ok((call_data, signable.sign(&Signing(signer))?.into_encoded()))
    });
    match encoded {
        Ok((call_data, extrinsic)) => Ok(Sent { call_data, extrinsic, account, nonce, birth }),
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

/// What is known of a transaction.
enum Fate {
    /// It is in this final block.
    Final(H256),
    /// It may be anywhere: the node has it or had it, or the connection broke before that was known.
    Lost,
    /// The connection broke before it was sent.
    Unsent(String),
    /// The node did not take it, for a reason with this name.
    Refused(String),
}

/// Sends a transaction and follows it.
async fn watch(link: &Connection, sent: &Sent) -> Fate {
    let submitted = link.rpc.author_submit_and_watch_extrinsic(&sent.extrinsic);
    let mut news = match tokio::time::timeout(REQUEST, submitted).await {
        Err(_) => return Fate::Lost,
        Ok(Err(rpcs::Error::User(e))) => {
            let said = words(&e);
            return match dispatch_error::name_in(&said) {
                // The very same transaction, by its hash: it came through before.
                Some(name) if dispatch_error::is_known_to_pool(&name) => Fate::Lost,
                Some(name) => Fate::Refused(name),
                // The pool's own errors are about this transaction, in words that are not known here.
                None if POOL_ERRORS.contains(&e.code) => Fate::Refused(said),
                // It was turned away with all that we ask, before anybody looked at it.
                None if is_policy(e.code) => Fate::Unsent(said),
                None => {
                    tracing::warn!(
                        endpoint = link.endpoint,
                        said,
                        "an answer to a transaction that says nothing of it"
                    );
                    Fate::Lost
                }
            };
        }
        // Unless there was no connection at all the node may have it.
        Ok(Err(e)) => return unsent(&e).map_or(Fate::Lost, Fate::Unsent),
        Ok(Ok(news)) => news,
    };
    loop {
        match tokio::time::timeout(SILENCE, news.next()).await {
            Ok(Some(Ok(TransactionStatus::Finalized(block)))) => return Fate::Final(block),
            // Other nodes have it too: that this one's pool does not want it any more says little about the chain.
            Ok(Some(Ok(
                TransactionStatus::Usurped(_) | TransactionStatus::Dropped | TransactionStatus::Invalid,
            ))) => return Fate::Lost,
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) | Err(_) => return Fate::Lost,
        }
    }
}

/// Looks for a transaction in every block in which it may be: the final one that has it.
///
/// # Errors
/// [`ChainError::NotIncluded`] once it is certain that it never will be: its time is over, or its nonce is another's. Where finality
/// stalls, [`ChainError::NotFinal`] if it is in a block, else [`ChainError::FateUnknown`].
async fn search(link: &Connection, call: &'static str, sent: &Sent) -> Result<H256, ChainError> {
    let birth = sent.birth.number;
    tracing::debug!(call, from = birth, "lost sight of a transaction; searching the blocks for it");
    let not_included = |reason: String| Err(ChainError::NotIncluded { call, reason });
    let (mut next, mut seen) = (birth + 1, birth);
    let mut moved = Instant::now();
    loop {
        let head = match link.head().await {
            Ok(head) => head,
            // It comes back, or the time is over.
            Err(error) if error.is_transient() && moved.elapsed() < STALLED => {
                tracing::debug!(call, %error, "still searching");
                tokio::time::sleep(POLL_INTERVAL * 4).await;
                continue;
            }
            Err(_) => return Err(unknown(link, call, sent, next).await),
        };
        let last = head.number.min(sent.until());
        if last > seen {
            (seen, moved) = (last, Instant::now());
        }
        while next <= last {
            match holds(link, next, &sent.extrinsic).await {
                Ok(Some(hash)) => return Ok(hash),
                Ok(None) => next += 1,
                // It is looked at again: an error is no answer.
                Err(error) => {
                    tracing::debug!(call, %error, block = next, "still searching");
                    break;
                }
            }
        }
        if next > last {
            if head.number >= sent.until() {
                return not_included(format!("it was in none of {MORTALITY} blocks"));
            }
            // Every block up to the head was searched: if the account has used this nonce there, another transaction has it.
            if head.number >= birth
                && used(link, &sent.account, head).await.is_some_and(|used| used > sent.nonce)
            {
                return not_included("another transaction of the account took its place".to_owned());
            }
        }
        if moved.elapsed() >= STALLED {
            return Err(unknown(link, call, sent, next).await);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What is said of a transaction whose fate nobody can wait for: whether it is in a block that is not final.
async fn unknown(link: &Connection, call: &'static str, sent: &Sent, from: Block) -> ChainError {
    let fate = ChainError::FateUnknown { call, until: sent.until() };
    let Ok(best) = link.best().await else { return fate };
    for number in from..=best.number.min(sent.until()) {
        if let Ok(Some(_)) = holds(link, number, &sent.extrinsic).await {
            return ChainError::NotFinal { call, block: number, until: sent.until() };
        }
    }
    fate
}

/// The hash of a block, if it holds a transaction.
async fn holds(link: &Connection, number: Block, extrinsic: &[u8]) -> Result<Option<H256>, ChainError> {
    // An endpoint that does not have the block says nothing about it.
    let unseen = || ChainError::NoSuchBlock { block: number };
    let hash = link.block_hash(number).await?.map(H256).ok_or_else(unseen)?;
    let block =
        link.ask("chain_getBlock", || link.rpc.chain_get_block(Some(hash))).await?.ok_or_else(unseen)?;
    Ok(block.block.extrinsics.iter().any(|bytes| bytes.0 == extrinsic).then_some(hash))
}

/// The next nonce of an account at a block; none where the node does not say.
async fn used(link: &Connection, account: &AccountId32, head: Head) -> Option<u64> {
    let answer = link.ask("AccountNonceApi_account_nonce", || {
        link.rpc.state_call("AccountNonceApi_account_nonce", Some(&account.0), Some(H256(head.hash)))
    });
    let bytes = answer.await.ok()?;
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?).into())
}

/// [`settle`] for as long as it takes: what a transaction that is in a final block has done does not change, and must not be taken for
/// unknown because the connection broke once more.
async fn settle_surely(
    link: &Connection,
    call: &'static str,
    extrinsic: &[u8],
    hash: H256,
) -> Result<Settled, ChainError> {
    let begun = Instant::now();
    loop {
        match settle(link, call, extrinsic, hash).await {
            Err(error @ ChainError::Decode { .. }) => return Err(error),
            Err(error) if error.is_certain() || begun.elapsed() >= STALLED => return Err(error),
            Err(error) => {
                tracing::debug!(call, %error, "what it did is asked again");
                tokio::time::sleep(POLL_INTERVAL * 4).await;
            }
            settled => return settled,
        }
    }
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
    let failed = settled.refusal("System", "ExtrinsicFailed", "dispatch_error")?;
    // A proxy's transaction succeeds whatever becomes of the call in it.
    let failed = match failed {
        None => settled.refusal("Proxy", "ProxyExecuted", "result")?,
        failed => failed,
    };
    match failed {
        Some(name) => Err(ChainError::Refused { call, name }),
        None => Ok(settled),
    }
}

/// All events of a block.
pub(in crate::chain) async fn events(link: &Connection, at: &AtBlock) -> Result<Events<Config>, ChainError> {
    interface::listed(Kind::Storage, "System", "Events")?;
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

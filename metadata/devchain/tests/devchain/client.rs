//! A small client: signs with development keys, submits, follows to the block, reads storage.

use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientT, Subscription, SubscriptionClientT},
        params::ArrayParams,
    },
    ws_client::{WsClient, WsClientBuilder},
};
use node_subtensor_runtime::{
    AccountId, RuntimeCall, RuntimeEvent, UncheckedExtrinsic,
    extensions::{TxExtension, signed_extensions},
    genesis::development_account,
};
use parity_scale_codec::{Decode, Encode};
use serde_json::{Value, json};
use sp_core::{H256, Pair, sr25519};
use sp_runtime::{MultiAddress, MultiSignature, generic::Era, traits::TransactionExtension};

/// An error's code, message and data.
pub type Refusal = (i32, String, String);

pub struct Client {
    rpc: WsClient,
    pub genesis: H256,
}

/// What became of an extrinsic.
pub struct Included {
    pub block: H256,
    pub events: Vec<RuntimeEvent>,
}

impl Included {
    /// The error of a call that failed in its block.
    pub fn failure(&self) -> Option<sp_runtime::DispatchError> {
        self.events.iter().find_map(|event| match event {
            RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { dispatch_error, .. }) => {
                Some(*dispatch_error)
            }
            RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result: Err(error) }) => Some(*error),
            _ => None,
        })
    }
}

pub fn account(uri: &str) -> AccountId {
    development_account(uri).unwrap()
}

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", ::hex::encode(bytes))
}

pub fn unhex(text: &Value) -> Vec<u8> {
    ::hex::decode(text.as_str().unwrap().trim_start_matches("0x")).unwrap()
}

pub fn h256(text: &Value) -> H256 {
    H256::from_slice(&unhex(text))
}

fn refusal(error: ClientError) -> Refusal {
    match error {
        ClientError::Call(error) => {
            let data = error.data().map(|data| serde_json::from_str(data.get()).unwrap());
            (error.code(), error.message().to_owned(), data.unwrap_or_default())
        }
        other => panic!("{other}"),
    }
}

fn params(values: Vec<Value>) -> ArrayParams {
    let mut params = ArrayParams::new();
    values.into_iter().for_each(|value| params.insert(value).unwrap());
    params
}

impl Client {
    pub async fn connect(url: &str) -> Self {
        let rpc = WsClientBuilder::default().build(url).await.unwrap();
        let mut client = Self { rpc, genesis: H256::zero() };
        client.genesis = h256(&client.ask("chain_getBlockHash", vec![json!(0)]).await);
        client
    }

    pub async fn try_ask(&self, method: &str, values: Vec<Value>) -> Result<Value, Refusal> {
        self.rpc.request(method, params(values)).await.map_err(refusal)
    }

    pub async fn ask(&self, method: &str, values: Vec<Value>) -> Value {
        self.try_ask(method, values).await.unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    pub async fn subscribe(
        &self,
        subscribe: &str,
        values: Vec<Value>,
        unsubscribe: &str,
    ) -> Result<Subscription<Value>, Refusal> {
        self.rpc.subscribe(subscribe, params(values), unsubscribe).await.map_err(refusal)
    }

    pub async fn head(&self) -> u32 {
        let header = self.ask("chain_getHeader", vec![]).await;
        u32::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    pub async fn hash(&self, number: u32) -> H256 {
        h256(&self.ask("chain_getBlockHash", vec![json!(number)]).await)
    }

    /// Waits until so many more blocks are there.
    pub async fn blocks(&self, count: u32) {
        let target = self.head().await + count;
        while self.head().await < target {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    pub async fn nonce(&self, uri: &str) -> u32 {
        let address = sp_core::crypto::Ss58Codec::to_ss58check(&account(uri));
        self.ask("system_accountNextIndex", vec![json!(address)]).await.as_u64().unwrap() as u32
    }

    pub async fn storage<T: Decode>(&self, key: &[u8], block: Option<H256>) -> Option<T> {
        let block = block.map(hex);
        let value = self.ask("state_getStorage", vec![json!(hex(key)), json!(block)]).await;
        (!value.is_null()).then(|| T::decode(&mut &unhex(&value)[..]).unwrap())
    }

    /// A signed extrinsic of any era; `born` is the hash of the block that the era begins with.
    pub fn signed(&self, uri: &str, call: RuntimeCall, nonce: u32, era: Era, born: H256) -> String {
        let extensions = signed_extensions(era, nonce, 0);
        let version = node_subtensor_runtime::VERSION;
        let frame = ((), version.spec_version, version.transaction_version, self.genesis, born, (), (), ());
        let implicit: <TxExtension as TransactionExtension<RuntimeCall>>::Implicit =
            (frame, ((), (), (), (), None));
        let mut payload = (&call, &extensions, &implicit).encode();
        if payload.len() > 256 {
            payload = sp_io::hashing::blake2_256(&payload).to_vec();
        }
        let pair = sr25519::Pair::from_string(uri, None).unwrap();
        let signature = MultiSignature::Sr25519(pair.sign(&payload));
        let signer = MultiAddress::Id(account(uri));
        hex(UncheckedExtrinsic::new_signed(call, signer, signature, extensions).encode())
    }

    /// An immortal one.
    pub fn immortal(&self, uri: &str, call: RuntimeCall, nonce: u32) -> String {
        self.signed(uri, call, nonce, Era::Immortal, self.genesis)
    }

    pub async fn watch(&self, extrinsic: &str) -> Result<Subscription<Value>, Refusal> {
        let method = "author_submitAndWatchExtrinsic";
        self.subscribe(method, vec![json!(extrinsic)], "author_unwatchExtrinsic").await
    }

    /// Signs and submits a call; returns the events of its extrinsic once it is final.
    pub async fn try_submit(&self, uri: &str, call: impl Into<RuntimeCall>) -> Result<Included, Refusal> {
        let extrinsic = self.immortal(uri, call.into(), self.nonce(uri).await);
        let mut watched = self.watch(&extrinsic).await?;
        let block = loop {
            let status = watched.next().await.unwrap().unwrap();
            if let Some(block) = status.get("finalized") {
                break h256(block);
            }
            assert!(status == "ready" || status.get("inBlock").is_some(), "{status}");
        };
        let body = self.ask("chain_getBlock", vec![json!(hex(block))]).await;
        let extrinsics = body["block"]["extrinsics"].as_array().unwrap();
        let index = extrinsics.iter().position(|other| other == &json!(extrinsic)).unwrap();
        Ok(Included { block, events: self.events(block, index as u32).await })
    }

    /// The same for a call that must succeed.
    pub async fn submit(&self, uri: &str, call: impl Into<RuntimeCall>) -> Included {
        let included = self.try_submit(uri, call).await.unwrap();
        assert_eq!(included.failure(), None);
        included
    }

    /// Submits a call as root.
    pub async fn sudo(&self, call: impl Into<RuntimeCall>) {
        self.submit("//Alice", pallet_sudo::Call::sudo { call: Box::new(call.into()) }).await;
    }

    pub async fn events(&self, block: H256, extrinsic: u32) -> Vec<RuntimeEvent> {
        let key = frame_support::storage::storage_prefix(b"System", b"Events");
        let records: Vec<frame_system::EventRecord<RuntimeEvent, H256>> =
            self.storage(&key, Some(block)).await.unwrap();
        let own = frame_system::Phase::ApplyExtrinsic(extrinsic);
        records.into_iter().filter(|record| record.phase == own).map(|record| record.event).collect()
    }
}

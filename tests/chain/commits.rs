//! Commits and reveals as any program could make them, sent without the client under test.
#![allow(dead_code, reason = "each test uses a part of this")]

use parity_scale_codec::Encode as _;
use subxt::{
    OnlineClient, PolkadotConfig,
    config::Hasher as _,
    ext::scale_value::Value,
    tx::Signer,
    utils::{AccountId32, MultiSignature},
};
use templar::wallet::Keypair;

/// A validator that sends calls of its own making.
pub struct Sender {
    client: OnlineClient<PolkadotConfig>,
    key: Keypair,
}

struct Signing<'a>(&'a Keypair);

impl Signer<PolkadotConfig> for Signing<'_> {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.0.account().into())
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.sign(payload))
    }
}

/// Weights under a salt.
#[derive(Clone)]
pub struct Secret {
    pub uids: Vec<u16>,
    pub values: Vec<u16>,
    pub salt: Vec<u16>,
}

fn numbers(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| Value::u128((*value).into())))
}

impl Sender {
    pub async fn new(url: &str, key: &Keypair) -> Self {
        Self { client: OnlineClient::from_insecure_url(url).await.unwrap(), key: key.clone() }
    }

    /// Sends a call of the pallet; the number of the block in which it succeeded.
    pub async fn call(&self, name: &str, arguments: Vec<Value>) -> Result<u64, String> {
        let call = subxt::tx::dynamic("SubtensorModule", name, arguments);
        let mut tx = self.client.tx().await.map_err(|e| e.to_string())?;
        let sent = tx.sign_and_submit_then_watch_default(&call, &Signing(&self.key)).await;
        let sent = sent.map_err(|e| format!("{e:?}"))?;
        let block = sent.wait_for_finalized().await.map_err(|e| format!("{e:?}"))?;
        block.wait_for_success().await.map_err(|e| format!("{e:?}"))?;
        let at = self.client.at_block(block.block_hash()).await.map_err(|e| e.to_string())?;
        Ok(at.block_number())
    }

    /// What a secret's hash is, as the chain computes it.
    pub async fn hash(&self, index: u16, secret: &Secret) -> [u8; 32] {
        let account: [u8; 32] = self.key.account().into();
        let bytes = (account, index, &secret.uids, &secret.values, &secret.salt, 0u64).encode();
        self.client.at_current_block().await.unwrap().hasher().hash(&bytes).0
    }

    /// Commits to a secret.
    pub async fn commit(&self, netuid: u16, secret: &Secret) -> u64 {
        let hash = self.hash(netuid, secret).await;
        self.call("commit_weights", vec![Value::u128(netuid.into()), Value::from_bytes(hash)]).await.unwrap()
    }

    /// Reveals a secret as soon as the chain takes it.
    pub async fn reveal(&self, netuid: u16, secret: &Secret) -> u64 {
        for _ in 0..200 {
            let arguments = vec![
                Value::u128(netuid.into()),
                numbers(&secret.uids),
                numbers(&secret.values),
                numbers(&secret.salt),
                Value::u128(0),
            ];
            match self.call("reveal_weights", arguments).await {
                Ok(block) => return block,
                // Too early, in the pool's words or in the block's.
                Err(e) if e.contains("Custom error: 17") || e.contains("RevealTooEarly") => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                Err(e) => panic!("{e}"),
            }
        }
        panic!("the time to reveal did not come");
    }

    /// Sends a timelocked commit with these bytes as its ciphertext.
    pub async fn commit_timelocked(&self, netuid: u16, bytes: &[u8], round: u64) -> Result<u64, String> {
        let arguments = vec![
            Value::u128(netuid.into()),
            Value::from_bytes(bytes),
            Value::u128(round.into()),
            Value::u128(4),
        ];
        self.call("commit_timelocked_weights", arguments).await
    }

    /// Whether the runtime has a call by this name.
    pub async fn knows(&self, call: &str) -> bool {
        let at = self.client.at_current_block().await.unwrap();
        let pallet = at.metadata_ref().pallet_by_name("SubtensorModule").unwrap();
        pallet.call_variant_by_name(call).is_some()
    }

    /// The last round of the beacon that the chain knows, if it knows a beacon.
    pub async fn beacon_round(&self) -> Option<u64> {
        let at = self.client.at_current_block().await.unwrap();
        let address = subxt::storage::dynamic::<(), u64>("Drand", "LastStoredRound");
        at.storage().fetch(&address, ()).await.ok()?.decode().ok()
    }
}

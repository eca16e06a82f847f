//! Settings of weights found by reading every block, with none of the code under test.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use subxt::{OnlineClient, PolkadotConfig};
use templar::{
    chain::{WeightSetting, ids::MECHANISM_STRIDE},
    wallet::AccountId,
    window::{Block, NetUid, Uid},
};
use templar_metadata::api::{self, subtensor_module::events::WeightsSet};

/// Blocks that are read at once.
const CONCURRENT: usize = 32;

/// Every setting of weights in `from..=to`, oldest first.
pub async fn settings(url: &str, netuid: NetUid, from: Block, to: Block) -> Vec<WeightSetting> {
    let client: OnlineClient<PolkadotConfig> = OnlineClient::from_insecure_url(url).await.unwrap();
    let blocks = stream::iter(from.max(1)..=to).map(|number| in_block(client.clone(), netuid, number));
    blocks.buffered(CONCURRENT).collect::<Vec<_>>().await.concat()
}

async fn in_block(client: OnlineClient<PolkadotConfig>, netuid: NetUid, number: Block) -> Vec<WeightSetting> {
    let at = client.at_block(number).await.unwrap();
    let mut rows: BTreeSet<(u16, Uid)> = BTreeSet::new();
    for event in at.events().fetch().await.unwrap().iter() {
        if let Some(set) = event.unwrap().decode_fields_as::<WeightsSet>() {
            let WeightsSet(index, uid) = set.unwrap();
            if index % MECHANISM_STRIDE == netuid {
                rows.insert((index, uid));
            }
        }
    }
    let mut settings = Vec::new();
    for (index, uid) in rows {
        let (storage, module) = (at.storage(), api::storage().subtensor_module());
        let hotkey = storage.try_fetch(module.keys(), (netuid, uid)).await.unwrap();
        let weights = storage.try_fetch(module.weights(), (index, uid)).await.unwrap();
        let time = storage.fetch(api::storage().timestamp().now(), ()).await.unwrap();
        settings.push(WeightSetting {
            block: number,
            hash: at.block_hash().0,
            time_ms: time.decode().unwrap(),
            mechanism: (index / MECHANISM_STRIDE) as u8,
            validator_uid: uid,
            hotkey: AccountId::new(hotkey.map_or([0; 32], |key| key.decode().unwrap().0)),
            weights: weights.map_or(Vec::new(), |row| row.decode().unwrap()),
        });
    }
    settings
}

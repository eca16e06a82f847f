//! The directory of a subnet: its neurons, and the buckets that can be read.

use super::NodeError;
use crate::{
    bucket::{Endpoint, ReadCredential, S3Options, S3Store, Store},
    chain::{Chain, Metagraph, Neuron},
    wallet::AccountId,
    window::{Block, NetUid},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// How a bucket is opened with what its owner committed.
type Open = dyn Fn(&ReadCredential) -> Arc<dyn Store> + Send + Sync;

/// Opens strangers' buckets by what they committed, and keeps the connections.
pub struct BucketCache {
    with: Box<Open>,
    open: BTreeMap<AccountId, (Vec<u8>, Arc<dyn Store>)>,
}

impl fmt::Debug for BucketCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketCache").field("open", &self.open).finish_non_exhaustive()
    }
}

impl BucketCache {
    /// Buckets live where the template says.
    pub fn new(endpoint: Endpoint) -> Self {
        let options = S3Options::default();
        Self::with(move |credential| Arc::new(S3Store::reader(credential, &endpoint, &options)))
    }

    /// [`Self::new`], for a command that reads much at one go: see [`S3Options::patient`].
    pub fn patient(endpoint: Endpoint) -> Self {
        let options = S3Options::patient();
        Self::with(move |credential| Arc::new(S3Store::reader(credential, &endpoint, &options)))
    }

    /// Buckets are opened by this: in simulations they are in memory.
    pub fn with(open: impl Fn(&ReadCredential) -> Arc<dyn Store> + Send + Sync + 'static) -> Self {
        Self { with: Box::new(open), open: BTreeMap::new() }
    }

    /// The bucket behind a commitment's first field; `None` where the field is no credential.
    fn open(&mut self, hotkey: &AccountId, field: &[u8]) -> Option<Arc<dyn Store>> {
        if let Some((known, store)) = self.open.get(hotkey)
            && known == field
        {
            return Some(store.clone());
        }
        let credential = match ReadCredential::from_bytes(field) {
            Ok(credential) => credential,
            Err(error) => {
                tracing::debug!(%hotkey, %error, "the peer's commitment is no bucket; it is skipped");
                return None;
            }
        };
        let store = (self.with)(&credential);
        self.open.insert(hotkey.clone(), (field.to_vec(), store.clone()));
        Some(store)
    }
}

/// The subnet as of one block.
#[derive(Debug)]
pub struct Directory {
    /// Its neurons.
    pub metagraph: Metagraph,
    buckets: Arc<BTreeMap<AccountId, Arc<dyn Store>>>,
    runs: BTreeMap<AccountId, Vec<u8>>,
}

impl Directory {
    /// Reads the metagraph and the commitments. Entries that make no sense are skipped: a stranger's
    /// bad commitment is that stranger's loss alone.
    pub async fn read(
        chain: &dyn Chain,
        netuid: NetUid,
        buckets: &mut BucketCache,
    ) -> Result<Self, NodeError> {
        Self::read_at(chain, netuid, None, buckets).await
    }

    /// [`Self::read`], as it stood at a block.
    pub async fn read_at(
        chain: &dyn Chain,
        netuid: NetUid,
        at: Option<Block>,
        buckets: &mut BucketCache,
    ) -> Result<Self, NodeError> {
        let metagraph = chain.metagraph(netuid, at).await?;
        let commitments = chain.commitments(netuid, at).await?;
        let (mut open, mut runs) = (BTreeMap::new(), BTreeMap::new());
        for (hotkey, fields) in commitments {
            if metagraph.neuron(&hotkey).is_none() {
                continue;
            }
            if let Some(store) = fields.first().and_then(|field| buckets.open(&hotkey, field)) {
                open.insert(hotkey.clone(), store);
            }
            if let Some(run) = fields.get(1).filter(|run| run.len() == 32) {
                runs.insert(hotkey, run.clone());
            }
        }
        Ok(Self { metagraph, buckets: Arc::new(open), runs })
    }

    /// A subnet whose buckets a test brings along.
    #[cfg(test)]
    pub(crate) fn of(metagraph: Metagraph, buckets: BTreeMap<AccountId, Arc<dyn Store>>) -> Self {
        Self { metagraph, buckets: Arc::new(buckets), runs: BTreeMap::new() }
    }

    /// The same where these validators have committed a run.
    #[cfg(test)]
    pub(crate) fn with_run(mut self, run: [u8; 32], validators: &[AccountId]) -> Self {
        self.runs.extend(validators.iter().map(|hotkey| (hotkey.clone(), run.to_vec())));
        self
    }

    /// Every bucket that can be read, by its owner.
    pub(super) fn buckets(&self) -> Arc<BTreeMap<AccountId, Arc<dyn Store>>> {
        self.buckets.clone()
    }

    /// The bucket of a peer, to read from.
    pub fn store(&self, hotkey: &AccountId) -> Option<&Arc<dyn Store>> {
        self.buckets.get(hotkey)
    }

    /// The manifest hash that a validator committed, 32 bytes.
    pub fn run(&self, hotkey: &AccountId) -> Option<&[u8]> {
        self.runs.get(hotkey).map(Vec::as_slice)
    }

    /// Neurons whose bucket can be read, ascending by UID.
    pub fn peers(&self) -> impl Iterator<Item = (&Neuron, &Arc<dyn Store>)> {
        self.metagraph.neurons.iter().filter_map(|n| Some((n, self.buckets.get(&n.hotkey)?)))
    }

    /// The validators of a run with their buckets, the highest stake first: with a permit, and the run's hash committed.
    pub fn validators(&self, run: &[u8; 32]) -> Vec<(AccountId, Arc<dyn Store>)> {
        let ours = self.by_stake().filter(|n| self.run(&n.hotkey) == Some(run));
        let stored = |neuron: &Neuron| Some((neuron.hotkey.clone(), self.store(&neuron.hotkey)?.clone()));
        ours.filter_map(stored).collect()
    }

    /// Of those that serve this run, the validator with the highest stake: it decides, unless it misses its
    /// [turn](crate::succession).
    ///
    /// # Errors
    /// [`NodeError::OtherRun`] where validators serve another run and none this one, [`NodeError::NoLeader`] where there is none.
    pub fn leader(&self, run: &[u8; 32]) -> Result<Leader<'_>, NodeError> {
        let ours = |neuron: &&Neuron| self.run(&neuron.hotkey) == Some(run);
        if let Some(leader) = self.by_stake().filter(ours).find_map(|neuron| self.led_by(neuron)) {
            return Ok(leader);
        }
        match self.any_leader() {
            Ok(other) => Err(NodeError::OtherRun { theirs: hex::encode(other.run), ours: hex::encode(run) }),
            Err(error) => Err(error),
        }
    }

    /// Of those that serve any run, the validator with the highest stake.
    ///
    /// # Errors
    /// [`NodeError::NoLeader`].
    pub fn any_leader(&self) -> Result<Leader<'_>, NodeError> {
        let found = self.by_stake().find_map(|neuron| self.led_by(neuron));
        found.ok_or(NodeError::NoLeader(self.metagraph.netuid))
    }

    fn led_by(&self, neuron: &Neuron) -> Option<Leader<'_>> {
        let (hotkey, store) = self.buckets.get_key_value(&neuron.hotkey)?;
        Some(Leader { hotkey, store: store.as_ref(), run: self.runs.get(hotkey)? })
    }

    /// Validators by stake, the highest first, the lowest UID of equals.
    fn by_stake(&self) -> impl Iterator<Item = &Neuron> {
        let mut neurons: Vec<_> = self.metagraph.validators().collect();
        neurons.sort_by_key(|neuron| (std::cmp::Reverse(neuron.stake), neuron.uid));
        neurons.into_iter()
    }
}

/// The validator with the highest stake.
#[derive(Debug)]
pub struct Leader<'a> {
    /// The leader's hotkey.
    pub hotkey: &'a AccountId,
    /// Its bucket, to read from.
    pub store: &'a dyn Store,
    /// The manifest hash that it committed, 32 bytes.
    pub run: &'a [u8],
}

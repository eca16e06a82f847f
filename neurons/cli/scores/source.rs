//! Where a score log comes from: a validator's bucket, or a file.

use crate::cli::{Exit, Failure, NetworkArgs};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::{fmt, path::PathBuf, sync::Arc};
use templar::{
    bucket::Endpoint,
    chain::{Chain, Neuron},
    manifest::ManifestFile,
    node::{self, BucketCache, Directory, Scores},
    telemetry::score_log::{self, LoggedWindow},
    wallet::verify,
    window::{NetUid, Uid, Window},
};

/// Logs that are fetched at the same time.
const AT_ONCE: usize = 16;
/// The largest log file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Flags that say which network, whose buckets.
#[derive(Debug, Clone, clap::Args)]
pub struct BucketArgs {
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The subnet
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub netuid: NetUid,
    /// Where the buckets are: a URL, with {account_id} for their owners; Cloudflare R2 unless given
    #[arg(long, value_name = "URL", env = "TEMPLAR_BUCKET_ENDPOINT")]
    pub bucket_endpoint: Option<String>,
}

/// Flags that say whose log.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    #[command(flatten)]
    pub at: BucketArgs,
    /// The validator's UID; the leader's (the highest stake of those with a permit) unless given
    #[arg(long, value_name = "UID")]
    pub validator: Option<Uid>,
    /// A score log on this machine, instead of the network
    #[arg(long, value_name = "FILE", conflicts_with = "validator")]
    pub log: Option<PathBuf>,
}

/// Windows, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub from: Window,
    pub to: Window,
}

impl Range {
    /// `A..B`, or one window.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let usage = |message: String| {
            Err(Failure::new(Exit::Usage, message)
                .hint("write the first window, two dots and the last one, such as `--window 120..140`"))
        };
        let number = |text: &str| text.trim().parse::<Window>().ok();
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self { from, to }),
            (Some(from), Some(to)) => usage(format!("the first window, {from}, is after the last one, {to}")),
            _ => usage(format!("`{text}` is no range of windows")),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// A subnet whose chain and buckets can be read, without keys of one's own.
pub struct Subnet {
    pub chain: Arc<dyn Chain>,
    pub netuid: NetUid,
    pub buckets: BucketCache,
    pub directory: Directory,
}

impl BucketArgs {
    /// Connects and reads who is there.
    pub async fn open(&self) -> Result<Subnet, Failure> {
        let endpoint = match self.bucket_endpoint.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => text.parse()?,
            None => Endpoint::r2(),
        };
        let mut buckets = BucketCache::patient(endpoint);
        let chain: Arc<dyn Chain> = Arc::new(self.network.connect().await?);
        let directory = Directory::read(chain.as_ref(), self.netuid, &mut buckets).await?;
        Ok(Subnet { chain, netuid: self.netuid, buckets, directory })
    }
}

impl Subnet {
    /// The neuron with a UID; the leader without one.
    pub fn validator(&self, uid: Option<Uid>) -> Result<&Neuron, Failure> {
        let netuid = self.netuid;
        match uid {
            Some(uid) => self.directory.metagraph.uid(uid).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("there is no UID {uid} on subnet {netuid}"))
                    .hint(format!("`templar metagraph --netuid {netuid}` lists them"))
            }),
            None => {
                let leader = self.directory.any_leader()?.hotkey;
                self.directory
                    .metagraph
                    .neuron(leader)
                    .ok_or_else(|| node::NodeError::NoLeader(netuid).into())
            }
        }
    }

    /// The published logs of a validator.
    pub fn scores(&self, validator: &Neuron) -> Result<Scores, Failure> {
        let (uid, hotkey) = (validator.uid, &validator.hotkey);
        match (self.directory.store(hotkey), self.directory.run(hotkey)) {
            (Some(store), Some(run)) => Ok(Scores::new(store.clone(), hotkey.clone(), run)),
            _ => Err(Failure::new(Exit::Data, format!("UID {uid} has committed no bucket and run"))
                .hint("only validators publish a score log; name one with --validator")),
        }
    }
}

/// An open log.
pub enum Source {
    /// Read from a file, with every window checked.
    File(Vec<LoggedWindow>),
    /// In a validator's bucket. The run's rules, where the leader's manifest is that of this validator.
    Bucket(Scores, Option<Box<ManifestFile>>),
}

impl SourceArgs {
    /// Opens the log.
    pub async fn open(&self) -> Result<Source, Failure> {
        if let Some(path) = &self.log {
            let fail = |error: std::io::Error| {
                Failure::new(Exit::Storage, format!("cannot read {}: {error}", path.display()))
                    .hint("name a score log, such as `scores.jsonl` in a localnet's folder, with --log")
            };
            if std::fs::metadata(path).map_err(fail)?.len() > MAX_FILE_BYTES {
                return Err(fail(std::io::Error::other("it is larger than 1 GiB")));
            }
            let text = std::fs::read_to_string(path).map_err(fail)?;
            return Ok(Source::File(score_log::read(&text, verify)?));
        }
        let subnet = self.at.open().await?;
        let scores = subnet.scores(subnet.validator(self.validator)?)?;
        let manifest = match node::fetch_manifest(&subnet.directory).await {
            Ok(manifest) => manifest.map(Box::new),
            Err(error) => {
                tracing::debug!(%error, "the run's rules are not at hand");
                None
            }
        };
        Ok(Source::Bucket(scores, manifest))
    }
}

impl Source {
    /// The windows of a range that have a log, in their order; all of them without one.
    pub async fn windows(&self, range: Option<Range>) -> Result<Vec<LoggedWindow>, Failure> {
        let Range { from, to } = range.unwrap_or(Range { from: 0, to: Window::MAX });
        let scores = match self {
            Self::File(windows) => {
                let inside = |window: &&LoggedWindow| (from..=to).contains(&window.closing.closes);
                return Ok(windows.iter().filter(inside).cloned().collect());
            }
            Self::Bucket(scores, _) => scores,
        };
        let windows = scores.windows(from, to).await?;
        stream::iter(windows)
            .map(|window| async move { scores.window(window).await })
            .buffered(AT_ONCE)
            .try_filter_map(|logged| async { Ok(logged) })
            .try_collect()
            .await
            .map_err(Failure::from)
    }

    /// The newest window that has a log.
    pub async fn newest(&self) -> Result<Window, Failure> {
        let newest = match self {
            Self::File(windows) => windows.last().map(|window| window.closing.closes),
            Self::Bucket(scores, _) => scores.newest().await?,
        };
        newest.ok_or_else(|| {
            Failure::new(Exit::Data, "the score log has no window yet").hint(
                "a validator publishes one when it has judged its first window; or name another validator",
            )
        })
    }

    /// The run's rules, where they are known.
    pub fn manifest(&self) -> Option<&ManifestFile> {
        match self {
            Self::File(_) => None,
            Self::Bucket(_, manifest) => manifest.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_refused() {
        assert_eq!(Range::parse("3..7").unwrap(), Range { from: 3, to: 7 });
        assert_eq!(Range::parse("5").unwrap(), Range { from: 5, to: 5 });
        for text in ["7..3", "", "..", "a..b", "3..", "-1..2", "3..4..5"] {
            assert!(Range::parse(text).is_err(), "{text}");
        }
    }
}

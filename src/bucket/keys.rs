//! The keys of a run's objects, written and read back.
//!
//! Every key begins with the run's id, so that a new run needs no new bucket. Windows are padded to ten
//! digits, so that the order of keys is the order of windows; a hotkey is written as ss58.
//!
//! ```
//! use templar::bucket::keys::{Key, RunKeys};
//!
//! let keys = RunKeys::new("0123456789abcdef");
//! assert_eq!(keys.gradient(42), "0123456789abcdef/gradient/0000000042.safetensors");
//! assert_eq!(keys.parse("0123456789abcdef/round/0000000042.json"), Some(Key::Round { window: 42 }));
//! ```

use crate::window::Window;
use sp_core::crypto::{AccountId32, Ss58Codec};

/// Windows have this many digits in a key.
const DIGITS: usize = 10;

const MANIFEST: &str = "manifest.toml";
const START: &str = "start.json";
const PROGRESS: &str = "progress.json";
const LATEST: &str = "checkpoint/latest.json";

/// What an object of a run is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Key {
    /// The run manifest, byte by byte, in the leader's bucket.
    Manifest,
    /// Where the run began, signed by the leader.
    Start,
    /// Where a validator is, for people who watch; unsigned.
    Progress,
    /// What the newest checkpoint is, signed by the leader.
    LatestCheckpoint,
    /// A miner's pseudo-gradient of a window, in its own bucket.
    Gradient {
        /// The window it was trained in.
        window: Window,
    },
    /// The leader's signed record of what everybody aggregates in a window.
    Round {
        /// The window.
        window: Window,
    },
    /// The leader's copy of an accepted pseudo-gradient.
    RoundObject {
        /// The window.
        window: Window,
        /// Whose it is.
        hotkey: AccountId32,
    },
    /// A validator's copy of a pseudo-gradient that it accepted and that was not aggregated.
    Judged {
        /// The window.
        window: Window,
        /// Whose it is.
        hotkey: AccountId32,
    },
    /// What a neuron shows of its model after a window.
    Sync {
        /// The window.
        window: Window,
    },
    /// A validator's score log of a window.
    Scores {
        /// The window.
        window: Window,
    },
    /// What a validator remembers after a window, signed.
    State {
        /// The window.
        window: Window,
    },
    /// Losses on held-out text, of a thousand windows.
    Losses {
        /// The first of them.
        window: Window,
    },
    /// A file of a checkpoint, in the leader's bucket.
    Checkpoint {
        /// The last window whose step is in it.
        window: Window,
        /// The file's name, without slashes.
        file: String,
    },
}

/// Writes and reads the keys of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunKeys {
    run: String,
}

fn ss58(hotkey: &AccountId32) -> String {
    // The version of `Display`, which is that of Substrate chains without an own prefix: 42.
    hotkey.to_ss58check_with_version(sp_core::crypto::Ss58AddressFormat::custom(42))
}

impl RunKeys {
    /// Keys of the run `run_id` (`ManifestFile::run_id`).
    pub fn new(run_id: impl Into<String>) -> Self {
        Self { run: run_id.into() }
    }

    /// The key of anything.
    pub fn key(&self, key: &Key) -> String {
        let run = &self.run;
        match key {
            Key::Manifest => format!("{run}/{MANIFEST}"),
            Key::Start => format!("{run}/{START}"),
            Key::Progress => format!("{run}/{PROGRESS}"),
            Key::LatestCheckpoint => format!("{run}/{LATEST}"),
            Key::Gradient { window } => format!("{run}/gradient/{window:010}.safetensors"),
            Key::Round { window } => format!("{run}/round/{window:010}.json"),
            Key::RoundObject { window, hotkey } => {
                format!("{run}/round/{window:010}/{}.safetensors", ss58(hotkey))
            }
            Key::Judged { window, hotkey } => {
                format!("{run}/judged/{window:010}/{}.safetensors", ss58(hotkey))
            }
            Key::Sync { window } => format!("{run}/sync/{window:010}.json"),
            Key::Scores { window } => format!("{run}/scores/{window:010}.jsonl"),
            Key::State { window } => format!("{run}/state/{window:010}.json"),
            Key::Losses { window } => format!("{run}/losses/{window:010}.json"),
            Key::Checkpoint { window, file } => format!("{run}/checkpoint/{window:010}/{file}"),
        }
    }

    /// `{run}/manifest.toml`
    pub fn manifest(&self) -> String {
        self.key(&Key::Manifest)
    }

    /// `{run}/start.json`
    pub fn start(&self) -> String {
        self.key(&Key::Start)
    }

    /// `{run}/progress.json`
    pub fn progress(&self) -> String {
        self.key(&Key::Progress)
    }

    /// `{run}/checkpoint/latest.json`
    pub fn latest_checkpoint(&self) -> String {
        self.key(&Key::LatestCheckpoint)
    }

    /// `{run}/gradient/{window}.safetensors`
    pub fn gradient(&self, window: Window) -> String {
        self.key(&Key::Gradient { window })
    }

    /// `{run}/round/{window}.json`
    pub fn round(&self, window: Window) -> String {
        self.key(&Key::Round { window })
    }

    /// `{run}/round/{window}/{hotkey}.safetensors`
    pub fn round_object(&self, window: Window, hotkey: &AccountId32) -> String {
        self.key(&Key::RoundObject { window, hotkey: hotkey.clone() })
    }

    /// `{run}/judged/{window}/{hotkey}.safetensors`
    pub fn judged(&self, window: Window, hotkey: &AccountId32) -> String {
        self.key(&Key::Judged { window, hotkey: hotkey.clone() })
    }

    /// `{run}/sync/{window}.json`
    pub fn sync(&self, window: Window) -> String {
        self.key(&Key::Sync { window })
    }

    /// `{run}/scores/{window}.jsonl`
    pub fn scores(&self, window: Window) -> String {
        self.key(&Key::Scores { window })
    }

    /// `{run}/state/{window}.json`
    pub fn state(&self, window: Window) -> String {
        self.key(&Key::State { window })
    }

    /// `{run}/losses/{window}.json`
    pub fn losses(&self, window: Window) -> String {
        self.key(&Key::Losses { window })
    }

    /// `{run}/checkpoint/{window}/{file}`; `file` is a plain name.
    pub fn checkpoint(&self, window: Window, file: &str) -> String {
        self.key(&Key::Checkpoint { window, file: file.to_owned() })
    }

    /// The prefix of a family of keys, to list it: `gradient`, `round`, `judged`, `sync`, `scores`, `state`, `losses`
    /// or `checkpoint`.
    pub fn prefix(&self, family: &str) -> String {
        format!("{}/{family}/", self.run)
    }

    /// A key that sorts before all of a family's keys of `window`, and after those of the windows before
    /// it: give it to [`Store::list_after`](super::Store::list_after) to list from a window on.
    pub fn before(&self, family: &str, window: Window) -> String {
        // All numbers have the same width, and `~` sorts after `.` and `/`.
        match window.checked_sub(1) {
            Some(previous) => format!("{}/{family}/{previous:010}~", self.run),
            None => self.prefix(family),
        }
    }

    /// A key that was read, unless it was written otherwise: another network's address of the same account is another text.
    fn exactly(&self, text: &str, key: Key) -> Option<Key> {
        (self.key(&key) == text).then_some(key)
    }

    /// Reads a key back; `None` if it is not exactly one that [`Self::key`] writes for this run.
    pub fn parse(&self, key: &str) -> Option<Key> {
        let rest = key.strip_prefix(&self.run)?.strip_prefix('/')?;
        match rest {
            MANIFEST => return Some(Key::Manifest),
            START => return Some(Key::Start),
            PROGRESS => return Some(Key::Progress),
            LATEST => return Some(Key::LatestCheckpoint),
            _ => {}
        }
        let (family, name) = rest.split_once('/')?;
        match family {
            "gradient" => Some(Key::Gradient { window: number(name.strip_suffix(".safetensors")?)? }),
            "sync" => Some(Key::Sync { window: number(name.strip_suffix(".json")?)? }),
            "state" => Some(Key::State { window: number(name.strip_suffix(".json")?)? }),
            "losses" => Some(Key::Losses { window: number(name.strip_suffix(".json")?)? }),
            "scores" => Some(Key::Scores { window: number(name.strip_suffix(".jsonl")?)? }),
            "round" => match name.split_once('/') {
                None => Some(Key::Round { window: number(name.strip_suffix(".json")?)? }),
                Some(_) => {
                    let (window, hotkey) = copy(name)?;
                    self.exactly(key, Key::RoundObject { window, hotkey })
                }
            },
            "judged" => {
                let (window, hotkey) = copy(name)?;
                self.exactly(key, Key::Judged { window, hotkey })
            }
            "checkpoint" => {
                let (window, file) = name.split_once('/')?;
                let plain = !file.is_empty() && !file.contains('/');
                plain.then_some(Key::Checkpoint { window: number(window)?, file: file.to_owned() })
            }
            _ => None,
        }
    }
}

/// The window and the peer of a copy.
fn copy(name: &str) -> Option<(Window, AccountId32)> {
    let (window, object) = name.split_once('/')?;
    let hotkey = AccountId32::from_ss58check(object.strip_suffix(".safetensors")?).ok()?;
    Some((number(window)?, hotkey))
}

impl Key {
    /// The window it belongs to, if it belongs to one.
    pub fn window(&self) -> Option<Window> {
        match self {
            Self::Manifest | Self::Start | Self::Progress | Self::LatestCheckpoint => None,
            Self::Gradient { window }
            | Self::Round { window }
            | Self::RoundObject { window, .. }
            | Self::Judged { window, .. }
            | Self::Sync { window }
            | Self::Scores { window }
            | Self::State { window }
            | Self::Losses { window }
            | Self::Checkpoint { window, .. } => Some(*window),
        }
    }
}

fn number(text: &str) -> Option<Window> {
    let plain = text.len() >= DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    // A window of more than ten digits is written without padding.
    let unpadded = text.len() == DIGITS || !text.starts_with('0');
    (plain && unpadded).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::check_key;

    const RUN: &str = "0123456789abcdef";
    /// Substrate's well-known development account.
    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn keys_are_as_written_in_the_protocol_and_parse_back() {
        let keys = RunKeys::new(RUN);
        let hotkey = AccountId32::from_ss58check(ALICE).unwrap();
        let cases = [
            (Key::Manifest, format!("{RUN}/manifest.toml")),
            (Key::Gradient { window: 7 }, format!("{RUN}/gradient/0000000007.safetensors")),
            (Key::Round { window: 62834 }, format!("{RUN}/round/0000062834.json")),
            (
                Key::RoundObject { window: 7, hotkey: hotkey.clone() },
                format!("{RUN}/round/0000000007/{ALICE}.safetensors"),
            ),
            (Key::Judged { window: 7, hotkey }, format!("{RUN}/judged/0000000007/{ALICE}.safetensors")),
            (Key::Sync { window: 0 }, format!("{RUN}/sync/0000000000.json")),
            (Key::Scores { window: 1 }, format!("{RUN}/scores/0000000001.jsonl")),
            (Key::State { window: 1 }, format!("{RUN}/state/0000000001.json")),
            (Key::Losses { window: 3000 }, format!("{RUN}/losses/0000003000.json")),
            (
                Key::Checkpoint { window: 20, file: "model.safetensors".into() },
                format!("{RUN}/checkpoint/0000000020/model.safetensors"),
            ),
            (Key::Gradient { window: 12345678901 }, format!("{RUN}/gradient/12345678901.safetensors")),
        ];
        for (key, text) in cases {
            assert_eq!(keys.key(&key), text);
            assert_eq!(keys.parse(&text), Some(key));
            check_key(&text).unwrap();
        }
    }

    #[test]
    fn what_is_written_otherwise_is_not_a_key_of_the_run() {
        let keys = RunKeys::new(RUN);
        for text in [
            "fedcba9876543210/gradient/0000000007.safetensors".to_owned(),
            format!("{RUN}/gradient/7.safetensors"),
            format!("{RUN}/gradient/00000000007.safetensors"),
            format!("{RUN}/gradient/+000000007.safetensors"),
            format!("{RUN}/gradient/99999999999999999999999.safetensors"),
            format!("{RUN}/gradient/0000000007.safetensors.1"),
            format!("{RUN}/round/0000000007/nobody.safetensors"),
            format!("{RUN}/judged/0000000007.safetensors"),
            format!("{RUN}/checkpoint/0000000007/"),
            format!("{RUN}/checkpoint/0000000007/a/b"),
            format!("{RUN}/other/0000000007.json"),
            RUN.to_owned(),
        ] {
            assert_eq!(keys.parse(&text), None, "{text}");
        }
    }

    #[test]
    fn listing_can_start_at_a_window() {
        let keys = RunKeys::new(RUN);
        let start = keys.before("round", 7);
        let hotkey = AccountId32::from_ss58check(ALICE).unwrap();
        assert!(keys.round(6) < start && keys.round_object(6, &hotkey) < start);
        assert!(keys.round(7) > start && keys.round_object(7, &hotkey) > start);
        assert!(keys.before("round", 0) < keys.round(0));
    }
}

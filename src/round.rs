//! Rounds: which pseudo-gradients made the step of a window.
//!
//! One validator decides a window and publishes a signed [`RoundRecord`]; the [`succession`](crate::succession) says which. A
//! record names the pseudo-gradients that everybody aggregates, by content digest, the hash of the model before the step, and
//! the hash of the record before it, so the model is a pure function of the run manifest and the chain of records, and a node
//! that has diverged knows it at once. A window without a record, and one whose record says so, is *null*: no step, no scores.

use crate::{
    succession::Passed,
    wallet::{AccountId, Keypair, verify},
    window::{NetUid, Uid, Window},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest signed document that is read from a bucket, in bytes. A record of 256 peers has about 60 kB.
pub const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// One pseudo-gradient of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The peer's UID at the time.
    pub uid: Uid,
    /// The peer.
    pub hotkey: AccountId,
    /// Content digest of its pseudo-gradient, hex of 32 bytes.
    pub digest: String,
}

/// Why a window is null although somebody decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Null {
    /// The round before came so late that most peers had no time to train.
    LateRound,
    /// Most of the peers that had delivered until then are missing at once, which is an outage and not their fault.
    Outage,
}

impl Null {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::LateRound => "the round before came too late to train on",
            Self::Outage => "most peers are missing at once",
        }
    }
}

/// What is decided about one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Hash of the run manifest, hex of 32 bytes.
    pub run: String,
    /// The subnet.
    pub netuid: NetUid,
    /// Who decides, and signs.
    pub by: AccountId,
    /// [`SignedRound::hash`] of the record before; none for the run's first.
    pub previous: Option<String>,
    /// Who has missed a turn, and in which window.
    #[serde(default, skip_serializing_if = "Passed::is_empty")]
    pub passed: Passed,
    /// Why there is no step and nobody is scored, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null: Option<Null>,
    /// The window whose pseudo-gradients these are.
    pub window: Window,
    /// Steps taken before this one: the index into the outer schedule.
    pub round: u64,
    /// Hash of the model before the step, hex of 32 bytes.
    pub model: String,
    /// The pseudo-gradients to aggregate, ascending by UID; empty for a window without a step.
    pub accepted: Vec<Accepted>,
}

/// Where a run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStart {
    /// Hash of the run manifest, hex of 32 bytes.
    pub run: String,
    /// The subnet.
    pub netuid: NetUid,
    /// The first window that is trained.
    pub start_window: Window,
}

/// The state of a node's model after a window, as it publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRecord {
    /// Hash of the run manifest, hex of 32 bytes.
    pub run: String,
    /// The last window whose round was applied.
    pub window: Window,
    /// Steps taken.
    pub round: u64,
    /// Hash of the model, hex of 32 bytes.
    pub model: String,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Its name, beside the record.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// blake3 of its content, hex of 32 bytes.
    pub hash: String,
}

/// A checkpoint, as its signed sidecar describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Hash of the run manifest, hex of 32 bytes.
    pub run: String,
    /// The last window whose round the model contains.
    pub window: Window,
    /// Steps taken.
    pub round: u64,
    /// Hash of the model, hex of 32 bytes.
    pub model: String,
    /// The files that the model is in, in its own order.
    pub files: Vec<CheckpointFile>,
}

impl CheckpointRecord {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// What is signed, so that a signature over one kind of document never counts for another.
pub trait Document: Serialize + DeserializeOwned {
    /// The kind's name in the signed message.
    const KIND: &'static str;
}

impl Document for RoundRecord {
    const KIND: &'static str = "round";
}
impl Document for RunStart {
    const KIND: &'static str = "start";
}
impl Document for SyncRecord {
    const KIND: &'static str = "sync";
}
impl Document for CheckpointRecord {
    const KIND: &'static str = "checkpoint";
}

/// Why a signed document is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The bytes are not a signed document of this kind.
    #[error("not a signed {kind} document")]
    Malformed {
        /// What was expected.
        kind: &'static str,
    },
    /// Another key signed it, or the signature does not fit.
    #[error("the {kind} document is not signed by {expected}")]
    Signature {
        /// What was expected.
        kind: &'static str,
        /// Who should have signed.
        expected: AccountId,
    },
    /// It cannot be written as JSON.
    #[error("cannot write the {kind} document")]
    Write {
        /// What was to be written.
        kind: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    /// The document's JSON, kept as text so that the signed bytes are exact.
    body: String,
    hotkey: AccountId,
    signature: String,
}

fn message(kind: &str, body: &str) -> Vec<u8> {
    format!("templar/{kind}/{body}").into_bytes()
}

/// Signs a document with a hotkey.
pub fn sign<D: Document>(document: &D, signer: &Keypair) -> Result<Vec<u8>, DocumentError> {
    let write = |_| DocumentError::Write { kind: D::KIND };
    let body = serde_json::to_string(document).map_err(write)?;
    let signature = hex::encode(signer.sign(&message(D::KIND, &body)));
    serde_json::to_vec(&Envelope { body, hotkey: signer.account(), signature }).map_err(write)
}

/// Opens a document that `expected` must have signed.
pub fn open<D: Document>(bytes: &[u8], expected: &AccountId) -> Result<D, DocumentError> {
    let malformed = || DocumentError::Malformed { kind: D::KIND };
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    let mut signature = [0; 64];
    hex::decode_to_slice(&envelope.signature, &mut signature).map_err(|_| malformed())?;
    let signed = message(D::KIND, &envelope.body);
    if envelope.hotkey != *expected || !verify(expected, &signed, &signature) {
        return Err(DocumentError::Signature { kind: D::KIND, expected: expected.clone() });
    }
    serde_json::from_str(&envelope.body).map_err(|_| malformed())
}

/// A round record as whoever decided signed it. Every validator keeps and passes on these very bytes, so that nobody's word has to
/// be taken for another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRound {
    /// What it says.
    pub record: RoundRecord,
    /// blake3 of the signed text, hex of 32 bytes: what the next record calls [`RoundRecord::previous`].
    pub hash: String,
    /// The signed document.
    pub bytes: Bytes,
}

impl SignedRound {
    /// Signs a record.
    ///
    /// # Errors
    /// [`DocumentError::Signature`] for a record that names somebody else.
    pub fn sign(record: RoundRecord, signer: &Keypair) -> Result<Self, DocumentError> {
        Self::open(sign(&record, signer)?.into())
    }

    /// Opens a record and checks that it is signed by whom it names. Whether that one could decide is another question.
    ///
    /// # Errors
    /// [`DocumentError::Malformed`], [`DocumentError::Signature`].
    pub fn open(bytes: Bytes) -> Result<Self, DocumentError> {
        let kind = RoundRecord::KIND;
        let envelope: Envelope =
            serde_json::from_slice(&bytes).map_err(|_| DocumentError::Malformed { kind })?;
        let record: RoundRecord = open(&bytes, &envelope.hotkey)?;
        if record.by != envelope.hotkey {
            return Err(DocumentError::Signature { kind, expected: record.by });
        }
        let hash = blake3::hash(envelope.body.as_bytes()).to_hex().to_string();
        Ok(Self { record, hash, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RoundRecord {
        RoundRecord {
            run: "00".repeat(32),
            netuid: 3,
            by: Keypair::from_uri("//Alice").unwrap().account(),
            previous: None,
            passed: Passed::default(),
            null: None,
            window: 12,
            round: 4,
            model: "11".repeat(32),
            accepted: vec![],
        }
    }

    #[test]
    fn a_signed_record_opens_for_its_signer_alone() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let bob = Keypair::from_uri("//Bob").unwrap();
        let bytes = sign(&record(), &alice).unwrap();
        assert_eq!(open::<RoundRecord>(&bytes, &alice.account()).unwrap(), record());
        assert!(matches!(open::<RoundRecord>(&bytes, &bob.account()), Err(DocumentError::Signature { .. })));
    }

    #[test]
    fn a_changed_body_or_another_kind_is_refused() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let bytes = sign(&record(), &alice).unwrap();
        let changed =
            String::from_utf8(bytes.clone()).unwrap().replace("\\\"window\\\":12", "\\\"window\\\":13");
        assert_ne!(changed.as_bytes(), bytes);
        assert!(matches!(
            open::<RoundRecord>(changed.as_bytes(), &alice.account()),
            Err(DocumentError::Signature { .. })
        ));
        assert!(matches!(open::<SyncRecord>(&bytes, &alice.account()), Err(DocumentError::Signature { .. })));
        assert!(matches!(open::<RoundRecord>(b"{}", &alice.account()), Err(DocumentError::Malformed { .. })));
    }

    #[test]
    fn a_record_counts_for_whom_it_names_and_has_one_hash_in_every_bucket() {
        let [alice, bob] = ["//Alice", "//Bob"].map(|uri| Keypair::from_uri(uri).unwrap());
        let ours = SignedRound::sign(record(), &alice).unwrap();
        assert_eq!(SignedRound::open(ours.bytes.clone()).unwrap(), ours);
        // sr25519 signatures differ each time; what is signed does not.
        let again = SignedRound::sign(record(), &alice).unwrap();
        assert_eq!(again.hash, ours.hash);
        assert_ne!(again.bytes, ours.bytes);
        let other = SignedRound::sign(RoundRecord { window: 13, ..record() }, &alice).unwrap();
        assert_ne!(other.hash, ours.hash);
        assert!(matches!(SignedRound::sign(record(), &bob), Err(DocumentError::Signature { .. })));
        assert!(matches!(SignedRound::open(Bytes::from_static(b"{}")), Err(DocumentError::Malformed { .. })));
        // What most records need not say is not in them.
        let text = serde_json::to_string(&record()).unwrap();
        assert!(!text.contains("passed") && !text.contains("null\":\""), "{text}");
    }
}

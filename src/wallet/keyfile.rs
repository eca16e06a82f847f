//! Bittensor's JSON keyfiles: read leniently, written so that its own tools read them.
//!
//! A secret keyfile has the fields `accountId`, `publicKey`, `privateKey`, `secretPhrase`, `secretSeed` and
//! `ss58Address`, in any order; newer tools add the integer `cryptoType`. A public one lacks the secrets.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use serde_json::{Map, Value};
use sp_core::crypto::AccountId32;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Keypair, WalletError, parse_address};

/// No keyfile is larger; whatever is, is something else.
const MAX_BYTES: u64 = 64 * 1024;
/// `cryptoType` of sr25519.
const SR25519: u64 = 1;

/// The fields of a keyfile. Its texts are wiped when it is dropped.
struct Fields(Map<String, Value>);

impl Drop for Fields {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn bytes(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let text = self.text(name)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok().map(Zeroizing::new)
    }

    /// The account that the file says it is for. Any one of three fields may hold it.
    fn account(&self) -> Option<AccountId32> {
        self.text("ss58Address").and_then(|text| parse_address(text).ok()).or_else(|| {
            ["publicKey", "accountId"]
                .into_iter()
                .find_map(|name| <[u8; 32]>::try_from(self.bytes(name)?.as_slice()).ok())
                .map(AccountId32::new)
        })
    }
}

/// Reads the key pair of a keyfile: from its phrase, else its seed, else its expanded secret.
///
/// # Errors
/// Whatever keeps the secret from being read; see [`WalletError`].
pub fn read_secret(path: &Path) -> Result<Keypair, WalletError> {
    let fields = read(path)?;
    let malformed = |reason| WalletError::Malformed { path: path.to_owned(), reason };
    if fields.0.get("cryptoType").is_some_and(|kind| kind.as_u64().is_some_and(|kind| kind != SR25519)) {
        return Err(malformed("its key is not of the type sr25519"));
    }
    let account = fields.account();
    let keypair = if let Some(phrase) = fields.text("secretPhrase") {
        Keypair::from_phrase(phrase).map_err(|_| malformed("secretPhrase is not a phrase"))?
    } else if let Some(seed) = fields.text("secretSeed").map(|_| fields.bytes("secretSeed")) {
        let seed = seed.and_then(|seed| <[u8; 32]>::try_from(seed.as_slice()).ok());
        Keypair::from_seed(seed.ok_or_else(|| malformed("secretSeed is not 32 bytes in hex"))?)
    } else if let Some(secret) = fields.text("privateKey").map(|_| fields.bytes("privateKey")) {
        let secret = secret.filter(|secret| secret.len() == 64);
        let secret = secret.ok_or_else(|| malformed("privateKey is not 64 bytes in hex"))?;
        let account = account.as_ref().ok_or_else(|| malformed("it names no address"))?;
        Keypair::from_expanded(&secret, account)
            .ok_or_else(|| WalletError::Mismatch { path: path.to_owned() })?
    } else if account.is_some() {
        return Err(WalletError::PublicOnly { path: path.to_owned() });
    } else {
        return Err(malformed("it has neither a secret nor an address"));
    };
    match account {
        Some(account) if account != keypair.account() => Err(WalletError::Mismatch { path: path.to_owned() }),
        _ => Ok(keypair),
    }
}

/// Reads the account that a keyfile, secret or public, is for.
///
/// # Errors
/// Whatever keeps the file from being read; see [`WalletError`].
pub fn read_account(path: &Path) -> Result<AccountId32, WalletError> {
    match read(path)?.account() {
        Some(account) => Ok(account),
        None => read_secret(path).map(|keypair| keypair.account()),
    }
}

/// Writes the keyfile of a phrase, with mode 0600, and makes its folders with 0700.
///
/// # Errors
/// [`WalletError::Exists`] rather than overwrite anything.
pub fn write_secret(path: &Path, phrase: &str) -> Result<Keypair, WalletError> {
    let (keypair, seed) = Keypair::from_phrase_with_seed(phrase)?;
    let mut fields = public_fields(&keypair.account());
    for (name, secret) in [
        ("privateKey", format!("0x{}", hex::encode(*keypair.expanded()))),
        ("secretPhrase", phrase.to_owned()),
        ("secretSeed", format!("0x{}", hex::encode(*seed))),
    ] {
        fields.0.insert(name.to_owned(), Value::String(secret));
    }
    write(path, &fields)?;
    Ok(keypair)
}

/// Writes the public keyfile of an account, with mode 0600.
///
/// # Errors
/// [`WalletError::Exists`] rather than overwrite anything.
pub fn write_public(path: &Path, account: &AccountId32) -> Result<(), WalletError> {
    write(path, &public_fields(account))
}

/// `cryptoType` is left out on purpose: one version of Bittensor's own reader wants every value to be text,
/// and all of them take a file without it as sr25519.
fn public_fields(account: &AccountId32) -> Fields {
    let public = format!("0x{}", hex::encode::<&[u8]>(account.as_ref()));
    let fields = [("accountId", public.clone()), ("publicKey", public), ("ss58Address", account.to_string())];
    Fields(fields.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect())
}

fn read(path: &Path) -> Result<Fields, WalletError> {
    let file = fs::File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WalletError::MissingKeyfile { path: path.to_owned() },
        _ => WalletError::Read { path: path.to_owned(), source },
    })?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| WalletError::Read { path: path.to_owned(), source })?;
    if let Some(scheme) = encryption(&bytes) {
        return Err(WalletError::Encrypted { path: path.to_owned(), scheme });
    }
    let malformed = |reason| WalletError::Malformed { path: path.to_owned(), reason };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(malformed("it is too large"));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(Fields(fields)),
        Ok(_) => Err(malformed("it is not a JSON object")),
        // The parser's own message could quote the file.
        Err(_) => Err(malformed("it is not JSON")),
    }
}

/// The encryption of a keyfile, which its first bytes tell.
fn encryption(bytes: &[u8]) -> Option<&'static str> {
    [(&b"$NACL"[..], "NaCl"), (b"$ANSIBLE_VAULT", "Ansible vault"), (b"gAAAAA", "Fernet")]
        .into_iter()
        .find_map(|(prefix, scheme)| bytes.starts_with(prefix).then_some(scheme))
}

fn write(path: &Path, fields: &Fields) -> Result<(), WalletError> {
    let failed = |source| WalletError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let text = serde_json::to_vec(&fields.0).map(Zeroizing::new).map_err(|e| failed(e.into()))?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|source| {
            match source.kind() {
                io::ErrorKind::AlreadyExists => WalletError::Exists { path: path.to_owned() },
                _ => WalletError::Write { path: path.to_owned(), source },
            }
        })?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(|source| {
        // Half a keyfile is worse than none: it would be in the way of the next try.
        let _ = fs::remove_file(path);
        WalletError::Write { path: path.to_owned(), source }
    })
}

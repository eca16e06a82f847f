//! Bittensor's JSON keyfiles: read leniently, written so that its own tools read them.
//!
//! A secret keyfile has the fields `accountId`, `publicKey`, `privateKey`, `secretPhrase`, `secretSeed` and
//! `ss58Address`, in any order; newer tools add the integer `cryptoType`. A public one lacks the secrets. Any of
//! them may be encrypted as a whole; see [`encryption`](super::encryption).

mod write;

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use serde_json::{Map, Value};
use sp_core::crypto::AccountId32;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Keypair, Password, Passwords, WalletError,
    encryption::{CipherError, Scheme, Sealed},
    parse_address,
};
pub(crate) use write::set_password;
pub use write::{write_public, write_secret};

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
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, WalletError> {
        let malformed = |reason| WalletError::Malformed { path: path.to_owned(), reason };
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(malformed("it is not a JSON object")),
            // The parser's own message could quote the file.
            Err(_) => Err(malformed("it is not JSON")),
        }
    }

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

/// Reads the key pair of a keyfile that is not encrypted: [`read_secret_with`] no password.
///
/// # Errors
/// [`WalletError::Encrypted`] if it is; whatever keeps the secret from being read.
pub fn read_secret(path: &Path) -> Result<Keypair, WalletError> {
    read_secret_with(path, &no_password)
}

/// Reads the key pair of a keyfile: from its phrase, else its seed, else its expanded secret. `passwords` is
/// asked if the file is encrypted.
///
/// # Errors
/// Whatever keeps the secret from being read; see [`WalletError`].
pub fn read_secret_with(path: &Path, passwords: &dyn Passwords) -> Result<Keypair, WalletError> {
    keypair(path, &Fields::parse(path, &open(path, passwords)?)?)
}

/// The key pair in a keyfile's fields.
fn keypair(path: &Path, fields: &Fields) -> Result<Keypair, WalletError> {
    let malformed = |reason| WalletError::Malformed { path: path.to_owned(), reason };
    match fields.0.get("cryptoType").and_then(Value::as_u64) {
        None | Some(SR25519) => {}
        Some(0) => return Err(WalletError::OtherKeyType { path: path.to_owned(), kind: "ed25519" }),
        Some(2) => return Err(WalletError::OtherKeyType { path: path.to_owned(), kind: "ecdsa" }),
        Some(_) => return Err(malformed("its cryptoType is unknown")),
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

/// Reads the account that a keyfile, secret or public, is for, if that is not encrypted.
///
/// # Errors
/// Whatever keeps the file from being read; see [`WalletError`].
pub fn read_account(path: &Path) -> Result<AccountId32, WalletError> {
    let fields = Fields::parse(path, &open(path, &no_password)?)?;
    match fields.account() {
        Some(account) => Ok(account),
        None => keypair(path, &fields).map(|keypair| keypair.account()),
    }
}

fn no_password(_: &Path) -> Result<Option<Password>, WalletError> {
    Ok(None)
}

/// The bytes of a keyfile as they lie on disk.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    let file = fs::File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WalletError::MissingKeyfile { path: path.to_owned() },
        _ => WalletError::Read { path: path.to_owned(), source },
    })?;
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 64));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| WalletError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(WalletError::Malformed { path: path.to_owned(), reason: "it is too large" });
    }
    Ok(bytes)
}

/// The JSON of a keyfile.
fn open(path: &Path, passwords: &dyn Passwords) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    let bytes = read(path)?;
    let Some(scheme) = Scheme::of(&bytes) else { return Ok(bytes) };
    let sealed = Sealed::parse(scheme, &bytes).map_err(|e| cipher_error(path, e))?;
    let password =
        passwords.password(path)?.ok_or_else(|| WalletError::Encrypted { path: path.to_owned(), scheme })?;
    sealed.open(&password).map_err(|e| cipher_error(path, e))
}

/// Whether a keyfile is encrypted, and how.
///
/// # Errors
/// [`WalletError::MissingKeyfile`] or [`WalletError::Read`] if it cannot be read.
pub fn encryption(path: &Path) -> Result<Option<Scheme>, WalletError> {
    read(path).map(|bytes| Scheme::of(&bytes))
}

fn cipher_error(path: &Path, error: CipherError) -> WalletError {
    let path = path.to_owned();
    match error {
        CipherError::WrongPassword => WalletError::WrongPassword { path },
        CipherError::Damaged(reason) => WalletError::Malformed { path, reason },
        CipherError::Memory => WalletError::Resources { path, reason: "there is not enough memory" },
        CipherError::Randomness => WalletError::Resources { path, reason: "there are no random bytes" },
    }
}

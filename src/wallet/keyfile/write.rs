//! Writing keyfiles: for their owner only, whole or not at all, and never over another.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use serde_json::Value;
use sp_core::crypto::AccountId32;
use zeroize::Zeroizing;

use super::{
    super::{Keypair, Password, Passwords, Secret, WalletError, encryption},
    Fields, MAX_BYTES, cipher_error, keypair, open,
};

/// Writes a keyfile, encrypted if there is a password (which takes seconds), with mode 0600, and makes its
/// folders with 0700.
///
/// # Errors
/// [`WalletError::Exists`] rather than overwrite anything.
pub fn write_secret(path: &Path, secret: &Secret, password: Option<&Password>) -> Result<(), WalletError> {
    let mut fields = public_fields(&secret.account());
    for (name, text) in secret.fields() {
        fields.0.insert(name.to_owned(), Value::String(text));
    }
    let text = json(path, &fields)?;
    match password {
        None => write_new(path, &text),
        Some(password) => {
            // Seconds later the answer would be the same.
            if path.exists() {
                return Err(WalletError::Exists { path: path.to_owned() });
            }
            write_new(path, &encryption::seal(&text, password).map_err(|e| cipher_error(path, e))?)
        }
    }
}

/// Writes the public keyfile of an account, with mode 0600.
///
/// # Errors
/// [`WalletError::Exists`] rather than overwrite anything.
pub fn write_public(path: &Path, account: &AccountId32) -> Result<(), WalletError> {
    write_new(path, &json(path, &public_fields(account))?)
}

/// Gives a keyfile a new password, or none. The old file is there, whole, until the new one is.
///
/// # Errors
/// Whatever keeps the file from being opened with `passwords`, or from being written.
pub(crate) fn set_password(
    path: &Path,
    passwords: &dyn Passwords,
    new: impl FnOnce() -> Result<Option<Password>, WalletError>,
) -> Result<Keypair, WalletError> {
    let failed = |source| WalletError::Write { path: path.to_owned(), source };
    // A link stays one: what it leads to is replaced.
    let target = fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WalletError::MissingKeyfile { path: path.to_owned() },
        _ => WalletError::Read { path: path.to_owned(), source },
    })?;
    let text = open(path, passwords)?;
    let keypair = keypair(path, &Fields::parse(path, &text)?)?;
    match new()? {
        None => replace(&target, &text).map_err(failed)?,
        Some(password) => {
            let sealed = encryption::seal(&text, &password).map_err(|e| cipher_error(path, e))?;
            replace(&target, &sealed).map_err(failed)?;
        }
    }
    Ok(keypair)
}

/// `cryptoType` is left out on purpose: one version of Bittensor's own reader wants every value to be text,
/// and all of them take a file without it as sr25519.
fn public_fields(account: &AccountId32) -> Fields {
    let public = format!("0x{}", hex::encode::<&[u8]>(account.as_ref()));
    let fields = [("accountId", public.clone()), ("publicKey", public), ("ss58Address", account.to_string())];
    Fields(fields.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect())
}

fn json(path: &Path, fields: &Fields) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
    serde_json::to_writer(&mut *text, &fields.0)
        .map_err(|e| WalletError::Write { path: path.to_owned(), source: e.into() })?;
    Ok(text)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => WalletError::Exists { path: path.to_owned() },
        _ => WalletError::Write { path: path.to_owned(), source },
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let file = complete(folder, bytes).map_err(failed)?;
    file.persist_noclobber(path).map_err(|e| failed(e.error))?;
    sync(folder).map_err(failed)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    complete(folder, bytes)?.persist(path).map_err(|e| e.error)?;
    sync(folder)
}

/// A file under another name, on disk to its last byte, with mode 0600. It is gone if it is not kept. Its name
/// starts with a dot, so that it is no hotkey if the machine stops here.
fn complete(folder: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".keyfile-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

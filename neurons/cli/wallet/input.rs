//! What a command reads: a phrase or seed, a message. Secrets are wiped; nothing of any size is taken.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use templar::wallet::{Secret, WalletError, password::ask_at_terminal};
use zeroize::Zeroizing;

use crate::cli::{Exit, Failure};

/// No phrase is longer.
const MAX_SECRET: usize = 4096;
/// A longer text is signed by its hash.
const MAX_MESSAGE: usize = 16 << 20;

/// A phrase or seed: from the file, from whoever sits at the terminal, or from stdin.
pub fn secret(file: Option<&Path>, spec: &str) -> Result<Secret, Failure> {
    let bytes = match file {
        Some(path) => {
            let failed = |source| WalletError::Read { path: path.to_owned(), source };
            let file = File::open(path).map_err(failed)?;
            if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
                eprintln!("warning: {} can be read by others; delete it when this is done", path.display());
            }
            read(file, MAX_SECRET).map_err(failed)?
        }
        None if io::stdin().is_terminal() && io::stderr().is_terminal() => {
            let text = ask_at_terminal(&format!("phrase or seed of {spec} (it is not shown): "))
                .map_err(|source| WalletError::Prompt { source })?;
            Some(Zeroizing::new(text.as_bytes().to_vec()))
        }
        None => read(io::stdin().lock(), MAX_SECRET).map_err(stdin)?,
    };
    let text = bytes.as_ref().and_then(|bytes| str::from_utf8(bytes).ok());
    text.map_or(Err(WalletError::InvalidSecret), Secret::parse).map_err(Failure::from)
}

/// A message: the text, or stdin byte for byte.
pub fn message(text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if let Some(text) = text {
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    if io::stdin().is_terminal() {
        eprintln!("type the message and end it with Ctrl-D");
    }
    read(io::stdin().lock(), MAX_MESSAGE).map_err(stdin)?.ok_or_else(|| {
        Failure::new(Exit::Usage, "the message is over 16 MiB").hint("sign the file's hash instead")
    })
}

fn stdin(error: io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("cannot read stdin: {error}")).hint("pipe a text into the command")
}

/// All of it; none if it is more than `limit` bytes.
fn read(from: impl Read, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // A small secret never makes the vector grow, which would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 64));
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

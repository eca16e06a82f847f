//! Passwords of keyfiles, and who is asked for them.
//!
//! A password never comes from an argument: those are in every process list and in the shell's history.

use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    io::{IsTerminal as _, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::WalletError;

/// Holds the password of all keyfiles, as it is.
pub const PASSWORD_VARIABLE: &str = "BT_WALLET_PASSWORD";
/// Names a file that holds the password of all keyfiles.
pub const PASSWORD_FILE_VARIABLE: &str = "BT_WALLET_PASSWORD_FILE";
/// No password is longer.
const MAX_BYTES: u64 = 4096;

/// A password. It is wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes a password; none if there is nothing in it.
    pub fn new(text: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = Zeroizing::new(text.into());
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// Reads the password in a file: all of it, but for the end of its last line.
    ///
    /// # Errors
    /// [`WalletError::PasswordFile`] if it is empty, too large, or can be read by others than its owner;
    /// [`WalletError::Read`] if it cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, WalletError> {
        let failed = |source| WalletError::Read { path: path.to_owned(), source };
        let refused = |reason| WalletError::PasswordFile { path: path.to_owned(), reason };
        let file = fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(refused("can be read or written by others than its owner"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 64));
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(refused("is too large for a password"));
        }
        let line =
            bytes.strip_suffix(b"\n").map_or(&**bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
        Self::new(line).ok_or_else(|| refused("is empty"))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Who knows the passwords of keyfiles. It is asked only about files that are encrypted.
pub trait Passwords {
    /// The password of `keyfile`; none if it is not known.
    ///
    /// # Errors
    /// Whatever is wrong with the place where the password should be.
    fn password(&self, keyfile: &Path) -> Result<Option<Password>, WalletError>;
}

impl<F: Fn(&Path) -> Result<Option<Password>, WalletError>> Passwords for F {
    fn password(&self, keyfile: &Path) -> Result<Option<Password>, WalletError> {
        self(keyfile)
    }
}

/// Shows a question and gives the answer.
type Ask = Box<dyn Fn(&str) -> io::Result<Zeroizing<String>> + Send + Sync>;
/// Looks a variable up.
type Environment = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The places where a password may be, in this order: a file, the variable `BT_PW_...` of the keyfile,
/// `BT_WALLET_PASSWORD`, the file that `BT_WALLET_PASSWORD_FILE` names, and somebody who answers.
pub struct PasswordSources {
    file: Option<PathBuf>,
    environment: Environment,
    ask: Option<Ask>,
}

impl std::fmt::Debug for PasswordSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordSources").field("file", &self.file).finish_non_exhaustive()
    }
}

impl PasswordSources {
    /// The file, if there is one, the environment that is given, and nobody to ask.
    pub fn new(
        file: Option<PathBuf>,
        environment: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        Self { file, environment: Box::new(environment), ask: None }
    }

    /// The file, if there is one, the environment of this process, and whoever sits at its terminal, if it has
    /// one. What is typed is not shown.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let sources = Self::new(file, |name| env::var_os(name));
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            return sources.asking(ask_at_terminal);
        }
        sources
    }

    /// Asks `ask` where no other place has the password.
    #[must_use]
    pub fn asking(
        mut self,
        ask: impl Fn(&str) -> io::Result<Zeroizing<String>> + Send + Sync + 'static,
    ) -> Self {
        self.ask = Some(Box::new(ask));
        self
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        self.ask.is_some()
    }

    /// The password as far as nobody must be asked.
    ///
    /// # Errors
    /// Whatever is wrong with the place that it is in.
    pub fn known(&self, keyfile: &Path) -> Result<Option<Password>, WalletError> {
        if let Some(file) = &self.file {
            return Password::from_file(file).map(Some);
        }
        let set = |name: &str| (self.environment)(name).filter(|value| !value.is_empty());
        for name in variables(keyfile) {
            if let Some(value) = set(&name) {
                return unmask(&name, value).map(Some);
            }
        }
        if let Some(value) = set(PASSWORD_VARIABLE) {
            return Ok(Password::new(value.into_encoded_bytes()));
        }
        set(PASSWORD_FILE_VARIABLE).map(|file| Password::from_file(Path::new(&file))).transpose()
    }

    /// Asks for a new password, twice; none if there is nobody to ask or the answer is empty.
    ///
    /// # Errors
    /// [`WalletError::Repeat`] if the answers differ, [`WalletError::Prompt`] if there is no answer.
    pub fn ask_new(&self, keyfile: &Path) -> Result<Option<Password>, WalletError> {
        let Some(ask) = &self.ask else { return Ok(None) };
        let prompt = |source| WalletError::Prompt { source };
        let first = ask(&format!("new password for {}: ", keyfile.display())).map_err(prompt)?;
        if first.is_empty() {
            return Ok(None);
        }
        let second = ask("the same password again: ").map_err(prompt)?;
        if first != second {
            return Err(WalletError::Repeat);
        }
        Ok(Password::new(first.as_bytes()))
    }
}

impl Passwords for PasswordSources {
    fn password(&self, keyfile: &Path) -> Result<Option<Password>, WalletError> {
        match (self.known(keyfile)?, &self.ask) {
            (None, Some(ask)) => {
                let answer = ask(&format!("password for {}: ", keyfile.display()))
                    .map_err(|source| WalletError::Prompt { source })?;
                Ok(Password::new(answer.as_bytes()))
            }
            (known, _) => Ok(known),
        }
    }
}

/// Asks at the terminal; what is typed is not shown.
///
/// # Errors
/// What the system says of its terminal.
pub fn ask_at_terminal(question: &str) -> io::Result<Zeroizing<String>> {
    let terminal = console::Term::stderr();
    terminal.write_str(question)?;
    terminal.read_secure_line().map(Zeroizing::new)
}

/// The variable that Bittensor's tools look for: `BT_PW_` and the path of the keyfile in capitals, `_` for each
/// slash and dot.
pub fn password_variable(keyfile: &Path) -> String {
    format!("BT_PW_{}", keyfile.to_string_lossy().replace(['/', '.'], "_").to_uppercase())
}

/// The tools take the path as they got it; somebody else may have written it in full, or from the home folder.
fn variables(keyfile: &Path) -> Vec<String> {
    let full = std::path::absolute(keyfile).unwrap_or_else(|_| keyfile.to_owned());
    let short =
        env::home_dir().and_then(|home| full.strip_prefix(home).ok().map(|rest| Path::new("~").join(rest)));
    let mut names: Vec<String> = [Some(keyfile.to_owned()), Some(full), short]
        .iter()
        .flatten()
        .map(|p| password_variable(p))
        .collect();
    names.dedup();
    names
}

/// The tools hide such a password from a passing eye: base64 of its XOR with the variable's name, repeated.
fn unmask(name: &str, value: OsString) -> Result<Password, WalletError> {
    let value = Zeroizing::new(value.into_encoded_bytes());
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    STANDARD
        .decode_vec(value.trim_ascii(), &mut bytes)
        .map_err(|_| WalletError::PasswordVariable { name: name.to_owned() })?;
    bytes.iter_mut().zip(name.bytes().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Password::new(bytes.as_slice()).ok_or_else(|| WalletError::PasswordVariable { name: name.to_owned() })
}

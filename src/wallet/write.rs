//! Keys that come onto the disk, or get another password there.

use std::path::Path;

use super::{
    AccountId, Password, Passwords, Secret, Wallet, WalletError, coldkey_public, keyfile, public_path,
};

impl Wallet {
    /// Makes a new coldkey without a password, and its public file.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than replace a key.
    pub fn create_coldkey(&self) -> Result<AccountId, WalletError> {
        self.write_coldkey(&Secret::generate()?, None)
    }

    /// Makes a new hotkey without a password, and its public file.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than replace a key.
    pub fn create_hotkey(&self) -> Result<AccountId, WalletError> {
        self.write_hotkey(&Secret::generate()?, None)
    }

    /// Writes the coldkey, encrypted if there is a password, and its public file.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than replace a key, [`WalletError::OtherAddress`] if the public file is
    /// there and another key's.
    pub fn write_coldkey(
        &self,
        secret: &Secret,
        password: Option<&Password>,
    ) -> Result<AccountId, WalletError> {
        let path = self.coldkey_path().ok_or_else(|| self.not_on_disk())?;
        write_pair(&path, &coldkey_public(&path), secret, password)
    }

    /// Writes the coldkey's public file alone: enough to look things up and to run a hotkey, on a machine that the coldkey never
    /// sees.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than replace one, [`WalletError::OtherAddress`] if the coldkey is there and another.
    pub fn write_coldkeypub(&self, account: &AccountId) -> Result<(), WalletError> {
        let path = self.coldkey_path().ok_or_else(|| self.not_on_disk())?;
        let public = coldkey_public(&path);
        if public.exists() {
            return Err(WalletError::Exists { path: public });
        }
        match keyfile::read_account(&path) {
            Ok(named) if named != *account => {
                return Err(WalletError::OtherAddress { path, account: Box::new(named) });
            }
            // An encrypted coldkey does not say whose it is.
            Ok(_) | Err(WalletError::MissingKeyfile { .. } | WalletError::Encrypted { .. }) => {}
            Err(error) => return Err(error),
        }
        keyfile::write_public(&public, account)
    }

    /// Writes the hotkey, encrypted if there is a password, and its public file.
    ///
    /// # Errors
    /// As [`Self::write_coldkey`].
    pub fn write_hotkey(
        &self,
        secret: &Secret,
        password: Option<&Password>,
    ) -> Result<AccountId, WalletError> {
        let path = self.hotkey_path().ok_or_else(|| self.not_on_disk())?;
        write_pair(&path, &public_path(&path), secret, password)
    }

    /// Gives the coldkey the password that `new` gives, or none, once `passwords` has opened it. The old keyfile is
    /// there, whole, until the new one is.
    ///
    /// # Errors
    /// Whatever keeps it from being opened or written, and the errors of `new`.
    pub fn set_coldkey_password(
        &self,
        passwords: &dyn Passwords,
        new: impl FnOnce() -> Result<Option<Password>, WalletError>,
    ) -> Result<AccountId, WalletError> {
        let path = self.coldkey_path().ok_or_else(|| self.not_on_disk())?;
        set_password(&path, &coldkey_public(&path), passwords, new)
    }

    /// [`Self::set_coldkey_password`] for the hotkey.
    ///
    /// # Errors
    /// As there.
    pub fn set_hotkey_password(
        &self,
        passwords: &dyn Passwords,
        new: impl FnOnce() -> Result<Option<Password>, WalletError>,
    ) -> Result<AccountId, WalletError> {
        let path = self.hotkey_path().ok_or_else(|| self.not_on_disk())?;
        set_password(&path, &public_path(&path), passwords, new)
    }
}

fn write_pair(
    path: &Path,
    public: &Path,
    secret: &Secret,
    password: Option<&Password>,
) -> Result<AccountId, WalletError> {
    let account = secret.account();
    if path.exists() {
        return Err(WalletError::Exists { path: path.to_owned() });
    }
    let has_public = match keyfile::read_account(public) {
        Ok(named) if named == account => true,
        Ok(named) => {
            return Err(WalletError::OtherAddress { path: public.to_owned(), account: Box::new(named) });
        }
        Err(WalletError::MissingKeyfile { .. }) => false,
        Err(e) => return Err(e),
    };
    keyfile::write_secret(path, secret, password)?;
    if !has_public {
        keyfile::write_public(public, &account)?;
    }
    Ok(account)
}

fn set_password(
    path: &Path,
    public: &Path,
    passwords: &dyn Passwords,
    new: impl FnOnce() -> Result<Option<Password>, WalletError>,
) -> Result<AccountId, WalletError> {
    let account = keyfile::set_password(path, passwords, new)?.account();
    // Without it, the address of an encrypted key would take its password.
    match keyfile::write_public(public, &account) {
        Ok(()) | Err(WalletError::Exists { .. }) => Ok(account),
        Err(e) => Err(e),
    }
}

//! Encrypted keyfiles of others open here, and those written here open with Bittensor's own tool. The other side
//! is never our own code: `bittensor-wallet`, Ansible's vault, and the `cryptography` package.

use crate::support;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use templar::wallet::{Keypair, Password, Secret, Wallet, WalletError, encryption::Scheme, keyfile, verify};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const PASSWORD: &str = "a test password";

/// Runs a Python program in an environment with packages and gives what it printed.
fn python(name: &str, packages: &[&str], program: &str, arguments: &[&Path]) -> String {
    let interpreter = support::python(name, packages);
    let output = Command::new(interpreter.trim()).args(["-c", program]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn btwallet(program: &str, arguments: &[&Path]) -> String {
    python("wallet", &["bittensor-wallet==4.1.1"], program, arguments)
}

fn password() -> Password {
    Password::new(PASSWORD).unwrap()
}

fn open(path: &Path) -> Result<Keypair, WalletError> {
    keyfile::read_secret_with(path, &|_: &Path| Ok(Some(password())))
}

/// Made by `bittensor-wallet` 4.1.1 (`$NACL` and a vault), Ansible (the other vault) and `cryptography`.
fn fixtures() -> PathBuf {
    support::root().join("tests/fixtures/wallets/encrypted")
}

#[test]
fn every_scheme_of_every_tool_is_read() {
    for (name, scheme) in [
        ("coldkey", Scheme::Nacl),
        ("hotkeys/vault", Scheme::Vault),
        ("hotkeys/vault-of-btwallet", Scheme::Vault),
        ("hotkeys/fernet", Scheme::Fernet),
    ] {
        let path = fixtures().join(name);
        assert_eq!(keyfile::encryption(&path).unwrap(), Some(scheme));
        assert_eq!(open(&path).unwrap().account().to_string(), ADDRESS, "{name}");
    }
}

#[test]
fn what_is_encrypted_here_opens_with_bittensors_own_tool() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let coldkey = wallet.write_coldkey(&Secret::parse(PHRASE).unwrap(), Some(&password())).unwrap();
    // A seed has no phrase.
    let seed = "0x398f0c28f98885e046333d4a41c19cee4c37368a9832c6502f6cfd182e2aef89";
    let hotkey = wallet.write_hotkey(&Secret::parse(seed).unwrap(), None).unwrap();
    let program = "import sys\n\
        from bittensor_wallet import Wallet\n\
        w = Wallet(name='cold', hotkey='hot', path=sys.argv[1])\n\
        key = w.get_coldkey(password='a test password')\n\
        print(w.coldkeypub.ss58_address, key.ss58_address, w.hotkey.ss58_address)\n\
        print(key.sign(b'a message').hex())\n";
    let said = btwallet(program, &[folder.path()]);
    let lines: Vec<&str> = said.lines().rev().take(2).collect();
    assert_eq!(lines[1], format!("{coldkey} {coldkey} {hotkey}"));
    assert_eq!(coldkey.to_string(), ADDRESS);
    let signature: [u8; 64] = hex::decode(lines[0]).unwrap().try_into().unwrap();
    assert!(verify(&coldkey, b"a message", &signature));
}

#[test]
fn what_bittensors_own_tool_encrypts_today_opens_here() {
    let folder = tempfile::tempdir().unwrap();
    let program = "import sys\n\
        from bittensor_wallet import Wallet\n\
        w = Wallet(name='cold', hotkey='hot', path=sys.argv[1])\n\
        w.create_new_coldkey(use_password=True, overwrite=False, suppress=True, coldkey_password='a test password')\n\
        w.create_new_hotkey(use_password=False, overwrite=False, suppress=True)\n\
        print(w.coldkeypub.ss58_address, w.hotkey.ss58_address)\n\
        w.coldkey_file.save_password_to_env('a test password')\n\
        import os; os.system('env | grep ^BT_PW_')\n";
    let said = btwallet(program, &[folder.path()]);
    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let accounts = format!("{} {}", wallet.coldkey_account().unwrap(), wallet.hotkey().unwrap().account());
    assert!(said.contains(&accounts), "{accounts} is not in {said}");
    let (name, value) = said.lines().find_map(|line| line.split_once('=')).unwrap();
    let (name, value) = (name.to_owned(), value.to_owned());
    let sources = templar::wallet::PasswordSources::new(None, move |variable| {
        (variable == name).then(|| value.clone().into())
    });
    assert_eq!(wallet.coldkey_with(&sources).unwrap().account(), wallet.coldkey_account().unwrap());
}

#[test]
fn what_ansible_and_fernet_encrypt_today_opens_here() {
    let folder = tempfile::tempdir().unwrap();
    let plain = fixtures().join("../btcli/coldkey");
    let program = "import base64, hashlib, sys\n\
        from ansible_vault import Vault\n\
        from cryptography.fernet import Fernet\n\
        plain = open(sys.argv[1]).read()\n\
        open(sys.argv[2] + '/vault', 'w').write(Vault('a test password').dump_raw(plain))\n\
        salt = b'Iguesscyborgslikemyselfhaveatendencytobeparanoidaboutourorigins'\n\
        key = hashlib.pbkdf2_hmac('sha256', b'a test password', salt, 10_000_000, 32)\n\
        token = Fernet(base64.urlsafe_b64encode(key)).encrypt(plain.encode())\n\
        open(sys.argv[2] + '/fernet', 'wb').write(token)\n";
    python("wallet-ciphers", &["cryptography", "ansible-vault"], program, &[&plain, folder.path()]);
    for name in ["vault", "fernet"] {
        let path = folder.path().join(name);
        assert_eq!(open(&path).unwrap().account().to_string(), ADDRESS, "{name}");
    }
    // One bit, anywhere in the vault's ciphertext: the seal does not fit.
    let path = folder.path().join("vault");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
    bytes[last] = if bytes[last] == b'0' { b'1' } else { b'0' };
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open(&path), Err(WalletError::WrongPassword { .. } | WalletError::Malformed { .. })));
}

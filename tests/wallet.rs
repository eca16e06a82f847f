//! Wallets on disk: Bittensor's own files are read, its own tool reads ours, nothing is overwritten or shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use templar::wallet::{Keypair, Wallet, WalletError, WalletOptions, keyfile, verify};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";

/// Files that bittensor-wallet 4.1.1 wrote from the development phrase.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wallets")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn options(path: &Path) -> WalletOptions {
    WalletOptions { path: Some(path.to_owned()), ..WalletOptions::default() }
}

#[test]
fn files_of_bittensors_own_tool_are_read() {
    let wallet = Wallet::at(&fixtures(), "btcli", "hk").unwrap();
    for keypair in [wallet.hotkey().unwrap(), wallet.coldkey().unwrap()] {
        assert_eq!(keypair.account().to_string(), ADDRESS);
    }
    assert_eq!(wallet.hotkey_account().unwrap().to_string(), ADDRESS);
    assert_eq!(wallet.coldkey_account().unwrap().to_string(), ADDRESS);
    let list = Wallet::list(&fixtures()).unwrap();
    assert_eq!((list.len(), list[0].name.as_str(), list[0].hotkeys[0].name.as_str()), (1, "btcli", "hk"));
}

#[test]
fn each_secret_of_a_keyfile_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixtures().join("btcli/hotkeys/hk")).unwrap();
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    for kept in ["secretPhrase", "secretSeed", "privateKey"] {
        let mut fields = whole.clone();
        for name in ["secretPhrase", "secretSeed", "privateKey"].into_iter().filter(|name| *name != kept) {
            // A tool may leave a secret out, or write that there is none.
            if name == "privateKey" {
                fields.as_object_mut().unwrap().remove(name);
            } else {
                fields[name] = serde_json::Value::Null;
            }
        }
        let path = folder.path().join(kept);
        fs::write(&path, fields.to_string()).unwrap();
        let keypair = keyfile::read_secret(&path).unwrap();
        assert_eq!(keypair.account().to_string(), ADDRESS, "{kept}");
        assert!(verify(&keypair.account(), b"text", &keypair.sign(b"text")), "{kept}");
    }
}

#[test]
fn bittensors_own_tool_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let coldkey = wallet.create_coldkey().unwrap();
    let hotkey = wallet.create_hotkey().unwrap();
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/venv");
    let made = Command::new(venv).args(["wallet", "bittensor-wallet==4.1.1"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let python = String::from_utf8(made.stdout).unwrap();
    let program = "import sys\n\
        from bittensor_wallet import Wallet\n\
        w = Wallet(name='cold', hotkey='hot', path=sys.argv[1])\n\
        print(w.coldkeypub.ss58_address, w.coldkey.ss58_address, w.hotkey.ss58_address)\n\
        print(w.hotkey.sign(b'window 7').hex())\n";
    let judge = Command::new(python.trim()).args(["-c", program]).arg(folder.path()).output().unwrap();
    assert!(judge.status.success(), "{}", String::from_utf8_lossy(&judge.stderr));
    let said = String::from_utf8(judge.stdout).unwrap();
    let (addresses, signature) = said.trim().split_once('\n').unwrap();
    assert_eq!(addresses, format!("{coldkey} {coldkey} {hotkey}"));
    let signature: [u8; 64] = hex::decode(signature).unwrap().try_into().unwrap();
    assert!(verify(&hotkey, b"window 7", &signature));
}

#[test]
fn files_are_for_their_owner_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallets");
    let wallet = Wallet::at(&path, "cold", "hot").unwrap();
    let (coldkey, hotkey) = (wallet.create_coldkey().unwrap(), wallet.create_hotkey().unwrap());
    assert_ne!(coldkey, hotkey);
    for name in ["cold/coldkey", "cold/coldkeypub.txt", "cold/hotkeys/hot", "cold/hotkeys/hotpub.txt"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    for name in ["", "cold", "cold/hotkeys"] {
        assert_eq!(mode(&path.join(name)), 0o700, "{name}");
    }
    let before = fs::read(path.join("cold/hotkeys/hot")).unwrap();
    assert!(matches!(wallet.create_hotkey(), Err(WalletError::Exists { .. })));
    assert!(matches!(wallet.create_coldkey(), Err(WalletError::Exists { .. })));
    assert_eq!(fs::read(path.join("cold/hotkeys/hot")).unwrap(), before);
    let public = fs::read_to_string(path.join("cold/coldkeypub.txt")).unwrap();
    assert!(!public.contains("secret") && !public.contains("private"), "{public}");
}

#[test]
fn a_spec_means_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    for (name, hotkey) in [("default", "hk1"), ("alice", "default"), ("alice", "m1")] {
        let wallet = Wallet::at(folder.path(), name, hotkey).unwrap();
        let _ = wallet.create_coldkey();
        wallet.create_hotkey().unwrap();
    }
    let mut options = options(folder.path());
    for (spec, meant) in [("alice/m1", "alice/m1"), ("hk1", "default/hk1"), ("alice", "alice/default")] {
        assert_eq!(Wallet::resolve(spec, &options).unwrap().spec(), meant, "{spec}");
    }
    options.name = Some("alice".to_owned());
    options.hotkey = Some("m1".to_owned());
    for (spec, meant) in [("m1", "alice/m1"), ("default", "alice/default"), ("alice", "alice/m1")] {
        assert_eq!(Wallet::resolve(spec, &options).unwrap().spec(), meant, "{spec}");
    }
    assert_eq!(Wallet::from_options(&options).unwrap().spec(), "alice/m1");
    let bob = Wallet::resolve("//Bob", &options).unwrap();
    assert_eq!(bob.hotkey().unwrap().account(), Keypair::from_uri("//Bob").unwrap().account());
    assert!(matches!(Wallet::resolve("nobody", &options), Err(WalletError::Unknown { .. })));
    for spec in ["../x", "alice/../../x", "", "alice/", ".hidden/x"] {
        assert!(matches!(Wallet::resolve(spec, &options), Err(WalletError::InvalidName { .. })), "{spec:?}");
    }
}

#[test]
fn what_is_no_keyfile_is_named_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let alice = Keypair::from_uri("//Alice").unwrap().account();
    let large = format!(r#"{{"secretPhrase":"{}"}}"#, "a".repeat(100_000));
    let mismatch = format!(r#"{{"ss58Address":"{alice}","secretPhrase":"{PHRASE}"}}"#);
    let public = format!(r#"{{"ss58Address":"{alice}"}}"#);
    for (content, fits) in [
        (
            "$NACL\u{1}\u{2}",
            (|e| matches!(e, WalletError::Encrypted { scheme: "NaCl", .. })) as fn(&_) -> bool,
        ),
        ("$ANSIBLE_VAULT;1.1;AES256\n616263", |e| matches!(e, WalletError::Encrypted { .. })),
        ("gAAAAABn", |e| matches!(e, WalletError::Encrypted { .. })),
        (PHRASE, |e| matches!(e, WalletError::Malformed { .. })),
        ("{}", |e| matches!(e, WalletError::Malformed { .. })),
        ("[]", |e| matches!(e, WalletError::Malformed { .. })),
        (r#"{"secretPhrase":"twelve wrong words"}"#, |e| matches!(e, WalletError::Malformed { .. })),
        (r#"{"secretSeed":"0x1234"}"#, |e| matches!(e, WalletError::Malformed { .. })),
        (r#"{"cryptoType":0,"secretSeed":"0x12"}"#, |e| matches!(e, WalletError::Malformed { .. })),
        (&large, |e| matches!(e, WalletError::Malformed { .. })),
        (&mismatch, |e| matches!(e, WalletError::Mismatch { .. })),
        (&public, |e| matches!(e, WalletError::PublicOnly { .. })),
    ] {
        fs::write(&path, content).unwrap();
        let error = keyfile::read_secret(&path).unwrap_err();
        assert!(fits(&error), "{content:.40}: {error:?}");
        let shown = format!("{error} {error:?} {}", error.hint());
        for secret in ["bottom", "twelve", "0x1234"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(keyfile::read_secret(&path), Err(WalletError::MissingKeyfile { .. })));
}

#[test]
fn an_encrypted_coldkey_does_not_hide_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let coldkey = wallet.create_coldkey().unwrap();
    fs::write(wallet.coldkey_path().unwrap(), "$NACL....").unwrap();
    assert_eq!(wallet.coldkey_account().unwrap(), coldkey);
    assert!(matches!(wallet.coldkey(), Err(WalletError::Encrypted { .. })));
    assert_eq!(Wallet::list(folder.path()).unwrap()[0].coldkey, Some(coldkey));
}

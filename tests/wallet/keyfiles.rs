//! Wallets on disk: Bittensor's own files are read, its own tool reads ours, nothing is overwritten or shown.

use crate::support;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use templar::wallet::{
    Keypair, Password, PasswordSources, Secret, Wallet, WalletError, WalletOptions, keyfile, verify,
    verify_wrapped,
};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";

/// Files that bittensor-wallet 4.1.1 wrote from the development phrase.
fn fixtures() -> PathBuf {
    support::root().join("tests/fixtures/wallets")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn options(path: &Path) -> WalletOptions {
    WalletOptions { path: Some(path.to_owned()), ..WalletOptions::default() }
}

/// Knows no password.
fn nobody(_: &Path) -> Result<Option<Password>, WalletError> {
    Ok(None)
}

/// Knows one password.
fn knows(text: &'static str) -> impl Fn(&Path) -> Result<Option<Password>, WalletError> {
    move |_: &Path| Ok(Password::new(text))
}

/// Looks in the file, and in these variables and no others.
fn sources(file: Option<&Path>, variables: &[(&str, &str)]) -> PasswordSources {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    PasswordSources::new(file.map(Path::to_owned), move |name| {
        variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.into())
    })
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
    assert_eq!((list.len(), list[0].name.as_str(), list[0].hotkeys[0].name.as_str()), (2, "btcli", "hk"));
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
    let python = support::python("wallet", &["bittensor-wallet==4.1.1"]);
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
    let nacl = format!("$NACL{}", "x".repeat(60));
    for (content, fits) in [
        ("$NACL\u{1}\u{2}", (|e| matches!(e, WalletError::Malformed { .. })) as fn(&_) -> bool),
        ("$ANSIBLE_VAULT;1.1;AES256\n616263", |e| matches!(e, WalletError::Malformed { .. })),
        ("$ANSIBLE_VAULT;1.2;AES256;x\n61", |e| matches!(e, WalletError::Malformed { .. })),
        ("gAAAAABn", |e| matches!(e, WalletError::Malformed { .. })),
        (&nacl, |e| matches!(e, WalletError::Encrypted { .. })),
        (PHRASE, |e| matches!(e, WalletError::Malformed { .. })),
        ("{}", |e| matches!(e, WalletError::Malformed { .. })),
        ("[]", |e| matches!(e, WalletError::Malformed { .. })),
        (r#"{"secretPhrase":"twelve wrong words"}"#, |e| matches!(e, WalletError::Malformed { .. })),
        (r#"{"secretSeed":"0x1234"}"#, |e| matches!(e, WalletError::Malformed { .. })),
        (r#"{"cryptoType":0,"secretSeed":"0x12"}"#, |e| matches!(e, WalletError::OtherKeyType { .. })),
        (r#"{"cryptoType":2,"secretSeed":"0x12"}"#, |e| matches!(e, WalletError::OtherKeyType { .. })),
        (r#"{"cryptoType":7,"secretSeed":"0x12"}"#, |e| matches!(e, WalletError::Malformed { .. })),
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
    fs::write(wallet.coldkey_path().unwrap(), format!("$NACL{}", "x".repeat(60))).unwrap();
    assert_eq!(wallet.coldkey_account().unwrap(), coldkey);
    assert!(matches!(wallet.coldkey_with(&nobody), Err(WalletError::Encrypted { .. })));
    assert_eq!(Wallet::list(folder.path()).unwrap()[0].coldkey, Some(coldkey));
}

#[test]
fn a_password_is_set_changed_and_removed_and_the_file_is_never_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let coldkey = wallet.write_coldkey(&Secret::parse(PHRASE).unwrap(), None).unwrap();
    let path = wallet.coldkey_path().unwrap();
    let plain = fs::read(&path).unwrap();
    fs::remove_file(path.with_file_name("coldkeypub.txt")).unwrap();

    let differ = wallet.set_coldkey_password(&nobody, || Err(WalletError::Repeat));
    assert!(matches!(differ, Err(WalletError::Repeat)));
    assert_eq!(fs::read(&path).unwrap(), plain);
    let set = wallet.set_coldkey_password(&nobody, || Ok(Password::new("first"))).unwrap();
    assert_eq!(set, coldkey);
    let sealed = fs::read(&path).unwrap();
    assert!(sealed.starts_with(b"$NACL") && mode(&path) == 0o600);
    assert_eq!(wallet.coldkey_account().unwrap(), coldkey, "its public file is there again");
    let unknown = wallet.set_coldkey_password(&nobody, || Ok(None)).unwrap_err();
    assert!(unknown.hint().contains("--password-file"), "{unknown}: {}", unknown.hint());
    assert_eq!(fs::read(&path).unwrap(), sealed);

    wallet.set_coldkey_password(&knows("first"), || Ok(None)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), plain);
    // A vault opens faster.
    fs::copy(fixtures().join("encrypted/hotkeys/vault"), &path).unwrap();
    let wrong = wallet.set_coldkey_password(&knows("second"), || Ok(None)).unwrap_err();
    assert!(matches!(wrong, WalletError::WrongPassword { .. }) && !format!("{wrong:?}").contains("second"));
    wallet.set_coldkey_password(&knows("a test password"), || Ok(None)).unwrap();
    assert_eq!(wallet.coldkey_with(&nobody).unwrap().account(), coldkey);

    let names: Vec<_> =
        fs::read_dir(folder.path().join("cold")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no other file is left: {names:?}");
}

#[test]
fn a_damaged_encrypted_file_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let vault = fs::read_to_string(fixtures().join("encrypted/hotkeys/vault")).unwrap();
    let fernet = fs::read_to_string(fixtures().join("encrypted/hotkeys/fernet")).unwrap();
    let flipped = vault.replacen("\n3", "\n4", 2);
    for (content, cut) in [
        (vault[..vault.len() - 7].to_owned(), true),
        (vault[..40].to_owned(), true),
        (format!("{vault}zz"), true),
        (flipped, false),
        (fernet[..fernet.len() - 41].to_owned(), true),
        (fernet[..60].to_owned(), true),
        (format!("{fernet}!"), true),
        (format!("$NACL{}", "x".repeat(40)), true),
        (format!("$NACL{}", "x".repeat(100_000)), true),
    ] {
        fs::write(&path, &content).unwrap();
        let error = keyfile::read_secret_with(&path, &knows("a test password")).unwrap_err();
        let fits = matches!(error, WalletError::Malformed { .. })
            || !cut && matches!(error, WalletError::WrongPassword { .. });
        assert!(fits && !error.to_string().contains('\n'), "{error:?}");
    }
    let vault = fixtures().join("encrypted/hotkeys/vault");
    let error = keyfile::read_secret_with(&vault, &knows("another")).unwrap_err();
    assert!(matches!(error, WalletError::WrongPassword { .. }), "{error:?}");
}

#[test]
fn passwords_are_looked_for_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let in_file = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let vault = fixtures().join("encrypted/hotkeys/vault");
    let opens = |sources: &PasswordSources| keyfile::read_secret_with(&vault, sources);
    let right = in_file("right", "a test password\n", 0o600);
    let wrong = in_file("wrong", "another\r\n", 0o600);
    let own = templar::wallet::password::password_variable(&vault);
    let masked: Vec<u8> = b"a test password".iter().zip(own.bytes().cycle()).map(|(a, b)| a ^ b).collect();
    let masked = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, masked);

    // Each place is the right one once, and all later ones are wrong.
    let [file, all] = ["BT_WALLET_PASSWORD_FILE", "BT_WALLET_PASSWORD"];
    let wrong_name = wrong.to_str().unwrap();
    let everything = [(own.as_str(), masked.as_str()), (all, "x"), (file, wrong_name)];
    opens(&sources(Some(&right), &[(&own, "AAAA"), (all, "x"), (file, wrong_name)])).unwrap();
    opens(&sources(None, &everything)).unwrap();
    opens(&sources(None, &[(all, "a test password"), (file, wrong_name)])).unwrap();
    opens(&sources(None, &[(all, ""), (file, right.to_str().unwrap())])).unwrap();
    let answers = |_: &str| Ok("a test password".to_owned().into());
    opens(&sources(None, &[]).asking(answers)).unwrap();
    let wrong_file = opens(&sources(Some(&wrong), &everything).asking(answers)).unwrap_err();
    assert!(matches!(wrong_file, WalletError::WrongPassword { .. }), "{wrong_file:?}");
    let none = opens(&sources(None, &[])).unwrap_err();
    for way in ["--password-file", "BT_WALLET_PASSWORD_FILE", "BT_WALLET_PASSWORD", "BT_PW_", "terminal"] {
        assert!(none.hint().contains(way), "{way}: {}", none.hint());
    }

    for (path, reason) in [
        (in_file("open", "a test password", 0o644), "others"),
        (in_file("empty", "\n", 0o600), "empty"),
        (in_file("large", &"x".repeat(5000), 0o600), "large"),
        (folder.path().join("none"), "cannot read"),
    ] {
        let error = opens(&sources(Some(&path), &everything)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let error = opens(&sources(None, &[(&own, "a test password")])).unwrap_err();
    assert!(error.to_string().contains(&own) && !error.to_string().contains("a test password"), "{error}");
}

#[test]
fn a_new_password_is_typed_twice() {
    let path = Path::new("x");
    let asked = |answers: &'static [&'static str]| {
        let turn = std::sync::atomic::AtomicUsize::new(0);
        sources(None, &[]).asking(move |_| {
            Ok(answers[turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed)].to_owned().into())
        })
    };
    assert!(asked(&["one", "one"]).ask_new(path).unwrap().is_some());
    assert!(asked(&[""]).ask_new(path).unwrap().is_none());
    assert!(matches!(asked(&["one", "two"]).ask_new(path), Err(WalletError::Repeat)));
    assert!(sources(None, &[]).ask_new(path).unwrap().is_none());
}

#[test]
fn what_was_written_down_makes_the_key_again() {
    let folder = tempfile::tempdir().unwrap();
    let seed = "0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";
    for (name, text) in [("words", format!("  {}\n", PHRASE.replace(' ', "  "))), ("seed", seed.to_owned())] {
        let wallet = Wallet::at(folder.path(), name, "hot").unwrap();
        let secret = Secret::parse(&text).unwrap();
        assert_eq!(format!("{secret:?}"), format!("Secret({ADDRESS})"));
        wallet.write_coldkey(&secret, None).unwrap();
        wallet.write_hotkey(&secret, None).unwrap();
        assert_eq!(wallet.coldkey().unwrap().account().to_string(), ADDRESS);
        assert_eq!(wallet.hotkey().unwrap().account().to_string(), ADDRESS);
    }
    for text in ["", "0x12", "bottom drive", &PHRASE.replace("walk", "walks")] {
        let error = Secret::parse(text).unwrap_err();
        assert!(matches!(error, WalletError::InvalidSecret) && !error.to_string().contains("bottom"));
    }
    // On a machine with the address only, the secret comes back if it is the right one.
    let wallet = Wallet::at(folder.path(), "seed", "hot").unwrap();
    fs::remove_file(wallet.coldkey_path().unwrap()).unwrap();
    let other = Secret::generate().unwrap();
    assert!(matches!(wallet.write_coldkey(&other, None), Err(WalletError::OtherAddress { .. })));
    assert!(!wallet.coldkey_path().unwrap().exists());
    wallet.write_coldkey(&Secret::parse(PHRASE).unwrap(), None).unwrap();
}

#[test]
fn the_environment_of_every_version_names_the_wallet() {
    let read = |variables: &[(&str, &str)]| {
        let options = WalletOptions::default().or(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        });
        Wallet::from_options(&WalletOptions { path: Some("x".into()), ..options }).unwrap().spec()
    };
    let [wallet, name, hotkey] = ["BT_WALLET", "BT_WALLET_NAME", "BT_WALLET_HOTKEY"];
    assert_eq!(read(&[]), "default/default");
    assert_eq!(read(&[(name, "a"), (hotkey, "b")]), "a/b");
    assert_eq!(read(&[(wallet, "a")]), "a/default");
    assert_eq!(read(&[(wallet, "a/b")]), "a/b");
    assert_eq!(read(&[(wallet, "a"), (hotkey, "c")]), "a/c");
    assert_eq!(read(&[(wallet, "a/b"), (hotkey, "c")]), "a/c");
    assert_eq!(read(&[(wallet, "a/b"), (name, "c")]), "c/default");
}

#[test]
fn signatures_in_bytes_tags_are_taken() {
    let alice = Keypair::from_uri("//Alice").unwrap();
    let account = alice.account();
    assert!(verify_wrapped(&account, b"text", &alice.sign(b"text")));
    assert!(verify_wrapped(&account, b"text", &alice.sign(b"<Bytes>text</Bytes>")));
    assert!(!verify_wrapped(&account, b"<Bytes>text</Bytes>", &alice.sign(b"text")));
}

//! `templar wallet` as a person and a script meet it. After each command: no phrase, seed, private key or password
//! is in anything it said, however it ended and however much it logs.

use crate::support;
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use templar::wallet::{Keypair, Wallet, WalletError, keyfile};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const SEED: &str = "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";
const PRIVATE: &str = "05d65584630d16cd4af6d0bec10f34bb504a5dcb62dba2122d49f5a663763d0a";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
/// Of the fixtures.
const OLD: &str = "a test password";
const NEW: &str = "another-canary-77";

/// A folder of wallets and a folder of password files.
struct Scene(tempfile::TempDir);

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok().out).unwrap()
    }

    /// One sentence, one hint, the code.
    #[track_caller]
    fn fails(self, code: i32, sentence: &str) {
        let lines = |start: &str| self.err.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((self.code, lines("error: "), lines("  hint: ")), (code, 1, 1), "{}", self.err);
        assert!(self.err.contains(sentence), "{sentence:?} is not in {}", self.err);
    }
}

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn wallets(&self) -> PathBuf {
        self.0.path().join("wallets")
    }

    /// A file with this text that only its owner reads.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A wallet whose coldkey is a fixture.
    fn fixture(&self, wallet: &str, name: &str) -> PathBuf {
        let fixtures = support::root().join("tests/fixtures/wallets");
        let path = self.wallets().join(wallet).join("coldkey");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(fixtures.join(name), &path).unwrap();
        path
    }

    #[track_caller]
    fn run(&self, line: &str) -> Said {
        self.with(line, "", &[])
    }

    #[track_caller]
    fn with(&self, line: &str, stdin: &str, variables: &[(&str, &str)]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.arg("wallet").args(line.split_whitespace());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BT_")) {
            command.env_remove(name);
        }
        command.env("BT_WALLET_PATH", self.wallets()).envs(variables.iter().copied());
        command.envs([("RUST_LOG", "trace"), ("TEMPLAR_LOG", "trace"), ("RUST_BACKTRACE", "full")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let said =
            Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
        self.nothing_secret(&format!("{}{}", said.out, said.err));
        said
    }

    #[track_caller]
    fn nothing_secret(&self, text: &str) {
        let mut secrets: Vec<String> =
            ["bottom drive", "lonely fit", SEED, PRIVATE, OLD, NEW].map(str::to_owned).to_vec();
        for key in self.keyfiles(&self.wallets()) {
            let Ok(Value::Object(fields)) = serde_json::from_slice(&fs::read(key).unwrap()) else { continue };
            secrets.extend(
                ["secretPhrase", "secretSeed", "privateKey"]
                    .iter()
                    .filter_map(|name| fields.get(*name)?.as_str())
                    .map(|secret| secret.trim_start_matches("0x").to_owned()),
            );
        }
        let text = text.to_lowercase();
        for secret in secrets {
            assert!(!text.contains(&secret.to_lowercase()), "a secret is in: {text}");
        }
    }

    fn keyfiles(&self, folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(self.keyfiles(&path));
            } else {
                files.push(path);
            }
        }
        files
    }
}

#[test]
fn a_new_coldkey_is_encrypted_if_there_is_a_password() {
    let scene = Scene::new();
    let said = scene.run("new plain/hot").ok();
    assert!(
        said.err.contains("not encrypted") && said.err.contains("templar wallet password plain"),
        "{}",
        said.err
    );
    scene.with("new plain2/hot --no-password", "", &[("BT_WALLET_PASSWORD", NEW)]).ok();
    for name in ["plain", "plain2"] {
        keyfile::read_secret(&scene.wallets().join(name).join("coldkey")).unwrap();
    }
    scene.run("new cold/hot --encrypt").fails(3, "no new password");
    scene.run("new cold/hot --encrypt --no-password").fails_usage();
    let open = scene.file("open", NEW);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    scene.run(&format!("new cold/hot --password-file {open}")).fails(3, "by others");
    assert!(!scene.wallets().join("cold").exists(), "what fails leaves nothing");

    let file = scene.file("password", &format!("{NEW}\n"));
    let made = scene.run(&format!("new cold/hot --encrypt --json --password-file {file}")).json();
    let path = scene.wallets().join("cold/coldkey");
    assert!(fs::read(&path).unwrap().starts_with(b"$NACL"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    keyfile::read_secret(&scene.wallets().join("cold/hotkeys/hot")).unwrap();
    assert!(matches!(keyfile::read_secret(&path), Err(WalletError::Encrypted { .. })));
    assert_eq!(scene.run("show cold/hot --json").json(), made);
    let second = scene.run("new cold/hot2 --json").json();
    assert_eq!(second["coldkey"], made["coldkey"], "no password is needed for a second hotkey");
    let signed =
        scene.with("sign cold --coldkey --message hi --json", "", &[("BT_WALLET_PASSWORD", NEW)]).json();
    assert_eq!(signed["address"], made["coldkey"]);
}

#[test]
fn a_key_comes_back_from_what_was_written_down() {
    let scene = Scene::new();
    let made = scene.with("regen cold --json", &format!("{PHRASE}\n"), &[]).json();
    assert_eq!((&made["address"], &made["key"]), (&ADDRESS.into(), &"coldkey".into()));
    let file = scene.file("seed", &format!("0x{SEED}\n"));
    let made = scene.run(&format!("regen cold/hot --secret-file {file}")).ok();
    assert!(made.out.contains(ADDRESS) && made.out.contains("not encrypted"), "{}", made.out);
    let wallet = Wallet::at(&scene.wallets(), "cold", "hot").unwrap();
    assert_eq!(wallet.hotkey_account().unwrap().to_string(), ADDRESS);
    assert_eq!(wallet.hotkey().unwrap().account(), wallet.coldkey().unwrap().account());

    scene.with("regen cold", PHRASE, &[]).fails(3, "exists already");
    for secret in [&PHRASE[..60], &SEED[..60], "", &"x ".repeat(5000), "//Alice"] {
        scene.with("regen other", secret, &[]).fails(3, "not a secret");
    }
    scene.run("regen other --secret-file nowhere").fails(3, "nowhere");
    scene.with("regen ../cold", PHRASE, &[]).fails(3, "not a wallet");
    scene.with("regen other --encrypt", PHRASE, &[]).fails(3, "no new password");
    let code = scene.with("regen other --phrase x", PHRASE, &[]).code;
    assert_eq!(code, 2, "a phrase is never an argument");
    assert!(!scene.wallets().join("other").exists());
}

#[test]
fn a_password_is_set_changed_and_removed() {
    let scene = Scene::new();
    let path = scene.fixture("cold", "encrypted/hotkeys/vault");
    let before = fs::read(&path).unwrap();
    let (old, new) = (scene.file("old", OLD), scene.file("new", NEW));
    scene.run("password cold").fails(3, "password is not known");
    scene.run(&format!("password cold --password-file {new}")).fails(3, "does not open");
    scene.run(&format!("password cold --password-file {old}")).fails(3, "no new password");
    scene.run(&format!("password cold --remove --new-password-file {new}")).fails_usage();
    scene.with("password cold --remove", "", &[("BT_WALLET_PASSWORD", NEW)]).fails(3, "does not open");
    scene.run("password nobody --remove").fails(3, "no keyfile");
    assert_eq!(fs::read(&path).unwrap(), before);

    let line = format!("password cold --json --password-file {old} --new-password-file {new}");
    let said = scene.run(&line).json();
    assert_eq!((&said["address"], &said["encrypted"]), (&ADDRESS.into(), &true.into()));
    assert!(fs::read(&path).unwrap().starts_with(b"$NACL"), "an old scheme becomes today's");
    let said = scene.with("password cold --remove --json", "", &[("BT_WALLET_PASSWORD_FILE", &new)]).json();
    assert_eq!(said["encrypted"], false);
    assert_eq!(keyfile::read_secret(&path).unwrap().account().to_string(), ADDRESS);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(scene.run("password cold --remove").ok().err.contains("had no password"));
    scene.run("password cold").fails(3, "no new password");
    scene.run("list").ok();
    scene.run("show cold/none").ok();
}

#[test]
fn a_signature_is_made_and_checked() {
    let scene = Scene::new();
    scene.fixture("cold", "encrypted/hotkeys/vault");
    scene.with("regen cold/hot", PHRASE, &[]).ok();
    let old = scene.file("old", OLD);
    let json = |said: Said| {
        let said = said.json();
        assert_eq!(said["address"], ADDRESS);
        said["signature"].as_str().unwrap().to_owned()
    };
    let by_hot = json(scene.run("sign cold/hot --message text --json"));
    let by_cold = json(scene.with(&format!("sign cold --coldkey --json --password-file {old}"), "text", &[]));
    let spare = scene.run("sign //Alice --message text").ok();
    assert!(
        spare.out.contains(&Keypair::from_uri("//Alice").unwrap().account().to_string()),
        "{}",
        spare.out
    );
    for signature in [&by_hot, &by_cold, &by_hot[2..], &format!("0x01{}", &by_hot[2..])] {
        scene.run(&format!("verify {ADDRESS} {signature} --message text")).ok();
        scene.with(&format!("verify {ADDRESS} {signature}"), "text", &[]).ok();
        scene.with(&format!("verify {ADDRESS} {signature}"), "text\n", &[]).fails(3, "is not that of");
    }
    let wrapped = json(scene.run("sign cold/hot --message <Bytes>text</Bytes> --json"));
    let said = scene.run(&format!("verify {ADDRESS} {wrapped} --message text --json")).json();
    assert_eq!(said["valid"], true);
    let said = scene.run(&format!("verify {ADDRESS} {wrapped} --message texts --json"));
    assert_eq!(
        (said.code, serde_json::from_str::<Value>(&said.out).unwrap()["valid"].as_bool()),
        (3, Some(false))
    );
    scene.run(&format!("verify {ADDRESS} 0x1234 --message text")).fails(2, "64 bytes");
    scene.run(&format!("verify 5Nobody {by_hot} --message text")).fails(3, "address");
    scene.run("sign nobody --message text").fails(3, "nobody");
    scene.run("sign cold --coldkey --message text").fails(3, "password is not known");
    scene
        .with("sign cold --coldkey --message text", "", &[("BT_WALLET_PASSWORD", NEW)])
        .fails(3, "does not open");

    let program = "import sys\n\
        from bittensor_wallet import Keypair\n\
        key = Keypair(ss58_address=sys.argv[1])\n\
        print(all(key.verify(b'text', bytes.fromhex(s[2:])) for s in sys.argv[2:]))\n\
        print(Keypair.create_from_uri('//Alice').sign(b'text').hex())\n";
    let python = support::python("wallet", &["bittensor-wallet==4.1.1"]);
    let judge = Command::new(python.trim())
        .args(["-c", program, ADDRESS, &by_hot, &by_cold, &wrapped])
        .output()
        .unwrap();
    let said = String::from_utf8(judge.stdout).unwrap();
    let (valid, signature) = said.trim().split_once('\n').unwrap();
    assert_eq!(valid, "True");
    let alice = Keypair::from_uri("//Alice").unwrap().account();
    scene.run(&format!("verify {alice} {signature} --message text")).ok();
}

#[test]
fn the_environment_names_and_opens_wallets() {
    let scene = Scene::new();
    let path = scene.fixture("cold", "encrypted/hotkeys/vault");
    scene.with("regen cold/hot", PHRASE, &[]).ok();
    let name = templar::wallet::password::password_variable(&path);
    let masked: Vec<u8> = OLD.bytes().zip(name.bytes().cycle()).map(|(a, b)| a ^ b).collect();
    let masked = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, masked);
    let sign = "sign cold --coldkey --message text";
    scene.with(sign, "", &[(&name, &masked), ("BT_WALLET_PASSWORD", "x")]).ok();
    scene.with(sign, "", &[(&name, OLD)]).fails(3, &name);
    // A bare name is a hotkey of the wallet that the environment names.
    let shown = scene.with("show hot --json", "", &[("BT_WALLET", "cold/other")]).json();
    assert_eq!(shown["wallet"], "cold/hot");
    scene.run("show hot").fails(3, "hot");
}

impl Said {
    /// clap's own words, and its code.
    #[track_caller]
    fn fails_usage(self) {
        assert_eq!(self.code, 2, "{}", self.err);
    }
}

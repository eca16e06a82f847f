//! `templar wallet sign` and `templar wallet verify`: sr25519 over the bytes of a message, as btcli and
//! polkadot-js sign.

use templar::wallet::{DEFAULT_NAME, Wallet, WalletOptions, parse_address, verify_wrapped};

use super::input;
use crate::cli::{
    Exit, Failure, PasswordArgs,
    output::{print, print_json},
};

/// What to sign, and with which key.
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The wallet: COLD/HOT, a hotkey, a wallet, or //Alice
    #[arg(value_name = "WALLET")]
    wallet: String,
    /// The message. Without it stdin is signed, byte for byte
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Sign with the coldkey; a bare WALLET is then the coldkey's name
    #[arg(long)]
    coldkey: bool,
    #[command(flatten)]
    passwords: PasswordArgs,
}

/// What somebody signed.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The address that is said to have signed
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// The signature: 128 hex digits with or without 0x
    #[arg(value_name = "SIGNATURE")]
    signature: String,
    /// The message. Without it stdin is checked, byte for byte. A signature over <Bytes>TEXT</Bytes>, as browser
    /// extensions make it, counts too
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

/// Signs a message.
pub fn sign(args: &Sign, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let wallet = if args.coldkey && !args.wallet.contains('/') {
        options.folder().and_then(|folder| Wallet::at(&folder, &args.wallet, DEFAULT_NAME))
    } else {
        Wallet::resolve(&args.wallet, options)
    }?;
    let message = input::message(args.message.as_deref())?;
    let passwords = args.passwords.sources();
    let keypair =
        if args.coldkey { wallet.coldkey_with(&passwords) } else { wallet.hotkey_with(&passwords) }?;
    let (address, signature) = (keypair.account(), format!("0x{}", hex::encode(keypair.sign(&message))));
    if json {
        return print_json(&serde_json::json!({ "address": address, "signature": signature }));
    }
    print(&format!("address    {address}\nsignature  {signature}\n"))
}

/// Checks a signature.
pub fn verify(args: &Verify, json: bool) -> Result<(), Failure> {
    let account = parse_address(&args.address)?;
    let signature = parse_signature(&args.signature).ok_or_else(|| {
        Failure::new(Exit::Usage, "the signature is not 64 bytes in hex")
            .hint("give it as `templar wallet sign` prints it: 0x and 128 hex digits")
    })?;
    let message = input::message(args.message.as_deref())?;
    let valid = verify_wrapped(&account, &message, &signature);
    if json {
        print_json(&serde_json::json!({ "address": account, "valid": valid }))?;
    }
    match (valid, json) {
        (true, true) => Ok(()),
        (true, false) => print(&format!("{account} signed this message\n")),
        (false, _) => Err(Failure::new(
            Exit::Wallet,
            format!("the signature is not that of {account} over this message"),
        )
        .hint("every byte counts: a line's end from `echo` is part of the message, --message adds none")),
    }
}

/// Some tools put the kind of key, 1 for sr25519, before the 64 bytes.
fn parse_signature(text: &str) -> Option<[u8; 64]> {
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()?;
    let bytes = if bytes.len() == 65 { bytes.strip_prefix(&[1])? } else { &bytes };
    bytes.try_into().ok()
}

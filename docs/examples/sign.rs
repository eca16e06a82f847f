//! Signs a message with a development key, and checks the signature as anybody can.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use templar::wallet::{Keypair, WalletError, verify};

fn main() -> Result<(), WalletError> {
    let key = Keypair::from_uri("//Alice")?;
    let message = b"window 7 was judged by me";
    let signature = key.sign(message);
    println!("{} signed: {}", key.account(), hex::encode(signature));
    println!("valid: {}", verify(&key.account(), message, &signature));
    println!("of another message: {}", verify(&key.account(), b"window 8 was judged by me", &signature));
    Ok(())
}

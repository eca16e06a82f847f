//! Writes, signs and reads a pseudo-gradient: what a miner uploads, and what a validator checks.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use templar::{
    gradient::{Expected, Header, Layout, SparseTensor, decode, encode},
    manifest::CompressConfig,
    wallet::{Keypair, verify},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One matrix of 64 x 64 in a single chunk, of which 4 coefficients are kept.
    let rules = CompressConfig::demo(0.9, 64, 4);
    let layout = Layout::new(&[("layer.weight".to_owned(), vec![64, 64])], &rules, 1)?;
    let tensor = SparseTensor {
        exponent: -3,
        positions: vec![0, 5, 64, 4095],
        codes: vec![1, 2, 3, 0x81],
        ..SparseTensor::default()
    };

    let key = Keypair::from_uri("//miner")?;
    let header = Header {
        run: [7; 32],
        netuid: 3,
        window: 12,
        uid: 5,
        hotkey: key.account(),
        sample_digest: "00112233445566778899aabbccddeeff".to_owned(),
        sample_count: 64,
        model_hash: [1; 32],
        model_samples: vec![0.25],
    };
    let (file, _) = encode(&header, &[tensor], &layout, |message| key.sign(message))?;
    println!("{} bytes, of at most {}", file.len(), layout.max_object_bytes());

    // A receiver knows what it expects, and how large the object can be, before it opens it.
    let expected = Expected { run: [7; 32], netuid: 3, window: 12, uid: 5, hotkey: key.account() };
    let read = decode(&file, &layout, &expected, verify)?;
    println!(
        "window {}: {} coefficients of {}",
        read.header.window,
        read.tensors[0].codes.len(),
        read.header.hotkey
    );

    let other_window = Expected { window: 13, ..expected };
    if let Err(error) = decode(&file, &layout, &other_window, verify) {
        println!("refused: {error}");
    }
    Ok(())
}

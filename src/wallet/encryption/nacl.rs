//! `$NACL`: what Bittensor's tools write today.
//!
//! The file is `$NACL`, a nonce of 24 bytes and a secretbox (XSalsa20-Poly1305, the tag first) of the JSON. The
//! key is Argon2i 1.3 of the password with a fixed salt and libsodium's costs `SENSITIVE`: 8 passes over
//! 512 MiB in one lane. The format is that of `bittensor-wallet` (its `keyfile` module).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto_secretbox::{
    Key, KeyInit as _, Nonce, Tag, XSalsa20Poly1305,
    aead::{AeadInPlace as _, rand_core::RngCore as _},
};
use zeroize::Zeroizing;

use super::CipherError;

pub(super) const PREFIX: &[u8] = b"$NACL";
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// One salt for everybody: the tools chose it, and a file made with another would not open anywhere.
const SALT: [u8; 16] =
    [0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1];
const MEMORY_KIB: u32 = 512 * 1024;
const PASSES: u32 = 8;

pub(crate) struct Sealed<'a> {
    nonce: &'a [u8; NONCE_BYTES],
    tag: &'a [u8; TAG_BYTES],
    text: &'a [u8],
}

impl<'a> Sealed<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CipherError> {
        let rest = bytes.strip_prefix(PREFIX).ok_or(CipherError::Damaged("it is not encrypted"))?;
        let parts = rest
            .split_first_chunk()
            .and_then(|(nonce, rest)| rest.split_first_chunk().map(|(tag, text)| Self { nonce, tag, text }));
        parts.filter(|parts| !parts.text.is_empty()).ok_or(CipherError::Damaged("it ends too early"))
    }

    pub(super) fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let mut text = Zeroizing::new(self.text.to_vec());
        let (nonce, tag): (&Nonce, &Tag) = (self.nonce.into(), self.tag.into());
        cipher(password)?
            .decrypt_in_place_detached(nonce, b"", &mut text, tag)
            .map_err(|_| CipherError::WrongPassword)?;
        Ok(text)
    }
}

pub(super) fn seal(plain: &[u8], password: &[u8]) -> Result<Vec<u8>, CipherError> {
    let mut nonce = Nonce::default();
    crypto_secretbox::aead::OsRng.try_fill_bytes(&mut nonce).map_err(|_| CipherError::Randomness)?;
    let mut text = Zeroizing::new(plain.to_vec());
    let tag = cipher(password)?
        .encrypt_in_place_detached(&nonce, b"", &mut text)
        .map_err(|_| CipherError::Damaged("it is too large"))?;
    Ok([PREFIX, &nonce, &tag, &text].concat())
}

fn cipher(password: &[u8]) -> Result<XSalsa20Poly1305, CipherError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(|_| CipherError::Memory)?;
    // The crate would end the program where there is no memory; asked for here, it is an error like others.
    let mut blocks = Zeroizing::new(Vec::new());
    blocks.try_reserve_exact(params.block_count()).map_err(|_| CipherError::Memory)?;
    blocks.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0_u8; 32]);
    Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into_with_memory(password, &SALT, key.as_mut_slice(), &mut blocks)
        .map_err(|_| CipherError::WrongPassword)?;
    let key: &Key = (&*key).into();
    Ok(XSalsa20Poly1305::new(key))
}

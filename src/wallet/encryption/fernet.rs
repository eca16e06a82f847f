//! Fernet, read only: what Bittensor's tools wrote at first.
//!
//! A [token](https://github.com/fernet/spec/blob/master/Spec.md) in URL-safe base64: the version 0x80, eight
//! bytes of time, an IV, AES-128-CBC with PKCS#7 padding, and an HMAC-SHA256 of all before it. The key's two
//! halves, first the HMAC's and then the cipher's, are PBKDF2-HMAC-SHA256 of the password with a fixed salt and
//! ten million rounds.

use aes::cipher::{BlockDecryptMut as _, KeyIvInit as _, block_padding::Pkcs7};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::CipherError;

/// The base64 of the version and of the time's first bytes, which are zero for some centuries.
pub(super) const PREFIX: &[u8] = b"gAAAAA";
const SALT: &[u8] = b"Iguesscyborgslikemyselfhaveatendencytobeparanoidaboutourorigins";
const ROUNDS: u32 = 10_000_000;
const IV_AT: usize = 9;
const TEXT_AT: usize = 25;
const SEAL_BYTES: usize = 32;
/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) struct Sealed {
    signed: Vec<u8>,
    seal: [u8; SEAL_BYTES],
}

impl Sealed {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, CipherError> {
        let mut signed =
            BASE64.decode(bytes.trim_ascii()).map_err(|_| CipherError::Damaged("it is not base64"))?;
        let Some(end) = signed.len().checked_sub(SEAL_BYTES).filter(|end| *end >= TEXT_AT + 16) else {
            return Err(CipherError::Damaged("it ends too early"));
        };
        let seal = signed.split_off(end).try_into();
        match seal {
            Ok(seal) if signed.first() == Some(&0x80) && (end - TEXT_AT).is_multiple_of(16) => {
                Ok(Self { signed, seal })
            }
            _ => Err(CipherError::Damaged("it is not a Fernet token")),
        }
    }

    pub(super) fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, SALT, ROUNDS, key.as_mut_slice());
        self.open_with(&key)
    }

    fn open_with(&self, key: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let (seal_key, text_key) = key.split_at(16);
        let mac = Hmac::<Sha256>::new_from_slice(seal_key).map_err(|_| CipherError::WrongPassword)?;
        mac.chain_update(&self.signed).verify_slice(&self.seal).map_err(|_| CipherError::WrongPassword)?;
        let iv = self.signed.get(IV_AT..TEXT_AT).unwrap_or_default();
        let text = self.signed.get(TEXT_AT..).unwrap_or_default();
        // The seal fits, so whatever is wrong now was wrong when the file was written.
        let damaged = CipherError::Damaged("what is encrypted in it is not whole");
        cbc::Decryptor::<aes::Aes128>::new_from_slices(text_key, iv)
            .map_err(|_| damaged)?
            .decrypt_padded_vec_mut::<Pkcs7>(text)
            .map(Zeroizing::new)
            .map_err(|_| damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the specification's `verify.json`.
    #[test]
    fn the_specifications_token_is_read() {
        let token = b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        let key = BASE64.decode("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap().try_into().unwrap();
        let mut sealed = Sealed::parse(token).unwrap();
        assert_eq!(sealed.open_with(&key).unwrap().as_slice(), b"hello");
        sealed.signed[12] ^= 1;
        assert_eq!(sealed.open_with(&key).unwrap_err(), CipherError::WrongPassword);
    }
}

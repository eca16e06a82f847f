//! Ansible vault 1.1 with AES256, read only: what older versions of Bittensor's tools wrote.
//!
//! The [format](https://docs.ansible.com/ansible/latest/vault_guide/vault_using_encrypted_content.html): a
//! header line, then the hex, in lines of 80, of three hex texts on a line each: salt, HMAC-SHA256 of the
//! ciphertext, and the ciphertext: AES-256-CTR with PKCS#7 padding. PBKDF2-HMAC-SHA256 in ten thousand rounds
//! gives the cipher's key, the HMAC's key and the first counter.

use aes::cipher::{
    KeyIvInit as _, StreamCipher as _,
    block_padding::{Pkcs7, RawPadding as _},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::CipherError;

pub(super) const PREFIX: &[u8] = b"$ANSIBLE_VAULT";
const HEADER: &[u8] = b"$ANSIBLE_VAULT;1.1;AES256";
const ROUNDS: u32 = 10_000;
const BLOCK: usize = 16;

pub(crate) struct Sealed {
    salt: Vec<u8>,
    seal: Vec<u8>,
    text: Vec<u8>,
}

impl Sealed {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, CipherError> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        if lines.next().map(<[u8]>::trim_ascii) != Some(HEADER) {
            return Err(CipherError::Damaged("it is a vault of another version than 1.1 with AES256"));
        }
        let body = unhex(&lines.map(<[u8]>::trim_ascii).collect::<Vec<_>>().concat())?;
        let parts: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
        let [salt, seal, text] = parts.as_slice() else {
            return Err(CipherError::Damaged("it does not have the three parts of a vault"));
        };
        let sealed = Self { salt: unhex(salt)?, seal: unhex(seal)?, text: unhex(text)? };
        let whole = sealed.seal.len() == 32 && sealed.text.len().is_multiple_of(BLOCK);
        if whole && !sealed.salt.is_empty() && !sealed.text.is_empty() {
            Ok(sealed)
        } else {
            Err(CipherError::Damaged("it ends too early"))
        }
    }

    pub(super) fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let mut keys = Zeroizing::new([0_u8; 80]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &self.salt, ROUNDS, keys.as_mut_slice());
        let (text_key, rest) = keys.split_at(32);
        let (seal_key, counter) = rest.split_at(32);
        let mac = Hmac::<Sha256>::new_from_slice(seal_key).map_err(|_| CipherError::WrongPassword)?;
        mac.chain_update(&self.text).verify_slice(&self.seal).map_err(|_| CipherError::WrongPassword)?;
        let damaged = CipherError::Damaged("what is encrypted in it is not whole");
        let mut text = Zeroizing::new(self.text.clone());
        ctr::Ctr128BE::<aes::Aes256>::new_from_slices(text_key, counter)
            .map_err(|_| damaged)?
            .try_apply_keystream(&mut text)
            .map_err(|_| damaged)?;
        let last = text.last_chunk::<BLOCK>().ok_or(damaged)?;
        let padding = BLOCK - Pkcs7::raw_unpad(last).map_err(|_| damaged)?.len();
        let length = text.len() - padding;
        text.truncate(length);
        Ok(text)
    }
}

fn unhex(digits: &[u8]) -> Result<Vec<u8>, CipherError> {
    hex::decode(digits).map_err(|_| CipherError::Damaged("it is not hex"))
}

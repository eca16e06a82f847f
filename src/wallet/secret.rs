//! What a keyfile keeps: a key pair and where it came from.

use std::fmt;

use sp_core::crypto::AccountId32;
use zeroize::Zeroizing;

use super::{Keypair, WalletError};

/// A key pair with its seed and, if it has one, its phrase. All are wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct Secret {
    keypair: Keypair,
    seed: Zeroizing<[u8; 32]>,
    phrase: Option<Zeroizing<String>>,
}

impl Secret {
    /// A new one from the system's randomness, with a phrase of 12 words.
    ///
    /// # Errors
    /// [`WalletError::InvalidSecret`] never, as far as is known: the phrase is a phrase.
    pub fn generate() -> Result<Self, WalletError> {
        Self::from_phrase(&Keypair::generate().1)
    }

    /// What somebody wrote down: a phrase of BIP39 words, or a seed as 64 hex digits with or without `0x`.
    ///
    /// # Errors
    /// [`WalletError::InvalidSecret`] for anything else.
    pub fn parse(text: &str) -> Result<Self, WalletError> {
        let text = text.trim();
        let mut seed = Zeroizing::new([0; 32]);
        match hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), seed.as_mut_slice()) {
            Ok(()) => Ok(Self { keypair: Keypair::from_seed(*seed), seed, phrase: None }),
            Err(_) => Self::from_phrase(text),
        }
    }

    fn from_phrase(text: &str) -> Result<Self, WalletError> {
        let mut phrase = Zeroizing::new(String::with_capacity(text.len()));
        for word in text.split_whitespace() {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        let (keypair, seed) = Keypair::from_phrase_with_seed(&phrase)?;
        Ok(Self { keypair, seed, phrase: Some(phrase) })
    }

    /// The account whose key this is.
    pub fn account(&self) -> AccountId32 {
        self.keypair.account()
    }

    /// Its phrase, if it has one. Whoever asks for it shows it to its owner alone, and once.
    pub fn phrase(&self) -> Option<&str> {
        self.phrase.as_ref().map(|phrase| phrase.as_str())
    }

    /// The secret fields of a keyfile.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("privateKey", hex_text(self.keypair.expanded().as_slice())),
            ("secretSeed", hex_text(self.seed.as_slice())),
        ];
        // A field without text is left out: not every reader takes null.
        fields.extend(self.phrase.as_ref().map(|phrase| ("secretPhrase", (**phrase).clone())));
        fields
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.account())
    }
}

fn hex_text(bytes: &[u8]) -> String {
    let digits = Zeroizing::new(hex::encode(bytes));
    let mut text = String::with_capacity(2 + digits.len());
    text.push_str("0x");
    text.push_str(&digits);
    text
}

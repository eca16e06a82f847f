//! An sr25519 key: what signs on chain and signs pseudo-gradients.

use std::fmt;

use sp_core::{
    Pair as _,
    crypto::{AccountId32, Ss58AddressFormat, Ss58Codec},
    sr25519,
};
use zeroize::Zeroizing;

use super::WalletError;

/// The SS58 prefix of the chain's addresses.
pub const SS58_PREFIX: u16 = 42;

/// An sr25519 key pair. The secret is wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct Keypair(sr25519::Pair);

impl Keypair {
    /// From a derivation path of the development phrase (`//Alice`), a BIP39 phrase with or without a
    /// path, or a seed in hex (`0x` and 64 digits).
    ///
    /// # Errors
    /// [`WalletError::InvalidSecret`] for anything else.
    pub fn from_uri(uri: &str) -> Result<Self, WalletError> {
        sr25519::Pair::from_string(uri, None).map(Self).map_err(|_| WalletError::InvalidSecret)
    }

    /// From a 32-byte mini-secret.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(sr25519::Pair::from_seed(&seed))
    }

    /// From a BIP39 phrase and an empty password, as Substrate does: the entropy is stretched, not the words.
    ///
    /// # Errors
    /// [`WalletError::InvalidSecret`] if the words are no phrase.
    pub fn from_phrase(phrase: &str) -> Result<Self, WalletError> {
        Self::from_phrase_with_seed(phrase).map(|(keypair, _)| keypair)
    }

    /// [`Self::from_phrase`], and the mini-secret that keyfiles keep beside the phrase.
    pub(crate) fn from_phrase_with_seed(phrase: &str) -> Result<(Self, Zeroizing<[u8; 32]>), WalletError> {
        let (pair, seed) =
            sr25519::Pair::from_phrase(phrase, None).map_err(|_| WalletError::InvalidSecret)?;
        Ok((Self(pair), Zeroizing::new(seed)))
    }

    /// From the 64 bytes of an expanded secret: a scalar and a nonce. Both encodings of the scalar that
    /// are in use are tried, and `account` says which of them is meant.
    pub(crate) fn from_expanded(bytes: &[u8], account: &AccountId32) -> Option<Self> {
        [schnorrkel::SecretKey::from_bytes, schnorrkel::SecretKey::from_ed25519_bytes]
            .into_iter()
            .filter_map(|parse| parse(bytes).ok())
            .map(|secret| Self(secret.into()))
            .find(|keypair| keypair.account() == *account)
    }

    /// A new key from the system's randomness, and its phrase of 12 words.
    pub fn generate() -> (Self, Zeroizing<String>) {
        let (pair, phrase, seed) = sr25519::Pair::generate_with_phrase(None);
        drop(Zeroizing::new(seed));
        (Self(pair), Zeroizing::new(phrase))
    }

    /// The account whose key this is: the public key itself.
    pub fn account(&self) -> AccountId32 {
        AccountId32::new(self.0.public().0)
    }

    /// An sr25519 signature of `message` in the context `substrate`. Two signatures of one message differ.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).0
    }

    /// The expanded secret as keyfiles hold it: scalar and nonce.
    pub(crate) fn expanded(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.as_ref().secret.to_bytes())
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.account())
    }
}

/// Whether `signature` is that of `account`'s sr25519 key over `message`.
pub fn verify(account: &AccountId32, message: &[u8], signature: &[u8; 64]) -> bool {
    let public = sr25519::Public::from_raw(*AsRef::<[u8; 32]>::as_ref(account));
    sr25519::Pair::verify(&sr25519::Signature::from_raw(*signature), message, &public)
}

/// [`verify`], also for a signature over the message in `<Bytes>` and `</Bytes>`: browser extensions put a text
/// in these before they sign it, so that it can be no transaction.
pub fn verify_wrapped(account: &AccountId32, message: &[u8], signature: &[u8; 64]) -> bool {
    verify(account, message, signature)
        || verify(account, &[b"<Bytes>", message, b"</Bytes>"].concat(), signature)
}

/// An account from its SS58 address with this chain's prefix.
///
/// # Errors
/// [`WalletError::InvalidAddress`] for a bad checksum, length or prefix.
pub fn parse_address(text: &str) -> Result<AccountId32, WalletError> {
    match AccountId32::from_ss58check_with_version(text.trim()) {
        Ok((account, version)) if version == Ss58AddressFormat::custom(SS58_PREFIX) => Ok(account),
        _ => Err(WalletError::InvalidAddress { text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn alice_has_her_well_known_address() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        assert_eq!(alice.account().to_string(), ALICE);
        assert_eq!(
            hex::encode::<&[u8]>(alice.account().as_ref()),
            "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
        );
        assert_eq!(parse_address(ALICE).unwrap(), alice.account());
    }

    #[test]
    fn a_phrase_is_derived_from_its_entropy() {
        // The root of the development keys, the same words in every Substrate tool.
        let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
        let (root, seed) = Keypair::from_phrase_with_seed(phrase).unwrap();
        assert_eq!(root.account().to_string(), "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV");
        assert_eq!(hex::encode(*seed), "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e");
        assert_eq!(Keypair::from_uri(phrase).unwrap().account(), root.account());
        assert_eq!(Keypair::from_seed(*seed).account(), root.account());
    }

    #[test]
    fn signatures_bind_account_and_message() {
        let (alice, bob) = (Keypair::from_uri("//Alice").unwrap(), Keypair::from_uri("//Bob").unwrap());
        let signature = alice.sign(b"window 7");
        assert!(verify(&alice.account(), b"window 7", &signature));
        assert!(!verify(&alice.account(), b"window 8", &signature));
        assert!(!verify(&bob.account(), b"window 7", &signature));
    }

    #[test]
    fn both_encodings_of_an_expanded_secret_are_read() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let account = alice.account();
        let secret = &alice.0.as_ref().secret;
        assert_eq!(Keypair::from_expanded(&secret.to_bytes(), &account).unwrap().account(), account);
        assert_eq!(Keypair::from_expanded(&secret.to_ed25519_bytes(), &account).unwrap().account(), account);
        let bob = Keypair::from_uri("//Bob").unwrap().account();
        assert!(Keypair::from_expanded(&secret.to_bytes(), &bob).is_none());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let (keypair, phrase) = Keypair::generate();
        assert_eq!(format!("{keypair:?}"), format!("Keypair({})", keypair.account()));
        assert_eq!(phrase.split(' ').count(), 12);
        assert!(matches!(Keypair::from_uri("not a phrase"), Err(WalletError::InvalidSecret)));
    }

    #[test]
    fn addresses_of_other_chains_are_refused() {
        for text in ["", "5Grwva", "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"] {
            assert!(matches!(parse_address(text), Err(WalletError::InvalidAddress { .. })), "{text}");
        }
    }
}

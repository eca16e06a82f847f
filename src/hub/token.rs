//! The token that the Hub knows its user by. It is never shown.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A token.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The token of the environment, else of its file.
    pub(super) fn find(variable: &impl Fn(&str) -> Option<String>, home: &Path) -> Option<Self> {
        let clean = |text: Zeroizing<String>| {
            let text = Zeroizing::new(text.trim().to_owned());
            // It becomes a header.
            let sound = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
            sound.then_some(Self(text))
        };
        let named = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN"));
        if let Some(token) = named {
            return clean(Zeroizing::new(token));
        }
        let path = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        clean(Zeroizing::new(fs::read_to_string(path).ok()?))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

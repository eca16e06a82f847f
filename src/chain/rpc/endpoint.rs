//! Networks by name.

use url::Url;

use crate::chain::error::ChainError;

/// The names that [`endpoint`] knows.
pub const NETWORKS: [(&str, &str); 4] = [
    ("local", "ws://127.0.0.1:9944"),
    ("test", "wss://test.finney.opentensor.ai:443"),
    ("finney", "wss://entrypoint-finney.opentensor.ai:443"),
    ("archive", "wss://archive.chain.opentensor.ai:443"),
];

/// The endpoint of a network: by its name, or a `ws://` or `wss://` URL as it is.
///
/// # Errors
/// [`ChainError::UnknownNetwork`] for anything else.
///
/// ```
/// assert_eq!(templar::chain::endpoint("local")?.as_str(), "ws://127.0.0.1:9944/");
/// # Ok::<(), templar::chain::ChainError>(())
/// ```
pub fn endpoint(network: &str) -> Result<Url, ChainError> {
    let given = network.trim();
    let text = NETWORKS.iter().find(|(name, _)| *name == given).map_or(given, |(_, url)| url);
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "ws" | "wss") && url.host().is_some() => Ok(url),
        _ => Err(ChainError::UnknownNetwork { given: given.to_owned() }),
    }
}

/// The endpoints of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Those to use, the preferred one first.
    pub main: Vec<Url>,
    /// Those that keep the states of old blocks, for what the others have thrown away.
    pub archive: Vec<Url>,
}

impl Endpoints {
    /// From a list with commas of what [`endpoint`] takes, and lists of fallbacks and of archives, which may be empty.
    ///
    /// # Errors
    /// [`ChainError::UnknownNetwork`] for the first that is neither a name nor a URL.
    pub fn parse(main: &str, fallbacks: &str, archives: &str) -> Result<Self, ChainError> {
        let list = |text: &str| -> Result<Vec<Url>, ChainError> {
            text.split(',').filter(|part| !part.trim().is_empty()).map(endpoint).collect()
        };
        let mut main = list(main)?;
        if main.is_empty() {
            return Err(ChainError::UnknownNetwork { given: String::new() });
        }
        main.extend(list(fallbacks)?);
        Ok(Self { main, archive: list(archives)? })
    }

    /// [`Self::parse`], with the fallbacks and archives of the environment: `BT_FALLBACK_ENDPOINTS`,
    /// `BT_ARCHIVE_ENDPOINTS`. The main network has an archive by itself.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_env(main: &str) -> Result<Self, ChainError> {
        let text = |name| std::env::var(name).unwrap_or_default();
        let mut archives = text("BT_ARCHIVE_ENDPOINTS");
        if archives.is_empty() && main.trim() == "finney" {
            archives = "archive".to_owned();
        }
        Self::parse(main, &text("BT_FALLBACK_ENDPOINTS"), &archives)
    }
}

/// The endpoint as it may be shown: without user, password and query, which may hold an access key.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let path = url.path().trim_end_matches('/');
    // Hosted nodes put the key into the path; the first letters tell which it is.
    let path = if path.len() > 12 { "/…" } else { path };
    format!("{}://{}{port}{path}", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_urls_are_endpoints() {
        for (given, shown_as) in [
            ("local", "ws://127.0.0.1:9944"),
            ("finney", "wss://entrypoint-finney.opentensor.ai"),
            ("ws://127.0.0.1:9955", "ws://127.0.0.1:9955"),
            ("wss://user:secret@node.example:9944/?key=secret", "wss://node.example:9944"),
            ("wss://node.example/0123456789abcdef0123456789abcdef", "wss://node.example/…"),
        ] {
            assert_eq!(shown(&endpoint(given).unwrap()), shown_as, "{given}");
        }
    }

    #[test]
    fn lists_have_an_order() {
        let both = Endpoints::parse("ws://a:1, local", "wss://b", "").unwrap();
        assert_eq!(
            both.main.iter().map(shown).collect::<Vec<_>>(),
            ["ws://a:1", "ws://127.0.0.1:9944", "wss://b"]
        );
        assert!(both.archive.is_empty());
        assert!(Endpoints::parse(" ,", "wss://b", "").is_err());
        assert!(Endpoints::parse("local", "nowhere", "").is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        for given in ["", "finny", "http://127.0.0.1:9944", "127.0.0.1:9944", "ws://"] {
            assert!(matches!(endpoint(given), Err(ChainError::UnknownNetwork { .. })), "{given}");
        }
    }
}

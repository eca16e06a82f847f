//! Networks by name.

use url::Url;

use crate::chain::error::ChainError;

/// The names that [`endpoint`] knows.
pub const NETWORKS: [(&str, &str); 6] = [
    ("local", "ws://127.0.0.1:9944"),
    ("test", "wss://test.finney.opentensor.ai:443"),
    ("finney", "wss://entrypoint-finney.opentensor.ai:443"),
    ("archive", "wss://archive.chain.opentensor.ai:443"),
    ("dev", "wss://dev.chain.opentensor.ai:443"),
    ("latent-lite", "wss://lite.sub.latent.to:443"),
];

/// Public endpoints of the main network beside its own, as Bittensor's SDK 11 has them.
const FINNEY_TOO: &str = "wss://lite.chain.opentensor.ai:443,latent-lite";
/// Public archives of the main network.
const ARCHIVES: &str = "archive,wss://archive.sub.latent.to:443";
/// Says that there are to be no others.
const NONE: &str = "none";

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

    /// Both lists as they may be shown: without anything that may be a secret.
    pub fn shown(&self) -> (Vec<String>, Vec<String>) {
        let each = |urls: &[Url]| urls.iter().map(shown).collect();
        (each(&self.main), each(&self.archive))
    }

    /// [`Self::parse`], with the fallbacks and archives of an environment: `BT_FALLBACK_ENDPOINTS`,
    /// `BT_ARCHIVE_ENDPOINTS`. The main network has public ones by itself; `none` says that there are to be no others.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with(main: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ChainError> {
        let text = |name, usual: &str| match environment(name).filter(|text| !text.trim().is_empty()) {
            Some(text) if text.trim() == NONE => String::new(),
            Some(text) => text,
            None => usual.to_owned(),
        };
        let (fallbacks, archives) = match main.trim() {
            "finney" => (FINNEY_TOO, ARCHIVES),
            "archive" => (ARCHIVES.split_once(',').map_or("", |(_, others)| others), ""),
            _ => ("", ""),
        };
        Self::parse(main, &text("BT_FALLBACK_ENDPOINTS", fallbacks), &text("BT_ARCHIVE_ENDPOINTS", archives))
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
    fn the_main_network_has_more_than_one_way_in() {
        let of = |main: &str, fallbacks: Option<&str>| {
            let environment =
                |name: &str| fallbacks.filter(|_| name == "BT_FALLBACK_ENDPOINTS").map(str::to_owned);
            let endpoints = Endpoints::with(main, environment).unwrap();
            (endpoints.main.len(), endpoints.archive.len())
        };
        assert_eq!(of("finney", None), (3, 2));
        assert_eq!(of("finney", Some("none")), (1, 2));
        assert_eq!(of("finney", Some("wss://own.example")), (2, 2));
        assert_eq!((of("archive", None), of("local", None)), ((2, 0), (1, 0)));
    }

    #[test]
    fn anything_else_is_refused() {
        for given in ["", "finny", "http://127.0.0.1:9944", "127.0.0.1:9944", "ws://"] {
            assert!(matches!(endpoint(given), Err(ChainError::UnknownNetwork { .. })), "{given}");
        }
    }
}

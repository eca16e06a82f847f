//! Networks by name.

use url::Url;

use super::ChainError;

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
    fn anything_else_is_refused() {
        for given in ["", "finny", "http://127.0.0.1:9944", "127.0.0.1:9944", "ws://"] {
            assert!(matches!(endpoint(given), Err(ChainError::UnknownNetwork { .. })), "{given}");
        }
    }
}

//! The Hugging Face Hub: models and datasets fetched into the cache that Hugging Face's own tools use, and models put there.
//!
//! A file is fetched in ranges side by side, goes on where it was after a crash, and is there only once its hash is right:
//! SHA-256 of a large file, git's hash of a small one. Nothing that a repository names leads out of its folder.

mod cache;
mod download;
mod error;
mod token;
mod upload;

pub use download::Snapshot;
pub use error::HubError;
pub use token::Token;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use std::{fmt, future::Future, path::PathBuf, str::FromStr, sync::Once, time::Duration};

/// Where the Hub is, unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";
/// How often a request is made before it has failed.
const ATTEMPTS: u32 = 5;
/// The longest that a server may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest description of a repository or answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A dataset.
    Dataset,
}

/// A repository at a revision, written `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION` or `hf:datasets/OWNER/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// What it holds.
    pub kind: RepoKind,
    /// Owner and name.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// How a repository's name begins.
pub const PREFIX: &str = "hf:";

impl FromStr for Repo {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let bad = || HubError::Name(text.to_owned());
        let rest = text.strip_prefix(PREFIX).ok_or_else(bad)?;
        let (rest, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let (kind, id) = match rest.strip_prefix("datasets/") {
            Some(id) => (RepoKind::Dataset, id),
            None => (RepoKind::Model, rest),
        };
        // They become parts of addresses and folders.
        let plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && part.len() <= 96 && !part.starts_with('.') && part.chars().all(allowed)
        };
        let parts: Vec<&str> = id.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| plain(part)) || !plain(revision) {
            return Err(bad());
        }
        Ok(Self { kind, id: id.to_owned(), revision: revision.to_owned() })
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == RepoKind::Dataset { "datasets/" } else { "" };
        write!(f, "{PREFIX}{kind}{}", self.id)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

impl Repo {
    /// A dataset as the Hub itself converts every one: Parquet, in folders `CONFIGURATION/SPLIT`.
    ///
    /// # Errors
    /// [`HubError::Name`].
    pub fn dataset_as_parquet(id: &str) -> Result<Self, HubError> {
        let repo: Self = format!("{PREFIX}datasets/{id}").parse()?;
        Ok(Self { revision: "refs/convert/parquet".to_owned(), ..repo })
    }

    /// The revision, as it stands in an address.
    fn escaped_revision(&self) -> String {
        self.revision.replace('/', "%2F")
    }

    /// `models` or `datasets`, as in addresses of the interface.
    fn plural(&self) -> &'static str {
        match self.kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        }
    }
}

/// A client of the Hub.
#[derive(Debug, Clone)]
pub struct Hub {
    client: Client,
    endpoint: Url,
    token: Option<Token>,
    cache: PathBuf,
    offline: bool,
    /// Before the second attempt; twice as long before each later one.
    pause: Duration,
}

impl Hub {
    /// A client as the environment describes it, in the variables of Hugging Face's tools: `HF_ENDPOINT`, `HF_TOKEN` (or the
    /// file that `HF_TOKEN_PATH` names, or `$HF_HOME/token`), `HF_HUB_CACHE` (or `$HF_HOME/hub`), `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`HubError`] for an endpoint that is no address, or one that a token would be sent to in clear text.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let bad = || HubError::Endpoint(endpoint.clone());
        let url = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| bad())?;
        if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
            Some(cache.join("huggingface"))
        });
        let home = home.unwrap_or_else(|| PathBuf::from("huggingface"));
        let token = Token::find(&variable, &home);
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if token.is_some() && url.scheme() == "http" && !local {
            return Err(HubError::ClearText(endpoint));
        }
        let cache = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"));
        let client = client().map_err(HubError::Client)?;
        Ok(Self { client, endpoint: url, token, cache, offline, pause: Duration::from_millis(500) })
    }

    /// Waits so long before a second attempt, and twice as long before each later one.
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// An address below the endpoint.
    fn url(&self, path: &str) -> Result<Url, HubError> {
        let base = self.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}")).map_err(|_| HubError::Endpoint(self.endpoint.to_string()))
    }

    /// A request to the Hub itself, with the token where there is one.
    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Makes a request until it is answered well, it is refused, or it has failed too often. `make` makes it anew each time,
    /// and `read` reads the answer, whose body may break off.
    async fn retry<T, F: Future<Output = Result<T, reqwest::Error>>>(
        &self,
        what: &str,
        make: impl Fn() -> RequestBuilder,
        read: impl Fn(Response) -> F,
    ) -> Result<T, HubError> {
        let mut attempt = 1;
        loop {
            let (error, asked) = match self.once(what, make().send().await).await {
                Ok(response) => match read(response).await {
                    Ok(value) => return Ok(value),
                    Err(source) => (HubError::Broken { what: what.to_owned(), source }, None),
                },
                Err((error, asked)) => (error, asked),
            };
            if attempt == ATTEMPTS || !error.may_pass() {
                return Err(error);
            }
            let pause = asked.unwrap_or(self.pause * 2u32.pow(attempt - 1)).min(LONGEST_PAUSE);
            tracing::debug!(%error, attempt, "trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// An answer with a good status; else what it says, and how long the server wants to be left alone.
    async fn once(
        &self,
        what: &str,
        sent: Result<Response, reqwest::Error>,
    ) -> Result<Response, (HubError, Option<Duration>)> {
        let what = what.to_owned();
        let response = match sent {
            Ok(response) => response,
            Err(source) => return Err((HubError::Broken { what, source }, None)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let asked = header(header::RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let said = header(header::HeaderName::from_static("x-error-message"));
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                HubError::Denied { what, status: status.as_u16(), with_token: self.token.is_some(), said }
            }
            StatusCode::NOT_FOUND => HubError::NotFound { what, said },
            _ => HubError::Status { what, status: status.as_u16(), said },
        };
        Err((error, asked))
    }
}

/// Chooses what encrypts connections, once.
pub(crate) fn install_tls() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another part of the process may have chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A client that follows redirects, but never from an encrypted connection to a plain one.
fn client() -> Result<Client, reqwest::Error> {
    install_tls();
    let policy = redirect::Policy::custom(|attempt| {
        let secure = |url: &Url| url.scheme() == "https";
        if attempt.previous().len() > 10 {
            return attempt.error("too many redirects");
        }
        if attempt.previous().last().is_some_and(secure) && !secure(attempt.url()) {
            return attempt.error("it leads to a connection that is not encrypted");
        }
        attempt.follow()
    });
    Client::builder()
        .redirect(policy)
        .connect_timeout(Duration::from_secs(15))
        .read_timeout(Duration::from_secs(60))
        .user_agent(concat!("templar/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The bytes of an answer, of bounded length.
async fn body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        // What is longer is no JSON that anybody reads; it fails as such.
        if bytes.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_repositories() {
        let repo: Repo = "hf:meta-llama/Llama-3.2-1B".parse().unwrap();
        assert_eq!(
            (repo.kind, repo.id.as_str(), repo.revision.as_str()),
            (RepoKind::Model, "meta-llama/Llama-3.2-1B", "main")
        );
        let repo: Repo = "hf:datasets/cais/mmlu@v1".parse().unwrap();
        assert_eq!(
            (repo.kind, repo.id.as_str(), repo.revision.as_str()),
            (RepoKind::Dataset, "cais/mmlu", "v1")
        );
        assert_eq!(repo.to_string(), "hf:datasets/cais/mmlu@v1");
        assert_eq!("hf:gpt2".parse::<Repo>().unwrap().id, "gpt2");
        for bad in [
            "",
            "hf:",
            "meta/llama",
            "hf:a/b/c",
            "hf:../x",
            "hf:a/..",
            "hf:a/b@",
            "hf:a b",
            "hf:a/b@../x",
            "hf:a//b",
        ] {
            assert!(matches!(bad.parse::<Repo>(), Err(HubError::Name(_))), "{bad}");
        }
    }

    #[test]
    fn the_environment_is_that_of_the_hubs_own_tools() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = folder.path().display().to_string();
        let hub = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> =
                pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            let home = home.clone();
            Hub::from_env(move |name| {
                let found = pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                found.or_else(|| (name == "HF_HOME").then(|| home.clone()))
            })
        };
        let plain = hub(&[]).unwrap();
        assert_eq!(plain.endpoint.as_str(), "https://huggingface.co/");
        assert_eq!((plain.cache, plain.token.unwrap().expose()), (folder.path().join("hub"), "hf_file"));
        let other =
            hub(&[("HF_TOKEN", " hf_env "), ("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "1")]).unwrap();
        assert_eq!((other.cache, other.offline), (PathBuf::from("/c"), true));
        assert_eq!(other.token.as_ref().unwrap().expose(), "hf_env");
        assert!(!format!("{:?}", other.token).contains("hf_env"));
        assert!(matches!(hub(&[("HF_ENDPOINT", "nowhere")]), Err(HubError::Endpoint(_))));
        assert!(matches!(hub(&[("HF_ENDPOINT", "http://mirror.example")]), Err(HubError::ClearText(_))));
        let mirror = hub(&[("HF_ENDPOINT", "http://127.0.0.1:9/base/")]).unwrap();
        assert_eq!(mirror.url("api/x").unwrap().as_str(), "http://127.0.0.1:9/base/api/x");
    }
}

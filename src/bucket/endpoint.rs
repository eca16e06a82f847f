use std::{fmt, str::FromStr};
use url::Url;

/// Where buckets are served: a URL in which `{account_id}` stands for the owner of a bucket.
///
/// One template serves a whole run, so a commitment needs no address in it:
/// `https://{account_id}.r2.cloudflarestorage.com`, or `http://127.0.0.1:9000` for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// Why a text is no endpoint.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is no endpoint: it {problem}; write `https://host`, `http://host:port` or a host with {{account_id}} in it"
)]
pub struct EndpointError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

const PLACEHOLDER: &str = "{account_id}";

impl Endpoint {
    /// Cloudflare R2.
    pub fn r2() -> Self {
        Self("https://{account_id}.r2.cloudflarestorage.com".to_owned())
    }

    /// The address that serves the buckets of `account_id`, which must have passed [`check_account_id`].
    pub(crate) fn url_for(&self, account_id: &str) -> String {
        self.0.replace(PLACEHOLDER, account_id)
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::r2()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = |problem| Err(EndpointError { text: super::printable(text, 200), problem });
        // A stand-in that is sure to show up in the host, and nowhere else, if the placeholder is there.
        let Ok(url) = Url::parse(&text.replace(PLACEHOLDER, "account-id-stands-here")) else {
            return fail("is not a URL");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return fail("does not begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fail("has a user name in it");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return fail("has more than a host and a port");
        }
        let in_host = url.host_str().map_or(0, |host| host.matches("account-id-stands-here").count());
        if in_host != text.matches(PLACEHOLDER).count() || text.contains("account-id-stands-here") {
            return fail("has {account_id} outside of the host");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks an account id: what a stranger commits on chain becomes a bucket's name and, with R2's template,
/// a label of a host name. Only `a-z 0-9 -` may be in it, not `-` at an end, 3 to 63 characters: so it
/// can neither name another host nor another path.
pub(crate) fn check_account_id(id: &str) -> Result<(), &'static str> {
    if !(3..=63).contains(&id.len()) {
        Err("must have 3 to 63 characters")
    } else if !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        Err("may only have a-z, 0-9 and -")
    } else if id.starts_with('-') || id.ends_with('-') || id.starts_with("xn--") {
        Err("may not begin or end with - nor begin with xn--")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_give_addresses() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            Endpoint::r2().url_for(id),
            "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
        );
        let local: Endpoint = "http://127.0.0.1:9000/".parse().unwrap();
        assert_eq!(local.url_for(id), "http://127.0.0.1:9000");
        assert_eq!(local.to_string().parse::<Endpoint>().unwrap(), local);
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "127.0.0.1:9000",
            "ftp://host",
            "http://host/{account_id}",
            "http://{account_id}@host",
            "http://host/?a=1",
            "https://user:secret@host",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_id_cannot_lead_elsewhere() {
        for id in
            ["evil.example/", "a@evil.example", "a.b", "A1b", "-ab", "ab-", "ab", "xn--abc", "a#b", "a:1"]
        {
            assert!(check_account_id(id).is_err(), "{id}");
        }
        check_account_id("0123456789abcdef0123456789abcdef").unwrap();
    }
}

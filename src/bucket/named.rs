use super::{Endpoint, EndpointError, S3Options, S3Store, check_key};

/// A place in a bucket that a person names: `s3://BUCKET/PREFIX`. The environment has its address and key.
#[derive(Debug, Clone)]
pub struct NamedBucket {
    /// The bucket.
    pub store: S3Store,
    /// Before the names of its objects; empty, or with a slash at its end.
    pub prefix: String,
}

/// How such a name begins.
const SCHEME: &str = "s3://";
const ADDRESS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Why a name of a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamedBucketError {
    /// It is not written like one.
    #[error("`{0}` is no place in a bucket")]
    Name(String),
    /// A variable of the environment is not set.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The address is malformed.
    #[error("the address of the bucket is malformed")]
    Endpoint(#[from] EndpointError),
}

impl NamedBucketError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name(_) => "Write it as s3://BUCKET or s3://BUCKET/PREFIX.",
            _ => "Set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as for other S3 tools.",
        }
    }
}

impl NamedBucket {
    /// Whether a text is meant as such a place.
    pub fn is_named(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The place that a text names, with the address and key that variables of the environment hold: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, and `AWS_REGION` (`auto` unless set).
    ///
    /// # Errors
    /// [`NamedBucketError`].
    pub fn open(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, NamedBucketError> {
        let bad = || NamedBucketError::Name(text.to_owned());
        let rest = text.strip_prefix(SCHEME).ok_or_else(bad)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty()
            || !bucket.chars().all(plain)
            || !(prefix.is_empty() || check_key(prefix).is_ok())
        {
            return Err(bad());
        }
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let first = |names: [&str; 2]| names.into_iter().find_map(&variable);
        let address = first(ADDRESS).ok_or(NamedBucketError::Missing(ADDRESS[1]))?;
        let endpoint: Endpoint = address.trim_end_matches('/').parse()?;
        let id = variable(ID).ok_or(NamedBucketError::Missing(ID))?;
        let secret = variable(SECRET).ok_or(NamedBucketError::Missing(SECRET))?;
        let mut options = S3Options::patient();
        if let Some(region) = first(REGION) {
            options.region = region;
        }
        let store = S3Store::at_address(bucket, &id, &secret, endpoint.url_for(bucket), &options);
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { store, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Store;

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        let variable = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:9000/".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("key".to_owned()),
            _ => None,
        };
        for (name, bucket, prefix) in [
            ("s3://text", "text", ""),
            ("s3://text/", "text", ""),
            ("s3://text/a/b", "text", "a/b/"),
            ("s3://text/a/b/", "text", "a/b/"),
        ] {
            let place = NamedBucket::open(name, variable).unwrap();
            assert_eq!((place.store.bucket(), place.prefix.as_str()), (bucket, prefix), "{name}");
        }
        for name in ["s3://", "s3:///a", "text", "s3://a b", "s3://text/../other", "s3://te?xt"] {
            assert!(matches!(NamedBucket::open(name, variable), Err(NamedBucketError::Name(_))), "{name}");
        }
        let error = NamedBucket::open("s3://text", |_| None).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable AWS_ENDPOINT_URL is not set");
    }
}

use super::{CredentialError, Endpoint, EndpointError, ReadCredential, WriteCredential};

/// Everything that a neuron needs of its own bucket: the key it commits, the key it writes with, and where.
#[derive(Debug, Clone)]
pub struct OwnBucket {
    /// What goes on chain.
    pub read: ReadCredential,
    /// What stays here.
    pub write: WriteCredential,
    /// Where this bucket, and everyone's, is served.
    pub endpoint: Endpoint,
}

const ACCOUNT_ID: &str = "R2_GRADIENTS_ACCOUNT_ID";
const BUCKET_NAME: &str = "R2_GRADIENTS_BUCKET_NAME";
const READ_ID: &str = "R2_GRADIENTS_READ_ACCESS_KEY_ID";
const READ_SECRET: &str = "R2_GRADIENTS_READ_SECRET_ACCESS_KEY";
const WRITE_ID: &str = "R2_GRADIENTS_WRITE_ACCESS_KEY_ID";
const WRITE_SECRET: &str = "R2_GRADIENTS_WRITE_SECRET_ACCESS_KEY";
const ENDPOINT: &str = "TEMPLAR_BUCKET_ENDPOINT";

/// Why the environment does not describe a bucket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnBucketError {
    /// A variable is not set, or empty.
    #[error("the environment variable {variable} is not set")]
    Missing {
        /// Its name.
        variable: &'static str,
    },
    /// The bucket has another name than its account.
    #[error("the bucket is named `{name}`, but must be named like its account id, `{account_id}`")]
    NamedOtherwise {
        /// The bucket's name.
        name: String,
        /// The account id.
        account_id: String,
    },
    /// A credential is malformed.
    #[error("the {which} key of the bucket is malformed")]
    Credential {
        /// `read` or `write`.
        which: &'static str,
        /// Why.
        #[source]
        source: CredentialError,
    },
    /// The endpoint is malformed.
    #[error("{ENDPOINT} is malformed")]
    Endpoint(#[source] EndpointError),
}

impl OwnBucketError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "Set R2_GRADIENTS_ACCOUNT_ID, R2_GRADIENTS_{READ,WRITE}_ACCESS_KEY_ID and R2_GRADIENTS_{READ,WRITE}_SECRET_ACCESS_KEY."
            }
            Self::NamedOtherwise { .. } => {
                "The commitment has no room for a name: create a bucket that is named like the account id."
            }
            Self::Credential { source, .. } => source.hint(),
            Self::Endpoint(_) => "Leave it unset for Cloudflare R2.",
        }
    }
}

impl OwnBucket {
    /// Reads the names that the reference uses, `R2_GRADIENTS_*`, and `TEMPLAR_BUCKET_ENDPOINT`
    /// (Cloudflare R2 where that is not set). `BUCKET_NAME` may be left out.
    ///
    /// `variable` gives the value of an environment variable: `|name| std::env::var(name).ok()`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, OwnBucketError> {
        let optional = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &'static str| optional(name).ok_or(OwnBucketError::Missing { variable: name });
        let account_id = needed(ACCOUNT_ID)?;
        if let Some(name) = optional(BUCKET_NAME).filter(|name| *name != account_id) {
            let printable = |text: &str| super::printable(text, 64);
            return Err(OwnBucketError::NamedOtherwise {
                name: printable(&name),
                account_id: printable(&account_id),
            });
        }
        let read = ReadCredential::new(&account_id, &needed(READ_ID)?, &needed(READ_SECRET)?)
            .map_err(|source| OwnBucketError::Credential { which: "read", source })?;
        let write = WriteCredential::new(&account_id, &needed(WRITE_ID)?, &needed(WRITE_SECRET)?)
            .map_err(|source| OwnBucketError::Credential { which: "write", source })?;
        let endpoint = match optional(ENDPOINT) {
            Some(text) => text.parse().map_err(OwnBucketError::Endpoint)?,
            None => Endpoint::r2(),
        };
        Ok(Self { read, write, endpoint })
    }

    /// The same as variables, for the environment of a child process.
    pub fn to_env(&self) -> [(&'static str, String); 7] {
        [
            (ACCOUNT_ID, self.write.account_id().to_owned()),
            (BUCKET_NAME, self.write.account_id().to_owned()),
            (READ_ID, self.read.access_key_id().to_owned()),
            (READ_SECRET, self.read.secret().to_owned()),
            (WRITE_ID, self.write.access_key_id().to_owned()),
            (WRITE_SECRET, self.write.secret().to_owned()),
            (ENDPOINT, self.endpoint.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn environment() -> HashMap<&'static str, String> {
        HashMap::from([
            (ACCOUNT_ID, "0123456789abcdef0123456789abcdef".to_owned()),
            (READ_ID, "a1".repeat(16)),
            (READ_SECRET, "5e".repeat(32)),
            (WRITE_ID, "b2".repeat(16)),
            (WRITE_SECRET, "7d".repeat(32)),
        ])
    }

    #[test]
    fn it_comes_from_the_environment_and_goes_back() {
        let own = OwnBucket::from_env(|name| environment().get(name).cloned()).unwrap();
        assert_eq!(own.endpoint, Endpoint::r2());
        let map: HashMap<_, _> = own.to_env().into_iter().collect();
        let again = OwnBucket::from_env(|name| map.get(name).cloned()).unwrap();
        assert_eq!(again.read, own.read);
        assert_eq!(again.write, own.write);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let with = |name: &'static str, value: &str| {
            let mut map = environment();
            map.insert(name, value.to_owned());
            OwnBucket::from_env(|name| map.get(name).cloned()).unwrap_err().to_string()
        };
        assert_eq!(
            with(WRITE_SECRET, ""),
            "the environment variable R2_GRADIENTS_WRITE_SECRET_ACCESS_KEY is not set"
        );
        assert!(with(BUCKET_NAME, "gradients").contains("must be named like its account id"));
        assert_eq!(with(READ_SECRET, "short"), "the read key of the bucket is malformed");
        assert_eq!(with(ENDPOINT, "nonsense"), "TEMPLAR_BUCKET_ENDPOINT is malformed");
    }
}

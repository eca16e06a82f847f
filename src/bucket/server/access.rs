use super::keys::{Access, Keys};
use crate::bucket::check_key;
use async_trait::async_trait;
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    path::S3Path,
    s3_error,
};
use std::{collections::HashMap, sync::Arc};

struct Grant {
    secret: SecretKey,
    bucket: String,
    access: Access,
}

/// Decides who may do what. Clones share the keys.
#[derive(Clone)]
pub(super) struct Gate(Arc<HashMap<String, Grant>>);

impl Gate {
    pub fn new(keys: &Keys) -> Self {
        let grant = |key: &super::AccessKey| {
            let (secret, bucket) = (SecretKey::from(key.secret_key.as_str()), key.bucket.clone());
            (key.access_key.clone(), Grant { secret, bucket, access: key.access })
        };
        Self(Arc::new(keys.keys.iter().map(grant).collect()))
    }
}

#[async_trait]
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.get(access_key) {
            Some(grant) => Ok(grant.secret.clone()),
            None => Err(s3_error!(InvalidAccessKeyId, "this key is not known here")),
        }
    }
}

/// What an operation needs; `None` for those that are not served.
fn needed(operation: &str) -> Option<Access> {
    match operation {
        "GetObject" | "HeadObject" | "ListObjects" | "ListObjectsV2" | "HeadBucket" | "GetBucketLocation" => {
            Some(Access::Read)
        }
        "PutObject"
        | "DeleteObject"
        | "DeleteObjects"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload" => Some(Access::Write),
        _ => None,
    }
}

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(grant) = cx.credentials().and_then(|credentials| self.0.get(&credentials.access_key)) else {
            return Err(s3_error!(AccessDenied, "a signature is required"));
        };
        let Some(needed) = needed(cx.s3_op().name()) else {
            return Err(s3_error!(AccessDenied, "this server does not do that"));
        };
        if cx.s3_path().get_bucket_name() != Some(grant.bucket.as_str()) {
            return Err(s3_error!(AccessDenied, "this key is for another bucket"));
        }
        if needed == Access::Write && grant.access != Access::Write {
            return Err(s3_error!(AccessDenied, "this key may only read"));
        }
        // A bucket is a folder here: a key with `..` in it would be a path into another one.
        if let S3Path::Object { key, .. } = cx.s3_path()
            && check_key(key).is_err()
        {
            return Err(s3_error!(InvalidArgument, "this server does not take such a key"));
        }
        Ok(())
    }
}

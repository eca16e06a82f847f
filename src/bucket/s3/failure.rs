use crate::bucket::{BucketError, printable};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use std::time::Duration;

/// What was being done, for the error that may come of it.
pub(super) struct At<'a> {
    pub endpoint: &'a str,
    pub bucket: &'a str,
    pub key: &'a str,
    pub operation: &'static str,
    pub after: Duration,
}

impl At<'_> {
    pub fn bad_answer(&self, problem: &str) -> BucketError {
        BucketError::BadAnswer { endpoint: self.endpoint.to_owned(), problem: problem.to_owned() }
    }

    pub fn timed_out(&self, after: Duration) -> BucketError {
        BucketError::TimedOut { endpoint: self.endpoint.to_owned(), operation: self.operation, after }
    }

    pub fn unreachable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> BucketError {
        BucketError::Unreachable { endpoint: self.endpoint.to_owned(), source }
    }
}

/// Says what a failed request means.
pub(super) fn classify<E>(at: &At<'_>, error: SdkError<E, HttpResponse>) -> BucketError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error {
        SdkError::TimeoutError(_) => at.timed_out(at.after),
        SdkError::DispatchFailure(ref failure) if failure.is_timeout() => at.timed_out(at.after),
        SdkError::DispatchFailure(_) => match error.into_source() {
            Ok(source) => at.unreachable(source),
            Err(_) => at.bad_answer("the request could not be sent"),
        },
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().meta().code().map(|code| printable(code, 64));
            by_status(at, status, code)
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            at.bad_answer(&format!("status {status} with a content that cannot be read"))
        }
        SdkError::ConstructionFailure(_) => at.bad_answer("the request could not be made"),
        _ => at.bad_answer("the request failed in an unknown way"),
    }
}

/// The code is in the answer's content; HEAD has none, then the status decides.
fn by_status(at: &At<'_>, status: u16, code: Option<String>) -> BucketError {
    let bucket = at.bucket.to_owned();
    let denied =
        |code| BucketError::PermissionDenied { bucket: at.bucket.to_owned(), operation: at.operation, code };
    let told = code.clone().unwrap_or_else(|| format!("HTTP {status}"));
    match (code.as_deref(), status) {
        (Some("NoSuchBucket"), _) => BucketError::NoBucket { bucket },
        (Some("RequestTimeTooSkewed" | "RequestExpired"), _) => BucketError::ClockSkew { code: told },
        (Some("SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "Throttling"), _)
        | (_, 429 | 500..=599) => BucketError::Busy { endpoint: at.endpoint.to_owned(), code: told },
        (Some("RequestTimeout"), _) => at.timed_out(at.after),
        (_, 401 | 403) => denied(told),
        (Some("NoSuchKey" | "NotFound"), _) | (None, 404) => {
            BucketError::NotFound { bucket, key: at.key.to_owned() }
        }
        _ => at.bad_answer(&format!("status {status} ({told})")),
    }
}

use aws_sdk_s3::config::{
    interceptors::InterceptorContext,
    retry::{ClassifyRetry, RetryAction},
};

/// Asks again after HTTP 429. The client by itself does so only where the answer's content names a code of S3, and
/// a limit in front of a store answers without one.
#[derive(Debug)]
pub(super) struct Throttled;

impl ClassifyRetry for Throttled {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(answer) if answer.status().as_u16() == 429 => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "HTTP 429"
    }
}

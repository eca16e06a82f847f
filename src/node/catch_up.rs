//! Rounds ahead: while one step is taken, the records and pseudo-gradients of the next ones are fetched and decoded.

use super::{
    NodeError,
    sources::{Round, Said, Sources},
};
use crate::window::Window;
use futures::{Stream, StreamExt, TryStreamExt, future::ready, stream};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::task::{JoinError, JoinHandle};

/// Records that are fetched ahead.
const RECORDS_AHEAD: usize = 16;
/// Rounds that are fetched and decoded ahead, at least and at most.
const ROUNDS_AHEAD: (usize, usize) = (2, 16);
/// Memory for them, in bytes.
const BYTES_AHEAD: usize = 1 << 30;

/// The rounds from that of `first` to that of the window `last`, all of which are settled, in order; ends before the first window that
/// has no record.
pub(super) fn rounds(
    sources: Arc<Sources>,
    first: Said,
    last: Window,
) -> impl Stream<Item = Result<Round, NodeError>> {
    let (least, most) = ROUNDS_AHEAD;
    let ahead = (BYTES_AHEAD / sources.round_bytes().max(1)).clamp(least, most);
    let others = {
        let sources = sources.clone();
        let record = move |window| {
            let sources = sources.clone();
            Task::spawn(async move { sources.record(window).await })
        };
        stream::iter(first.window() + 1..=last).map(record).buffered(RECORDS_AHEAD)
    };
    let records = stream::once(ready(Ok(Some(first)))).chain(others);
    let records = records.try_take_while(|record| ready(Ok(record.is_some())));
    records
        .map(move |record| {
            let sources = sources.clone();
            Task::spawn(async move {
                match record? {
                    Some(record) => sources.round(record).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .buffered(ahead)
        .try_filter_map(|round| ready(Ok(round)))
}

/// Work that goes on by itself, and ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Err(error)) => ended(error),
            Poll::Ready(Ok(result)) => Poll::Ready(result),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Passes a panic on; a task that was cancelled belongs to a runtime that ends, and never says anything.
fn ended<T>(error: JoinError) -> Poll<T> {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
    Poll::Pending
}

/// What a blocking piece of work gives.
pub(super) async fn joined<T>(handle: JoinHandle<T>) -> T {
    Task(handle).await
}

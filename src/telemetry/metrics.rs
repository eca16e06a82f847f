//! A node's counters and gauges, as text for Prometheus.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What it has grown to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    const KIND: &'static str = "counter";
}

/// A number that goes up and down; it starts at 0.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// What it was set to last.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    const KIND: &'static str = "gauge";
}

/// Makes the struct and its text from one list, so that the documentation is the help that is served.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident,)*) => {
        /// What a node counts. One for each process, shared by reference.
        #[derive(Debug, Default)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[doc = $help])+ pub $name: $kind,)*
        }

        impl Metrics {
            /// The text format of Prometheus, version 0.0.4. `labels` is put inside the braces of every
            /// line, such as `role="miner",uid="3"`; it may be empty.
            pub fn render(&self, labels: &str) -> String {
                let mut text = String::new();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                $({
                    let name = concat!("templar_", stringify!($name));
                    let help = concat!($($help),+).trim();
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", $kind::KIND);
                    let _ = writeln!(text, "{name}{labels} {}", self.$name.get());
                })*
                text
            }
        }
    };
}

metrics! {
    /// The last finalized block that was seen.
    block: Gauge,
    /// The window that is worked on.
    window: Gauge,
    /// The loss on held-out data, in nats per token.
    held_out_loss: Gauge,
    /// Mean training loss of the last window, in nats per token.
    train_loss: Gauge,
    /// The outer step of the last round, in units of a weight.
    outer_step: Gauge,
    /// Peers in the last round's aggregate.
    aggregated_peers: Gauge,
    /// Rounds that were applied to the model.
    rounds_total: Counter,
    /// Rounds that took no step.
    null_rounds_total: Counter,
    /// Objects that were uploaded.
    uploads_total: Counter,
    /// Uploads that failed.
    upload_failures_total: Counter,
    /// Bytes that were uploaded.
    uploaded_bytes_total: Counter,
    /// Objects that were downloaded.
    downloads_total: Counter,
    /// Downloads that failed.
    download_failures_total: Counter,
    /// Bytes that were downloaded.
    downloaded_bytes_total: Counter,
    /// Objects of peers that stage 1 accepted.
    accepted_total: Counter,
    /// Objects of peers that stage 1 refused: early, late, malformed or out of sync.
    refused_total: Counter,
    /// Evaluations of a peer's object.
    evaluations_total: Counter,
    /// Settings of weights that were included in a block.
    weights_set_total: Counter,
    /// Settings of weights that failed.
    weights_failures_total: Counter,
    /// Connections to the chain that were lost and made again.
    chain_reconnects_total: Counter,
    /// Seconds of the last window spent on training.
    train_seconds: Gauge,
    /// Seconds of the last window spent on compressing.
    compress_seconds: Gauge,
    /// Seconds of the last window spent on uploading.
    upload_seconds: Gauge,
    /// Seconds of the last window spent on gathering.
    gather_seconds: Gauge,
    /// Seconds of the last window spent on evaluating.
    evaluate_seconds: Gauge,
    /// Seconds of the last window spent on aggregating and the outer step.
    aggregate_seconds: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_help_type_and_value() {
        let metrics = Metrics::default();
        metrics.rounds_total.add(3);
        metrics.rounds_total.inc();
        metrics.held_out_loss.set(3.5);
        let text = metrics.render(r#"uid="3""#);
        let expected = "# HELP templar_rounds_total Rounds that were applied to the model.\n\
                        # TYPE templar_rounds_total counter\n\
                        templar_rounds_total{uid=\"3\"} 4\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("# TYPE templar_held_out_loss gauge\ntemplar_held_out_loss{uid=\"3\"} 3.5\n"));
        assert!(metrics.render("").contains("\ntemplar_rounds_total 4\n"));
    }
}

//! Values over many questions, and how far chance may have moved them.

use super::{Metric, python::Random};

/// A value with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// One standard error; None for a single question.
    pub error: Option<f64>,
}

/// Resamples of a bootstrap, and how many share the seed of one.
const RESAMPLES: usize = 100_000;
const CHUNK: usize = 1000;

/// The value of a metric over its questions.
pub(super) fn estimate(metric: Metric, values: &[f64]) -> Estimate {
    let enough = values.len() > 1;
    match metric {
        Metric::Accuracy | Metric::NormalisedAccuracy => {
            let error = enough.then(|| deviation(values) / (values.len() as f64).sqrt());
            Estimate { value: mean(values), error }
        }
        Metric::Perplexity => {
            Estimate { value: (-mean(values)).exp(), error: enough.then(|| bootstrap(values)) }
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation of a sample.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}

/// Deviation of the perplexity over resamples with the harness's own draws: chunk `i` by Python's random numbers of seed `i`.
fn bootstrap(values: &[f64]) -> f64 {
    let chunks = RESAMPLES / CHUNK;
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(chunks);
    let resample = |seed: usize| {
        let mut random = Random::new(seed as u32);
        let perplexity = |_| {
            let sum: f64 = (0..values.len()).map(|_| values[random.choice(values.len())]).sum();
            (-sum / values.len() as f64).exp()
        };
        (0..CHUNK).map(perplexity).collect::<Vec<f64>>()
    };
    let work = |worker: usize| (worker..chunks).step_by(workers).flat_map(resample).collect::<Vec<f64>>();
    let found: Vec<f64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        running.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    deviation(&found)
}

/// Accuracies of several tasks as one over all their questions: `(value, error, questions)` of each.
///
/// The error is that of the pooled variance (<https://en.wikipedia.org/wiki/Pooled_variance>), as the harness has it.
pub fn pooled(parts: &[(f64, Option<f64>, usize)]) -> Estimate {
    let count: f64 = parts.iter().map(|(_, _, n)| *n as f64).sum();
    let value = parts.iter().map(|(value, _, n)| value * *n as f64).sum::<f64>() / count;
    let variance = |(_, error, n): &(f64, Option<f64>, usize)| {
        let n = *n as f64;
        error.map(|error| (n - 1.0) * error.powi(2) * n)
    };
    let sum: Option<f64> = parts.iter().map(variance).sum();
    let error = sum.map(|sum| (sum / (count - parts.len() as f64) / count).sqrt());
    Estimate { value, error }
}

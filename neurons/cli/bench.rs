//! `templar bench`: what the heavy works of a node take on this machine.

mod hash;
mod tensors;
mod train;
mod works;

use crate::{
    cli::{
        Exit, Failure,
        model::computing_on,
        output::{print, print_json, table},
    },
    context,
};
use clap::ValueEnum;
use serde::Serialize;
use std::time::Instant;
use tch::Device;
use templar::{
    codec::{self, Codec},
    manifest::{Manifest, ManifestFile, ModelConfig},
    model::parameter_count,
};
use works::{Clock, Failed, Group};

/// Flags of `templar bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What is measured
    #[arg(value_enum)]
    bench: Bench,
    /// Whose model and settings: local, local-sparseloco, templar-2, templar-1 or sparseloco
    #[arg(long, value_name = "NAME", default_value = "local")]
    preset: String,
    /// Of hash and train: a model of about so many parameters instead of the preset's, with fewer or more layers, then
    /// narrower ones. Of the codec's works: matrices of so many, a multiple of 4096; 9437184, which is 3072 x 3072, unless
    /// given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    params: Option<u64>,
    /// What computes: `auto`, `cpu` or `cuda:N`; of the codec's works a GPU has `aggregate` and `judge`, the others are the CPU's
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Of train: sequences of the micro-batch instead of the preset's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sequences: Option<u32>,
    /// Of train: compute each block of the model twice, in less memory
    #[arg(long)]
    recompute: bool,
    /// Threads of the tensor library and of the codec; all cores unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Measurements of each work, of which the median counts; one more comes first and does not
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A group of works. A new one is a variant and a function that gives its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// The hash of a model, beside plain BLAKE3 of one thread and a sum of the same memory
    Hash,
    /// The losses of one micro-batch, forward and backward pass, the same with sketches, and a whole inner step, in float32 and bfloat16
    Train,
    /// A gradient into a miner's state and coefficients out of it: update, transform, choice, codes
    Encode,
    /// One peer's coefficients to float32
    Decode,
    /// Fifteen peers: the signs of their update (where the rule takes signs), the update in float32, and the step in place
    Aggregate,
    /// One peer's coefficients to bytes and back, on one thread
    Wire,
    /// One peer of fifteen judged, without the losses: the weights after its step, and after the others'
    Judge,
}

impl Bench {
    /// Which of the codec's works it is.
    fn group(self) -> Option<Group> {
        match self {
            Self::Hash | Self::Train => None,
            Self::Encode => Some(Group::Encode),
            Self::Decode => Some(Group::Decode),
            Self::Aggregate => Some(Group::Aggregate),
            Self::Wire => Some(Group::Wire),
            Self::Judge => Some(Group::Judge),
        }
    }
}

/// What all works share.
struct Setting {
    device: Device,
    repeats: u32,
    /// Parameters that a work touches once.
    params: usize,
}

/// One work, measured.
#[derive(Debug, Serialize)]
struct Measured {
    work: &'static str,
    /// The median.
    ms: f64,
    params_per_s: f64,
    /// What the work reads or makes: of a hash the weights, of training and encoding the gradients, of an aggregate the update,
    /// of a step the weights, on the wire what is sent.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    bench: &'a str,
    preset: &'a str,
    device: &'a str,
    params: usize,
    results: Vec<Measured>,
    /// The model, where one was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelConfig>,
    /// Sequences of a micro-batch, where one was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequences: Option<usize>,
    /// What is added to the table's heading.
    #[serde(skip)]
    note: String,
}

/// Measures, and prints what was found.
pub async fn run(args: Args) -> Result<(), Failure> {
    let device = computing_on(&args.device, args.threads)?;
    context::blocking(move || {
        let repeats = args.repeats;
        let (mut model, mut sequences) = (None, None);
        let (params, results, note) = match args.bench.group() {
            Some(group) => of_codec(group, &args, device)?,
            None => {
                let mut manifest = ManifestFile::preset(&args.preset)?.parsed;
                if let Some(params) = args.params {
                    manifest.model = sized(&manifest.model, params);
                }
                if let Some(sequences) = args.sequences {
                    manifest.train.micro_batch = sequences as usize;
                }
                let params = parameter_count(&manifest.model);
                let results = of_model(&args, &manifest, &Setting { device, repeats, params })?;
                sequences = (args.bench == Bench::Train).then_some(manifest.train.micro_batch);
                model = Some(manifest.model);
                (params, results, String::new())
            }
        };
        let named = args.bench.to_possible_value();
        let bench = named.as_ref().map_or("", |name| name.get_name());
        let (preset, device) = (args.preset.as_str(), args.device.as_str());
        let report = Report { bench, preset, device, params, results, model, sequences, note };
        if args.json { print_json(&report) } else { print(&report.table()) }
    })
    .await
}

fn of_model(args: &Args, manifest: &Manifest, setting: &Setting) -> Result<Vec<Measured>, Failure> {
    if args.bench == Bench::Train {
        train::measure(setting, manifest, args.recompute)
    } else {
        Ok(hash::measure(setting, manifest))
    }
}

/// Parameters, what was measured, and what else there is to say.
fn of_codec(group: Group, args: &Args, device: Device) -> Result<(usize, Vec<Measured>, String), Failure> {
    let params = args.params.unwrap_or(works::PARAMETERS);
    if !params.is_multiple_of(works::CHUNK) {
        return Err(Failure::new(Exit::Usage, format!("{params} parameters are not whole chunks of 4096"))
            .hint(format!("say a multiple of them, such as --params {}", works::PARAMETERS)));
    }
    let unexpected = |error: Failed| {
        Failure::new(Exit::Unexpected, error).hint("please report this: made-up gradients were refused")
    };
    let manifest = ManifestFile::preset(&args.preset)?.parsed;
    if device != Device::Cpu {
        let setting = Setting { device, repeats: args.repeats, params: params as usize };
        let results = tensors::measure(group, &manifest, params, &setting).map_err(unexpected)?;
        let results = results.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("this work of the codec is not done on {}", args.device))
                .hint("leave --device away, or say `--device cpu`")
        })?;
        return Ok((setting.params, results, String::new()));
    }
    let rule = manifest.outer.rule;
    let codec =
        Codec::new(&works::shapes(params), &manifest.compress).map_err(|error| unexpected(error.into()))?;
    let setting = Setting { device, repeats: args.repeats, params: codec.parameters() };
    let mut stopwatch = Stopwatch { setting: &setting, results: Vec::new() };
    let bits = works::measure(group, &codec, rule, &mut stopwatch).map_err(unexpected)?;
    let note = bits.map_or(String::new(), |bits| format!(", {bits:.2} bits a position"));
    Ok((setting.params, stopwatch.results, note))
}

/// Keeps what was measured.
struct Stopwatch<'a> {
    setting: &'a Setting,
    results: Vec<Measured>,
}

impl Clock for Stopwatch<'_> {
    fn time(
        &mut self,
        name: &'static str,
        bytes: usize,
        work: &mut dyn FnMut() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        self.results.push(self.setting.time(name, bytes as u64, work)?);
        Ok(())
    }
}

impl Setting {
    /// The median of the repeats of a work that touches every parameter once, and `bytes`.
    fn time<E>(
        &self,
        name: &'static str,
        bytes: u64,
        mut work: impl FnMut() -> Result<(), E>,
    ) -> Result<Measured, E> {
        let mut seconds = Vec::new();
        for _ in 0..=self.repeats {
            let started = Instant::now();
            work()?;
            if let Device::Cuda(number) = self.device {
                tch::Cuda::synchronize(number as i64);
            }
            seconds.push(started.elapsed().as_secs_f64());
        }
        let median = median(&mut seconds[1..]);
        let params_per_s = self.params as f64 / median;
        Ok(Measured { work: name, ms: 1e3 * median, params_per_s, bytes })
    }
}

impl Report<'_> {
    fn table(&self) -> String {
        let row = |m: &Measured| {
            let gigabytes = m.bytes as f64 / m.ms / 1e6;
            vec![
                m.work.to_owned(),
                format!("{:.2}", m.ms),
                format!("{:.1}", m.params_per_s / 1e6),
                format!("{gigabytes:.2}"),
            ]
        };
        let rows: Vec<_> = self.results.iter().map(row).collect();
        let heading = ["WORK", "MS", "M PARAMS/S", "GB/S"];
        format!(
            "{} of {} ({} parameters) on {}{}\n{}",
            self.bench,
            self.preset,
            self.params,
            self.device,
            self.note,
            table(&heading, &["WORK"], &rows)
        )
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The model with as many layers as come nearest to `params`; where one layer is too much, of half the width and vocabulary,
/// and so on.
fn sized(model: &ModelConfig, params: u64) -> ModelConfig {
    let count = |config: &ModelConfig| parameter_count(config) as u64;
    let mut config = ModelConfig { layers: 1, ..model.clone() };
    while count(&config) > params && config.heads > 1 && config.kv_heads > 1 && config.vocab_size > 256 {
        config.hidden_size /= 2;
        config.intermediate_size /= 2;
        config.heads /= 2;
        config.kv_heads /= 2;
        config.vocab_size /= 2;
    }
    let one = count(&config);
    let layer = count(&ModelConfig { layers: 2, ..config.clone() }) - one;
    config.layers = 1 + i64::try_from((params.saturating_sub(one) + layer / 2) / layer).unwrap_or(0);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_model_is_about_as_large_as_asked() {
        let big = ManifestFile::preset("templar-1").unwrap().parsed.model;
        for params in [4_000_000, 20_000_000, 200_000_000, 1_204_881_408] {
            let config = sized(&big, params);
            let found = parameter_count(&config) as f64 / params as f64;
            assert!((0.4..1.5).contains(&found), "{params}: {found}");
            assert_eq!(config.hidden_size / config.heads, big.hidden_size / big.heads);
        }
        assert_eq!(sized(&big, 1_204_881_408), big);
    }

    #[test]
    fn what_is_measured_is_in_the_report() {
        let manifest = ManifestFile::preset("local").unwrap().parsed;
        let params = parameter_count(&manifest.model);
        let setting = Setting { device: Device::Cpu, repeats: 1, params };
        let results = hash::measure(&setting, &manifest);
        let works: Vec<_> = results.iter().map(|m| (m.work, m.bytes)).collect();
        let bytes = 4 * params as u64;
        assert_eq!(works, [("hash", bytes), ("blake3", bytes), ("read", bytes)]);
        assert!(results.iter().all(|m| m.ms > 0.0 && m.params_per_s > 0.0));
        let note = String::new();
        let (preset, device) = ("local", "cpu");
        let (model, sequences) = (Some(manifest.model), None);
        let report = Report { bench: "hash", preset, device, params, results, model, sequences, note };
        assert!(report.table().starts_with("hash of local (459392 parameters) on cpu\nWORK "));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["params"], &json["results"][0]["work"]), (&params.into(), &"hash".into()));
        assert_eq!((&json["model"]["vocab_size"], json.get("sequences")), (&256.into(), None));
    }
}

//! Tables, files and pictures.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use templar::{
    lab::{Contender, Curve, Method, Point, Setup, Task},
    report::plot::{Chart, Series},
};

/// Seconds that all peers need for a step's tokens, in the model of a network.
const COMPUTE_S: f64 = 84.0;
/// Parameters of the model in it.
const PARAMETERS: f64 = 1_204_881_408.0;
/// Peers whose objects are fetched.
const PEERS: f64 = 15.0;
/// How far the mean of another machine's runs may be from the recorded one, in spreads of the seeds, and nats at least.
const SPREADS: f64 = 3.0;
const LEAST: f64 = 0.03;

/// A line of the figure.
#[derive(Debug, Clone)]
pub struct Variant {
    pub name: String,
    /// Its name where there is little room.
    pub short: String,
}

impl Variant {
    pub fn new(name: &str, short: &str) -> Self {
        Self { name: name.to_owned(), short: short.to_owned() }
    }
}

/// The runs of a variant.
#[derive(Debug, Clone)]
pub struct Summary {
    pub variant: Variant,
    pub curves: Vec<Curve>,
    /// Steps of a round.
    steps: f64,
    central: bool,
}

impl Summary {
    pub fn new(variant: Variant, setup: &Setup, curves: Vec<Curve>) -> Self {
        let (steps, central) = match &setup.method {
            Method::Central(_) => (1.0, true),
            Method::Gradients { .. } | Method::Means { .. } => (1.0, false),
            Method::Loops { inner, .. } => (inner.steps as f64, false),
        };
        Self { variant, curves, steps, central }
    }

    /// Mean and standard deviation of the last losses.
    pub fn loss(&self) -> (f64, f64) {
        let losses: Vec<f64> = self.curves.iter().map(Curve::last).collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let squares = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>();
        (mean, (squares / (losses.len() as f64 - 1.0).max(1.0)).sqrt())
    }

    /// Bytes that a peer sends in a step, over the model's parameters.
    fn bytes_a_parameter(&self) -> f64 {
        let of = |curve: &Curve| {
            let last = curve.points.last()?;
            Some(last.bytes as f64 / last.step as f64 / curve.parameters as f64)
        };
        let all: Vec<f64> = self.curves.iter().filter_map(of).collect();
        all.iter().sum::<f64>() / all.len() as f64
    }

    /// Seconds of a step of the model of a network: computing, and then what the peers send each other over lines of so many bits a second.
    /// Centralised training over the same lines exchanges gradients by a ring; in one data centre it exchanges nothing.
    fn step_s(&self, bits: f64) -> f64 {
        let bytes = self.bytes_a_parameter() * PARAMETERS * self.steps;
        let moved = match self.central {
            true => 2.0 * (PEERS - 1.0) / PEERS * bytes,
            false => PEERS * bytes,
        };
        COMPUTE_S + 8.0 * moved / bits / self.steps
    }

    /// The mean of all seeds at each measured step.
    fn mean(&self) -> Vec<Point> {
        let Some(first) = self.curves.first() else { return Vec::new() };
        let point = |(at, point): (usize, &Point)| {
            let losses = self.curves.iter().filter_map(|curve| curve.points.get(at)).map(|p| p.loss);
            Point { loss: losses.sum::<f64>() / self.curves.len() as f64, ..*point }
        };
        first.points.iter().enumerate().map(point).collect()
    }
}

/// The trials and what came of each.
pub fn write_trials(path: &Path, trials: &[(Contender, Method)], curves: &[Curve]) {
    let mut csv = "contender,loss,settings\n".to_owned();
    for ((contender, method), curve) in trials.iter().zip(curves) {
        let settings = serde_json::to_string(method).unwrap().replace('"', "\"\"");
        csv.push_str(&format!("{},{:.5},\"{settings}\"\n", contender.name(), curve.last()));
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, csv).unwrap();
}

/// The best of each contender's recorded trials; none where one of today's trials is not recorded.
pub fn chosen(path: &Path, task: &Task) -> Option<BTreeMap<Contender, Method>> {
    let text = fs::read_to_string(path).ok()?;
    let rows: Vec<(&str, f64, Method)> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let (name, rest) = line.split_once(',')?;
            let (loss, settings) = rest.split_once(',')?;
            let settings = settings.trim_matches('"').replace("\"\"", "\"");
            Some((name, loss.parse().ok()?, serde_json::from_str(&settings).ok()?))
        })
        .collect();
    let best = |contender: Contender| {
        let own = || rows.iter().filter(move |(name, ..)| *name == contender.name());
        let all = contender.trials(task);
        let complete = all.iter().all(|trial| own().any(|(_, _, method)| method == trial));
        let best = own().min_by(|a, b| a.1.total_cmp(&b.1))?;
        complete.then(|| (contender, best.2.clone()))
    };
    Contender::ALL.into_iter().map(best).collect()
}

/// A table in Markdown.
pub fn table(task: &Task, summaries: &[Summary]) -> String {
    let adam = summaries.iter().find(|s| s.central).map_or(f64::NAN, |s| s.loss().0);
    let float = summaries.iter().find(|s| s.central).map_or(f64::NAN, Summary::bytes_a_parameter);
    let mut text = format!(
        "size {}: {} parameters, {} peers, {} tokens, {} seeds\n\n\
         | trained by | loss at the end, nats a byte | beside AdamW | bits a parameter and step | fewer bytes by | seconds a step at 1.2 billion parameters: 100 Mbit/s, 1 Gbit/s | windows with an attacker |\n\
         |---|---|---|---|---|---|---|\n",
        task.name,
        summaries[0].curves[0].parameters,
        task.peers,
        task.steps * task.tokens_a_step(),
        summaries[0].curves.len(),
    );
    for summary in summaries {
        let ((mean, deviation), bytes) = (summary.loss(), summary.bytes_a_parameter());
        let shares: Vec<f64> = summary.curves.iter().filter_map(|c| c.attackers_aggregated).collect();
        let attackers = match shares.len() {
            0 => "-".to_owned(),
            n => format!("{:.3}", shares.iter().sum::<f64>() / n as f64),
        };
        text.push_str(&format!(
            "| {} | {mean:.4} +- {deviation:.4} | {:+.4} | {:.3} | {:.0} | {:.0}, {:.0} | {attackers} |\n",
            summary.variant.name,
            mean - adam,
            8.0 * bytes,
            float / bytes,
            summary.step_s(1e8),
            summary.step_s(1e9),
        ));
    }
    text
}

/// Every measurement, what came of each variant, and the pictures.
pub fn write(folder: &Path, task: &Task, summaries: &[Summary]) -> io::Result<()> {
    let mut curves = "variant,seed,step,tokens,bytes,loss\n".to_owned();
    let mut ends = "variant,loss,deviation,bits_a_parameter_and_step\n".to_owned();
    for summary in summaries {
        for (seed, curve) in (1..).zip(&summary.curves) {
            for Point { step, tokens, bytes, loss } in &curve.points {
                curves.push_str(&format!(
                    "\"{}\",{seed},{step},{tokens},{bytes},{loss:.5}\n",
                    summary.variant.name
                ));
            }
        }
        let (mean, deviation) = summary.loss();
        let bits = 8.0 * summary.bytes_a_parameter();
        ends.push_str(&format!("\"{}\",{mean:.5},{deviation:.5},{bits:.4}\n", summary.variant.name));
    }
    fs::write(folder.join(format!("{}-curves.csv", task.name)), curves)?;
    fs::write(folder.join(format!("{}.csv", task.name)), ends)?;
    let chart = |title: &str, x_label: &str, x: &dyn Fn(&Summary, &Point) -> f64| Chart {
        title: format!("{title}: {}", task.name),
        subtitle: format!("held-out loss, means of {} seeds", summaries[0].curves.len()),
        x_label: x_label.to_owned(),
        y_label: "nats a byte".to_owned(),
        from_zero: false,
        series: summaries
            .iter()
            .map(|summary| Series {
                name: summary.variant.short.clone(),
                points: summary.mean().iter().map(|point| (x(summary, point), point.loss)).collect(),
                dashed: summary.central,
            })
            .collect(),
        marks: Vec::new(),
    };
    let hours = |bits: f64| move |s: &Summary, p: &Point| p.step as f64 * s.step_s(bits) / 3600.0;
    let pictures = [
        ("tokens", chart("Loss at equal tokens", "thousand tokens", &|_, p| p.tokens as f64 / 1e3)),
        (
            "bytes",
            chart("Loss at equal bytes", "log10 of the bytes that a peer has sent", &|_, p| {
                (p.bytes.max(1) as f64).log10()
            }),
        ),
        ("time-1gbit", chart("Loss at equal time, 1 Gbit/s, 1.2 billion parameters", "hours", &hours(1e9))),
        (
            "time-100mbit",
            chart("Loss at equal time, 100 Mbit/s, 1.2 billion parameters", "hours", &hours(1e8)),
        ),
    ];
    for (name, chart) in pictures {
        let path = |ending: &str| -> PathBuf { folder.join(format!("{}-{name}.{ending}", task.name)) };
        fs::write(path("svg"), chart.svg().map_err(io::Error::other)?)?;
        chart.write_png(&path("png")).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Whether every variant ends where it was recorded to end, within the spread of its seeds.
pub fn compare(known: &Path, summaries: &[Summary]) -> Result<String, String> {
    let Ok(text) = fs::read_to_string(known) else {
        return Ok(format!("nothing is recorded in {} to compare with", known.display()));
    };
    let mut worst: f64 = 0.0;
    for summary in summaries {
        let prefix = format!("\"{}\",", summary.variant.name);
        let Some(row) = text.lines().find_map(|line| line.strip_prefix(&prefix)) else {
            return Err(format!("{} has no line in {}", summary.variant.name, known.display()));
        };
        let numbers: Vec<f64> = row.split(',').filter_map(|number| number.parse().ok()).collect();
        let [recorded, deviation, ..] = numbers[..] else {
            return Err(format!("{} is damaged", known.display()));
        };
        let off = (summary.loss().0 - recorded).abs();
        if off > (SPREADS * deviation).max(LEAST) {
            return Err(format!(
                "{} ends at {:.4} nats, and is recorded with {recorded:.4} +- {deviation:.4}",
                summary.variant.name,
                summary.loss().0
            ));
        }
        worst = worst.max(off);
    }
    Ok(format!("every line ends where it was recorded, within {worst:.4} nats"))
}

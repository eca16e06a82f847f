//! What a run's checkpoints were worth, window by window: JSON lines, and a picture.

use super::{Outcome, TextOutcome};
use crate::{
    report::plot::{Chart, Series},
    window::Window,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
};

/// One evaluation. A line of `history.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The last window that the model contains; null for a model of no run.
    pub window: Option<Window>,
    /// Steps that the run had taken; null where that is not known.
    pub round: Option<u64>,
    /// Hash of the model, in hex.
    pub model: String,
    /// Seconds since 1970, when it was evaluated.
    pub time: u64,
    /// By task and metric, as in `hellaswag acc_norm`: the value and its standard error.
    pub values: BTreeMap<String, (f64, Option<f64>)>,
}

impl Point {
    /// The values of tasks, and of texts by their names.
    pub fn values_of(
        outcomes: &[Outcome],
        texts: &[(String, TextOutcome)],
    ) -> BTreeMap<String, (f64, Option<f64>)> {
        let of_task = |outcome: &Outcome| {
            let name = outcome.task.name();
            let metrics = outcome.metrics.iter();
            metrics.map(|(m, e)| (format!("{name} {}", m.name()), (e.value, e.error))).collect::<Vec<_>>()
        };
        let of_text = |(name, text): &(String, TextOutcome)| {
            (format!("{name} bits_per_byte"), (text.bits_per_byte, None))
        };
        outcomes.iter().flat_map(of_task).chain(texts.iter().map(of_text)).collect()
    }
}

/// The lines of a history; one that does not exist yet has none, and a last line that was cut off does not count.
///
/// # Errors
/// What the disk says, or a line in the middle that is no evaluation.
pub fn read(path: &Path) -> io::Result<Vec<Point>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let bad = |e: serde_json::Error| io::Error::new(io::ErrorKind::InvalidData, e);
    text[..whole].lines().map(|line| serde_json::from_str(line).map_err(bad)).collect()
}

/// Adds an evaluation, on disk before this returns.
///
/// # Errors
/// What the disk says.
pub fn append(path: &Path, point: &Point) -> io::Result<()> {
    let mut line = serde_json::to_vec(point)?;
    line.push(b'\n');
    // What was cut off is written over.
    let whole =
        fs::read(path).map_or(0, |bytes| bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.set_len(whole as u64)?;
    let mut file = io::BufWriter::new(file);
    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    file.write_all(&line)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Accuracies over windows: of each task the normalised one where it has one.
pub fn chart(points: &[Point]) -> Chart {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for point in points {
        let Some(window) = point.window else { continue };
        for (name, (value, _)) in &point.values {
            let Some((task, metric)) = name.rsplit_once(' ') else { continue };
            let better = metric == "acc" && point.values.contains_key(&format!("{task} acc_norm"));
            // Subjects are shown by what they come to together.
            let part = task.starts_with("mmlu_");
            if metric.starts_with("acc") && !better && !part {
                lines.entry(name).or_default().push((window as f64, *value));
            }
        }
        let subjects: Vec<f64> =
            point.values.iter().filter(|(name, _)| name.starts_with("mmlu_")).map(|(_, v)| v.0).collect();
        if !subjects.is_empty() {
            let mean = subjects.iter().sum::<f64>() / subjects.len() as f64;
            lines.entry("mmlu, mean of subjects").or_default().push((window as f64, mean));
        }
    }
    let subtitle = match points.last().and_then(|point| point.window) {
        Some(window) => format!("{} evaluations, the last of window {window}", points.len()),
        None => String::new(),
    };
    Chart {
        marks: Vec::new(),
        title: "Accuracy over the run".to_owned(),
        subtitle,
        x_label: "window".to_owned(),
        y_label: "accuracy".to_owned(),
        from_zero: true,
        series: lines
            .into_iter()
            .map(|(name, points)| Series { name: name.to_owned(), points, dashed: false })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_grows_and_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        assert_eq!(read(&path).unwrap(), []);
        let point = |window: Window, accuracy: f64| Point {
            window: Some(window),
            round: None,
            model: "ab".to_owned(),
            time: 1,
            values: [
                ("piqa acc", 0.1),
                ("piqa acc_norm", accuracy),
                ("mmlu_a acc", 0.2),
                ("mmlu_b acc", 0.4),
            ]
            .map(|(name, value)| (name.to_owned(), (value, Some(0.1))))
            .into(),
        };
        append(&path, &point(5, 0.5)).unwrap();
        // A line that was cut off is not counted, and the next takes its place.
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"window\":6,").unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        append(&path, &point(6, 0.6)).unwrap();
        let points = read(&path).unwrap();
        assert_eq!(points, [point(5, 0.5), point(6, 0.6)]);
        let chart = chart(&points);
        let names: Vec<&str> = chart.series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["mmlu, mean of subjects", "piqa acc_norm"]);
        assert_eq!(chart.series[1].points, [(5.0, 0.5), (6.0, 0.6)]);
        assert!((chart.series[0].points[0].1 - 0.3).abs() < 1e-12);
        assert!(chart.svg().unwrap().contains("window"));
        fs::write(&path, "no\n").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

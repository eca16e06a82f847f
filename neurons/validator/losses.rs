//! The loss curve of a run: a line a window on disk, and an object for each thousand windows in the bucket.

use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};
use templar::{bucket::keys::RunKeys, node::NodeError, report::LossPoint, window::Window};

/// Windows of one object.
pub const PER_OBJECT: u64 = 1000;

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossObject {
    /// The points, in the order of windows.
    pub losses: Vec<LossPoint>,
}

/// Mean loss on held-out text after the step of each window.
#[derive(Debug)]
pub struct Losses {
    points: Vec<LossPoint>,
    path: PathBuf,
    file: File,
}

impl Losses {
    /// The curve in a node's folder. A line that was being written when a process ended goes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(dir: &Path) -> Result<Self, NodeError> {
        let path = dir.join("losses.jsonl");
        let failed = |source| failed(&path, source);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let (mut points, mut whole) = (Vec::new(), 0);
        for line in text.split_inclusive('\n') {
            let Some(point) = line.strip_suffix('\n').and_then(|line| serde_json::from_str(line).ok()) else {
                break;
            };
            points.push(point);
            whole += line.len() as u64;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        if whole < text.len() as u64 {
            file.set_len(whole).map_err(failed)?;
        }
        Ok(Self { points, path, file })
    }

    /// All of them.
    pub fn points(&self) -> &[LossPoint] {
        &self.points
    }

    /// Whether a window was measured.
    pub fn has(&self, window: Window) -> bool {
        self.points.iter().rev().any(|known| known.window == window)
    }

    /// Adds a window's.
    ///
    /// # Errors
    /// What the disk says; then nothing was added.
    pub fn add(&mut self, point: LossPoint) -> Result<(), NodeError> {
        let mut line = serde_json::to_vec(&point).map_err(|e| failed(&self.path, e.into()))?;
        line.push(b'\n');
        let before = self.file.metadata().map(|metadata| metadata.len());
        if let Err(source) = self.file.write_all(&line) {
            if let Ok(length) = before {
                let _ = self.file.set_len(length);
            }
            return Err(failed(&self.path, source));
        }
        self.points.push(point);
        Ok(())
    }

    /// The object that a window is in, as it is now.
    pub fn object(&self, keys: &RunKeys, window: Window) -> (String, Vec<u8>) {
        let first = window - window % PER_OBJECT;
        let range = first..first + PER_OBJECT;
        let mut losses: Vec<_> =
            self.points.iter().filter(|point| range.contains(&point.window)).copied().collect();
        losses.sort_by_key(|point| point.window);
        (keys.losses(first), serde_json::to_vec(&LossObject { losses }).unwrap_or_default())
    }
}

fn failed(path: &Path, source: io::Error) -> NodeError {
    NodeError::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_outlives_a_crash_and_is_cut_into_thousands() {
        let folder = tempfile::tempdir().unwrap();
        let keys = RunKeys::new("0123456789abcdef");
        let point = |window| LossPoint { window, loss: 5.0 - window as f64 / 1000.0 };
        let mut losses = Losses::open(folder.path()).unwrap();
        (998..1003).for_each(|window| losses.add(point(window)).unwrap());
        let path = folder.path().join("losses.jsonl");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"window\":10"].concat()).unwrap();
        let mut losses = Losses::open(folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        losses.add(point(1003)).unwrap();
        let losses = Losses::open(folder.path()).unwrap();
        assert_eq!(losses.points(), (998..1004).map(point).collect::<Vec<_>>());
        assert!(losses.has(1001) && !losses.has(1004));
        for (window, first, count) in [(999, 0, 2), (1003, 1000, 4)] {
            let (key, bytes) = losses.object(&keys, window);
            assert_eq!(key, keys.losses(first));
            let object: LossObject = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(object.losses.len(), count);
        }
    }
}

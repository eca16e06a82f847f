//! Models that are named `hf:OWNER/NAME`: fetched into the cache first, and put there.

use crate::cli::{Failure, output::byte_bar};
use std::path::{Path, PathBuf};
use templar::{
    hub::{Hub, PREFIX, Repo, Snapshot},
    model::{
        ModelError,
        hugging_face::{CONFIG_FILE, GENERATION_FILE, INDEX_FILE, parse_config},
    },
    tokenizer::FILES,
};

/// Files of a model that are read: its configuration, weights and tokenizer. What else a repository has, pickles among it,
/// is not fetched.
fn is_read(name: &str) -> bool {
    let weights = name.starts_with("model") && name.ends_with(".safetensors");
    weights || [CONFIG_FILE, GENERATION_FILE, INDEX_FILE].contains(&name) || FILES.contains(&name)
}

/// The folder of a model: itself, or what was fetched of the repository that is named.
pub async fn folder_of(path: &Path) -> Result<PathBuf, Failure> {
    let Some(name) = path.to_str().filter(|name| name.starts_with(PREFIX)) else {
        return Ok(path.to_owned());
    };
    let repo: Repo = name.parse()?;
    let hub = Hub::from_env(|name| std::env::var(name).ok())?;
    let snapshot = hub.snapshot(&repo).await?;
    // What is no model of ours is found before its weights are fetched.
    let folder = hub.fetch(&snapshot, |name| name == CONFIG_FILE, |_| ()).await?;
    let config = folder.join(CONFIG_FILE);
    if let Ok(text) = std::fs::read_to_string(&config) {
        let path = format!("{CONFIG_FILE} of {repo}");
        parse_config(&text).map_err(|problem| ModelError::Unsupported { path, problem })?;
    }
    come(&hub, &snapshot, is_read).await
}

/// The folder of a tokenizer: itself, or what was fetched of the repository that is named, without its weights.
pub async fn tokenizer_folder_of(path: &Path) -> Result<PathBuf, Failure> {
    let Some(name) = path.to_str().filter(|name| name.starts_with(PREFIX)) else {
        return Ok(path.to_owned());
    };
    let hub = Hub::from_env(|name| std::env::var(name).ok())?;
    let snapshot = hub.snapshot(&name.parse()?).await?;
    come(&hub, &snapshot, |name| FILES.contains(&name)).await
}

async fn come(hub: &Hub, snapshot: &Snapshot, wanted: fn(&str) -> bool) -> Result<PathBuf, Failure> {
    let bar = byte_bar(snapshot.bytes(wanted));
    let folder = hub.fetch(snapshot, wanted, |come| bar.inc(come)).await?;
    bar.finish_and_clear();
    Ok(folder)
}

/// Puts a model's folder into a repository; returns where it is.
pub async fn push(repo: &Repo, folder: &Path, message: &str) -> Result<String, Failure> {
    let hub = Hub::from_env(|name| std::env::var(name).ok())?;
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bar = byte_bar(listed.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum());
    let place = hub.push(repo, folder, message, |sent| bar.inc(sent)).await?;
    bar.finish_and_clear();
    Ok(place)
}

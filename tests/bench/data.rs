//! What reading a corpus and keeping a checkpoint take: `scripts/bench data`, after it has prepared one.
//!
//! Real parts: a prepared corpus in a folder and in an S3 server over loopback, in random order, 36 sequences at a time as a window of
//! `templar-1` assigns them; a checkpoint of the preset's model with fewer layers, to disk, from disk, and from the server. The server is this
//! process too, so a machine of its own would be faster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may fail, and shows what it found"
)]

use std::{fs, path::Path, sync::Arc, time::Instant};
use tch::Device;
use templar::{
    bucket::{
        Endpoint, S3Options, S3Store, Store,
        keys::RunKeys,
        server::{self, BucketKeys, Keys, ServerConfig},
    },
    checkpoint::{Fetch, Form, Source},
    data::{Corpus, InBucket, Mirror, Sequences, random, verify},
    manifest::ManifestFile,
    model::Llama,
    round::CheckpointRecord,
    wallet::Keypair,
};

/// Sequences that a window of `templar-1` assigns to a miner.
const OF_A_WINDOW: usize = 36;
const WINDOWS: u64 = 100;

fn row(what: &str, value: f64, unit: &str, seconds: f64) {
    println!("| {what} | {value:.1} {unit} | {seconds:.2} s |");
}

/// Reads the sequences of many windows; gives the seconds, and how many there were.
fn read(sequences: &Sequences, from: u64) -> (f64, usize) {
    let started = Instant::now();
    let mut read = 0;
    for window in from..from + WINDOWS {
        let some = random(&[7; 32], window, OF_A_WINDOW, sequences.training());
        sequences.batch(&some).unwrap();
        read += some.len();
    }
    (started.elapsed().as_secs_f64(), read)
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("the folder of a prepared corpus");
    let layers: i64 = arguments.next().map_or(2, |layers| layers.parse().expect("a number of layers"));
    let folder = tempfile::tempdir().unwrap();
    let owner = BucketKeys::generate().unwrap();
    let mut keys = Keys::default();
    keys.add(&owner);
    let config = ServerConfig::new(([127, 0, 0, 1], 0).into(), folder.path().join("storage"), keys);
    let server = server::start(config).await.unwrap();
    let endpoint: Endpoint = format!("http://{}", server.addr()).parse().unwrap();
    let store: Arc<dyn Store> = Arc::new(S3Store::writer(&owner.write, &endpoint, &S3Options::default()));
    corpus(Path::new(&path), &store, folder.path()).await;
    checkpoint(layers, &store, folder.path()).await;
    server.stop().await;
}

async fn corpus(path: &Path, store: &Arc<dyn Store>, folder: &Path) {
    let here = Corpus::open(path).unwrap();
    let manifest = here.manifest().clone();
    let length = manifest.sequence_length as usize;
    let bytes: u64 = (0..manifest.shards.len()).map(|shard| manifest.shard_bytes(shard)).sum();
    println!(
        "\n{} tokens in {} shards, {length} a sequence\n\n| | | |\n|---|---|---|",
        manifest.tokens,
        manifest.shards.len()
    );

    let started = Instant::now();
    verify(path, |_| {}).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    row("verify, all of it", bytes as f64 / seconds / 1e9, "GB/s", seconds);

    let here = here.sequences(length, 64).unwrap();
    let (seconds, read_here) = read(&here, 0);
    row("sequences from a folder, checked", read_here as f64 / seconds, "each second", seconds);

    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let name = entry.file_name().unwrap().to_str().unwrap();
        store.put(&format!("corpus/{name}"), fs::read(&entry).unwrap().into()).await.unwrap();
    }
    let mirror: Arc<dyn Mirror> = Arc::new(InBucket {
        name: "the server".to_owned(),
        store: store.clone(),
        prefix: "corpus/".to_owned(),
    });
    let cache = folder.join("cache");
    let there = Corpus::fetched(vec![mirror], Some(&manifest.hash), &cache, 1 << 30).await.unwrap();
    let there = there.sequences(length, 64).unwrap();
    for (what, from) in [("fetched, no tree at hand", 0), ("fetched", WINDOWS), ("from the cache", WINDOWS)] {
        let (seconds, read) = tokio::task::block_in_place(|| read(&there, from));
        row(&format!("sequences from S3: {what}"), read as f64 / seconds, "each second", seconds);
    }
    let some = random(&[7; 32], 0, OF_A_WINDOW, there.training());
    assert_eq!(there.batch(&some).unwrap(), here.batch(&some).unwrap());
}

async fn checkpoint(layers: i64, store: &Arc<dyn Store>, folder: &Path) {
    let mut manifest = ManifestFile::preset("templar-1").unwrap().parsed;
    manifest.model.layers = layers;
    let manifest = ManifestFile::parse(&toml::to_string(&manifest).unwrap()).unwrap();
    let form = Form::new(&manifest.parsed);
    let bytes: u64 = form.files().iter().map(|file| file.bytes).sum();
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "\na checkpoint of `templar-1` with {layers} layers, {gigabytes:.2} GB in {} files\n\n| | | |\n|---|---|---|",
        form.files().len()
    );
    let mut model = Llama::new(&manifest.parsed.model, 7, Device::Cpu);
    let out = folder.join("checkpoint");
    fs::create_dir_all(&out).unwrap();
    let started = Instant::now();
    let files = form.write(&out, model.parameters()).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    row("write, hash and sync", gigabytes / seconds, "GB/s", seconds);

    let hash = hex::encode(model.hash());
    let started = Instant::now();
    form.read_into(&out, &mut model).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    row("read into the model", gigabytes / seconds, "GB/s", seconds);
    assert_eq!(hex::encode(model.hash()), hash);

    let keys = RunKeys::new(manifest.run_id());
    for file in &files {
        let content = fs::read(out.join(&file.name)).unwrap();
        store.put(&keys.checkpoint(1, &file.name), content.into()).await.unwrap();
    }
    let record =
        CheckpointRecord { run: hex::encode(manifest.hash()), window: 1, round: 1, model: hash, files };
    let owner = Keypair::from_uri("//Leader").unwrap().account();
    let sources = [Source { owner, store: store.clone() }];
    let fetch = Fetch { form: &form, record: &record, keys: &keys, sources: &sources };
    let started = Instant::now();
    fetch.fetch(&folder.join("incoming"), &|_| {}).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    row("fetch from S3, checked", gigabytes / seconds, "GB/s", seconds);
}

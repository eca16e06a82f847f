//! `templar data prepare`.

use super::input;
use crate::cli::{
    Exit, Failure,
    output::{print, print_json},
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use templar::{
    bucket::{NamedBucket, Store},
    data::{CorpusManifest, MANIFEST, Preparation, Progress, Tokens, ids_file, shard_file, tree_file},
    hub::{Hub, PREFIX},
    tokenizer::{FILES, TOKENIZER_FILE, Tokenizer},
};

/// What texts that are trained on as bytes call their tokenizer.
const BYTES: &str = "bytes";

/// Flags of `templar data prepare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The text: a file or folder, s3://BUCKET/PREFIX, or hf://datasets/OWNER/NAME[/FOLDER][@REVISION]. Parquet, JSON lines (also .gz and
    /// .zst), or plain text. May be given several times
    #[arg(long, value_name = "PATH|URL", required = true)]
    input: Vec<String>,
    /// What makes tokens of it: a tokenizer.json, hf:OWNER/NAME, or `bytes`
    #[arg(long, value_name = "FILE|hf:ID|bytes")]
    tokenizer: String,
    /// The folder of the corpus, or s3://BUCKET/PREFIX together with --work
    #[arg(long, value_name = "DIR|s3://...")]
    out: String,
    /// Where shards lie until they are in the bucket of --out
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// The column or field that has the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_column: String,
    /// How the token that ends a document is written; the tokenizer's end of text unless given
    #[arg(long, value_name = "TOKEN")]
    separator: Option<String>,
    /// What the run manifest calls the tokenizer, where --tokenizer is a file
    #[arg(long, value_name = "ID")]
    tokenizer_id: Option<String>,
    /// Tokens of a sequence, as the run's model has them
    #[arg(long, default_value_t = 2048)]
    sequence_length: u64,
    /// Tokens of a shard
    #[arg(long, default_value_t = 1 << 27)]
    shard_tokens: u64,
    /// Tokens after which to stop
    #[arg(long)]
    max_tokens: Option<u64>,
    /// Leave documents out that cannot be read
    #[arg(long)]
    skip_bad: bool,
    /// Where the text is from, for the manifest
    #[arg(long, default_value = "", value_name = "WORDS")]
    source: String,
    /// The text's licence, for the manifest
    #[arg(long, default_value = "", value_name = "WORDS")]
    licence: String,
    /// Threads that make tokens; as many as there are cores unless given
    #[arg(long)]
    threads: Option<usize>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prepares, or goes on with it.
pub async fn run(args: Args) -> Result<(), Failure> {
    if let Some(threads) = args.threads {
        // Only fails where threads are there already, which they are not.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let bucket = match NamedBucket::is_named(&args.out) {
        true => Some(NamedBucket::open(&args.out, |name| std::env::var(name).ok())?),
        false => None,
    };
    let out = match (&bucket, &args.work) {
        (None, _) => PathBuf::from(&args.out),
        (Some(_), Some(work)) => work.clone(),
        (Some(_), None) => {
            return Err(Failure::new(Exit::Usage, "a corpus for a bucket is made on this machine first")
                .hint("name a folder for it with --work"));
        }
    };
    let tokens = tokens(&args).await?;
    let preparation = Preparation {
        files: input::files(&args.input).await?,
        tokens,
        out: out.clone(),
        sequence_length: args.sequence_length,
        shard_tokens: args.shard_tokens,
        limit: args.max_tokens,
        column: args.text_column,
        skip_bad: args.skip_bad,
        source: if args.source.is_empty() { args.input.join(", ") } else { args.source },
        licence: args.licence,
    };
    let manifest = if bucket.is_some() && out.join(MANIFEST).exists() {
        templar::data::Corpus::open(&out)?.manifest().clone()
    } else {
        let work = move || {
            let bar = bar();
            let mut shown = Shown { bar: bar.clone(), started: Instant::now(), first: None };
            let result = preparation.run(|progress| shown.show(&progress));
            bar.finish_and_clear();
            result
        };
        let prepared = tokio::task::spawn_blocking(work).await;
        prepared.map_err(|e| Failure::new(Exit::Unexpected, e))??
    };
    if let Some(bucket) = &bucket {
        upload(&out, &manifest, bucket).await?;
    }
    match args.json {
        true => print_json(&manifest),
        false => print(&describe(&manifest)),
    }
}

/// The tokenizer that the flags mean.
async fn tokens(args: &Args) -> Result<Tokens, Failure> {
    if args.tokenizer == BYTES {
        return Ok(Tokens::Bytes);
    }
    let (tokenizer, id) = match args.tokenizer.strip_prefix(PREFIX) {
        Some(id) => {
            let hub = Hub::from_env(|name| std::env::var(name).ok())?;
            let snapshot = hub.snapshot(&args.tokenizer.parse()?).await?;
            let folder = hub.fetch(&snapshot, |name| FILES.contains(&name), |_| ()).await?;
            (Tokenizer::open(&folder)?, Some(id.to_owned()))
        }
        None => {
            let path = Path::new(&args.tokenizer);
            let tokenizer = if path.is_dir() { Tokenizer::open(path) } else { Tokenizer::open_file(path) };
            (tokenizer?, None)
        }
    };
    let hash = tokenizer.files().iter().find(|(name, _)| name == TOKENIZER_FILE);
    let hash = blake3::hash(hash.map_or(&[], |(_, bytes)| bytes.as_slice())).to_hex();
    let id = args.tokenizer_id.clone().or(id).unwrap_or_else(|| format!("blake3:{}", &hash[..16]));
    let separator = match &args.separator {
        Some(written) => tokenizer.token(written).ok_or_else(|| {
            Failure::new(Exit::Data, format!("the tokenizer has no token `{written}`"))
                .hint("name one that it has with --separator")
        })?,
        None => tokenizer.eos().and_then(|(token, _)| u32::try_from(token).ok()).ok_or_else(|| {
            Failure::new(Exit::Data, "the tokenizer does not say which token ends a text")
                .hint("name it with --separator, for example `--separator '</s>'`")
        })?,
    };
    Ok(Tokens::Of { tokenizer: Box::new(tokenizer), id, separator })
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} read, {msg}") {
        bar.set_style(style);
    }
    bar
}

/// What the bar says: how fast, and how long it will take.
struct Shown {
    bar: ProgressBar,
    started: Instant,
    /// Where this start began: what an earlier one did says nothing of the rate.
    first: Option<Progress>,
}

impl Shown {
    fn show(&mut self, progress: &Progress) {
        let first = *self.first.get_or_insert(*progress);
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = (progress.tokens - first.tokens) as f64 / seconds;
        let read = (progress.read_bytes.saturating_sub(first.read_bytes)) as f64 / seconds;
        let left = progress.input_bytes.saturating_sub(progress.read_bytes) as f64 / read.max(1.0);
        let left = std::time::Duration::from_secs_f64(left.min(1e9));
        self.bar.set_length(progress.input_bytes);
        self.bar.set_position(progress.read_bytes);
        let (tokens, left) = (progress.tokens, indicatif::HumanDuration(left));
        self.bar.set_message(format!("{tokens} tokens, {:.2} million each second, {left} left", rate / 1e6));
    }
}

/// Puts a corpus into a bucket, the manifest last. Files that are there already are not sent again, as far as their tags tell: shards of
/// another corpus have the same names and lengths.
async fn upload(folder: &Path, manifest: &CorpusManifest, to: &NamedBucket) -> Result<(), Failure> {
    let mut names: Vec<String> = Vec::new();
    for shard in 0..manifest.shards.len() {
        names.extend([shard_file(shard), tree_file(shard), ids_file(shard)]);
    }
    names.extend(FILES.iter().filter(|name| folder.join(name).exists()).map(|name| (*name).to_owned()));
    names.push(MANIFEST.to_owned());
    for name in names {
        let path = folder.join(&name);
        let key = format!("{}{name}", to.prefix);
        let failed = |e| Failure::new(Exit::Storage, format!("cannot read {}: {e}", path.display()));
        let bytes = tokio::fs::read(&path).await.map_err(failed)?;
        let there = to.store.head(&key).await?;
        if there.is_some_and(|info| info.is_of(&bytes)) {
            continue;
        }
        to.store.put(&key, bytes.into()).await?;
        eprintln!("{key} is in the bucket");
    }
    Ok(())
}

/// What a corpus is, for people.
pub fn describe(manifest: &CorpusManifest) -> String {
    let CorpusManifest { tokens, documents, tokenizer, vocabulary, dtype, sequence_length, .. } = manifest;
    let mut text = format!(
        "corpus {}\n  {tokens} tokens of {documents} documents, {:.2} bytes of text each\n  tokenizer {tokenizer} \
         ({vocabulary} tokens, stored as {dtype})\n  {} sequences of {sequence_length} tokens in {} shards\n",
        manifest.hash,
        manifest.text_bytes as f64 / (*tokens).max(1) as f64,
        tokens / sequence_length,
        manifest.shards.len(),
    );
    for (count, what) in [
        (manifest.empty, "documents without text were left out"),
        (manifest.duplicates, "files like an earlier one were left out"),
        (manifest.skipped, "documents that cannot be read were left out"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} {what}\n"));
        }
    }
    for (name, words) in [("source", &manifest.source), ("licence", &manifest.licence)] {
        if !words.is_empty() {
            text.push_str(&format!("  {name} {words}\n"));
        }
    }
    text
}

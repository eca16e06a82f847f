//! The run's text, wherever it is: checked against the run before anything is signed.

use crate::cli::{Exit, Failure};
use std::path::{Path, PathBuf};
use templar::{
    data::{Corpus, CorpusManifest, MANIFEST, Mirror, Sequences, default_sources, mirror},
    manifest::ManifestFile,
};

/// What runs that train on bytes call their tokenizer.
const BYTES: &str = "bytes";
/// The most text that is prepared, in bytes.
pub const CORPUS_BYTES: u64 = 24 << 20;

/// Where the run's text is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TextArgs {
    /// The run's text: a prepared corpus in a folder, at https://HOST/PATH or s3://BUCKET/PREFIX (several are mirrors of each other; the
    /// fastest is asked), or text files and folders to train on as bytes. The mirrors of the run's manifest unless given
    #[arg(long, value_name = "PATH|URL", env = "TEMPLAR_DATA", value_delimiter = ',')]
    pub data: Vec<String>,
    /// The most disk that text from elsewhere takes, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub data_cache: u64,
}

impl TextArgs {
    /// Opens the text of a run, or prepares it; `dir` is a folder for what is prepared or fetched.
    pub async fn open(&self, run: &ManifestFile, dir: &Path) -> Result<Sequences, Failure> {
        let manifest = &run.parsed;
        let pinned = Some(manifest.data.hash.as_str()).filter(|hash| !hash.is_empty());
        let given = if self.data.is_empty() { &manifest.data.mirrors } else { &self.data };
        let is_elsewhere = |place: &String| place.contains("://");
        let is_corpus = |place: &String| Path::new(place).join(MANIFEST).is_file();
        let corpus = if let [place] = given.as_slice()
            && is_corpus(place)
        {
            Corpus::open(Path::new(place))?
        } else if given.iter().any(is_elsewhere) {
            let open = |place: &String| mirror(place, |name| std::env::var(name).ok());
            let mirrors: Vec<_> =
                given.iter().map(open).collect::<Result<Vec<std::sync::Arc<dyn Mirror>>, _>>()?;
            Corpus::fetched(mirrors, pinned, &dir.join("data-cache"), self.data_cache << 20).await?
        } else {
            prepared(given, manifest.data.tokenizer.as_str(), &dir.join("data"))?
        };
        fits(corpus.manifest(), run)?;
        let length = usize::try_from(manifest.model.sequence_length).unwrap_or(usize::MAX);
        corpus.sequences(length, manifest.data.held_out_sequences).map_err(Failure::from)
    }
}

/// Makes a corpus of bytes of text on this machine.
fn prepared(given: &[String], tokenizer: &str, out: &Path) -> Result<Corpus, Failure> {
    if tokenizer != BYTES {
        return Err(Failure::new(
            Exit::Data,
            format!("the run's text is made with the tokenizer {tokenizer}"),
        )
        .hint("name the run's prepared corpus with --data, or make it with `templar data prepare`"));
    }
    let sources = match given {
        [] => default_sources()?,
        given => given.iter().map(PathBuf::from).collect(),
    };
    Corpus::prepare(&sources, out, CORPUS_BYTES)?;
    Ok(Corpus::open(out)?)
}

/// Whether a corpus is the one of a run.
fn fits(corpus: &CorpusManifest, run: &ManifestFile) -> Result<(), Failure> {
    let manifest = &run.parsed;
    let data = &manifest.data;
    let refuse = |message: String| {
        Err(Failure::new(Exit::Data, message).hint("name the run's prepared corpus with --data"))
    };
    if corpus.tokenizer != data.tokenizer {
        return refuse(format!(
            "the corpus was made with the tokenizer {}, the run's is {}",
            corpus.tokenizer, data.tokenizer
        ));
    }
    if corpus.vocabulary > manifest.model.vocab_size.unsigned_abs() {
        return refuse(format!(
            "the corpus has {} tokens in its vocabulary, the run's model {}",
            corpus.vocabulary, manifest.model.vocab_size
        ));
    }
    if !data.hash.is_empty() && data.hash != corpus.hash {
        return refuse(format!(
            "this is not the run's corpus: its hash is {}, the run's is {}",
            corpus.hash, data.hash
        ));
    }
    Ok(())
}

//! Text to tokens and back, as Hugging Face's libraries do it: `tokenizer.json`, the special tokens and chat template of
//! `tokenizer_config.json`, and a tokenizer of bytes for runs that train on them.

mod chat;
mod stream;

pub use chat::Message;
pub use stream::{StopFilter, TextStream};

use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokenizers::AddedToken;

/// The file with vocabulary, merges and rules.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The file with special tokens and chat template.
pub const CONFIG_FILE: &str = "tokenizer_config.json";
/// Every file that may belong to a tokenizer.
pub const FILES: [&str; 5] =
    [TOKENIZER_FILE, CONFIG_FILE, "special_tokens_map.json", "added_tokens.json", TEMPLATE_FILE];
const TEMPLATE_FILE: &str = "chat_template.jinja";
/// No tokenizer is longer; it is a stranger's file and is read into memory.
const MAX_FILE: u64 = 256 << 20;
/// Stands between documents of a corpus of bytes, as token 0: no text has that byte.
const SEPARATOR: &str = "<|endoftext|>";

/// Why a text cannot be made into tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The disk refused.
    #[error("cannot read {path}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("cannot use {path}: {problem}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The tokenizer belongs to another model.
    #[error("the tokenizer has {tokens} tokens, the model {vocabulary}: they do not belong together")]
    OtherVocabulary {
        /// Of the tokenizer.
        tokens: usize,
        /// Of the model.
        vocabulary: i64,
    },
    /// A text that it cannot take.
    #[error("the text cannot be made into tokens: {0}")]
    Text(String),
    /// A chat template that fails.
    #[error("the chat template does not take this conversation: {0}")]
    Template(String),
}

impl TokenizerError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "check the path, and that the file can be read",
            Self::Format { .. } => "get the folder again, or save its tokenizer with transformers",
            Self::OtherVocabulary { .. } => "name the folder that the model came with",
            Self::Text(_) => "leave out the part that the tokenizer has no tokens for",
            Self::Template(_) => "use a prompt without the chat template",
        }
    }
}

/// Makes text into tokens of one vocabulary, and tokens into text.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<(i64, String)>,
    eos: Option<(i64, String)>,
    chat_template: Option<String>,
    /// Entries of the vocabulary of the model that it is used with.
    vocabulary: Option<i64>,
    /// The files that it was read from, or made of, by name.
    files: Vec<(String, Vec<u8>)>,
}

impl Tokenizer {
    /// The tokenizer of runs that train on bytes: token 0 separates documents, token `b` is the byte `b`.
    ///
    /// # Errors
    /// None that happen.
    pub fn bytes() -> Result<Self, TokenizerError> {
        let json = bytes_tokenizer_json();
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SEPARATOR,
            "eos_token": SEPARATOR,
            "clean_up_tokenization_spaces": false,
            "model_max_length": 1_000_000_000_u64,
        });
        let files = vec![
            (TOKENIZER_FILE.to_owned(), format!("{json:#}\n").into_bytes()),
            (CONFIG_FILE.to_owned(), format!("{config:#}\n").into_bytes()),
        ];
        Self::of_files(Path::new("the tokenizer of bytes"), files)
    }

    /// The tokenizer of a model's folder.
    ///
    /// # Errors
    /// [`TokenizerError`] for a folder without `tokenizer.json`, or with one that cannot be used.
    pub fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let mut files = Vec::new();
        for name in FILES {
            let path = folder.join(name);
            if name != TOKENIZER_FILE && !path.is_file() {
                continue;
            }
            let failed = |source| TokenizerError::Disk { path: path.clone(), source };
            if fs::metadata(&path).map_err(failed)?.len() > MAX_FILE {
                let problem = "it is longer than any tokenizer".to_owned();
                return Err(TokenizerError::Format { path, problem });
            }
            files.push((name.to_owned(), fs::read(&path).map_err(failed)?));
        }
        Self::of_files(folder, files)
    }

    /// The tokenizer of a `tokenizer.json` alone, or with the other files of a tokenizer that lie beside it.
    ///
    /// # Errors
    /// [`TokenizerError`].
    pub fn open_file(path: &Path) -> Result<Self, TokenizerError> {
        if path.file_name().is_some_and(|name| name == TOKENIZER_FILE) {
            return Self::open(path.parent().unwrap_or(Path::new("")));
        }
        let failed = |source| TokenizerError::Disk { path: path.to_owned(), source };
        if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
            let problem = "it is longer than any tokenizer".to_owned();
            return Err(TokenizerError::Format { path: path.to_owned(), problem });
        }
        Self::of_files(path, vec![(TOKENIZER_FILE.to_owned(), fs::read(path).map_err(failed)?)])
    }

    fn of_files(folder: &Path, files: Vec<(String, Vec<u8>)>) -> Result<Self, TokenizerError> {
        let find = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice());
        let table = |name: &str| -> Result<Map<String, Value>, TokenizerError> {
            let Some(bytes) = find(name) else { return Ok(Map::new()) };
            serde_json::from_slice(bytes)
                .map_err(|e| TokenizerError::Format { path: folder.join(name), problem: e.to_string() })
        };
        let config = table(CONFIG_FILE)?;
        let named = table("special_tokens_map.json")?;
        let format = |problem: String| TokenizerError::Format { path: folder.join(TOKENIZER_FILE), problem };
        let bytes = find(TOKENIZER_FILE).unwrap_or_default();
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| format(e.to_string()))?;
        // They are a training script's, and would cut texts that a model can read.
        inner.with_truncation(None).map_err(|e| format(e.to_string()))?;
        inner.with_padding(None);
        inner.add_tokens(&added_tokens(&config));
        let special = |key: &str| token_text(config.get(key).or_else(|| named.get(key)));
        let names: Vec<String> = ["bos_token", "eos_token", "unk_token", "pad_token"]
            .into_iter()
            .filter_map(special)
            .chain(extra_tokens(&config))
            .collect();
        let specials: Vec<AddedToken> =
            names.iter().map(|t| AddedToken::from(t.clone(), true).normalized(false)).collect();
        inner.add_special_tokens(&specials);
        let with_id = |text: String| Some((i64::from(inner.token_to_id(&text)?), text));
        let (bos, eos) = (special("bos_token").and_then(with_id), special("eos_token").and_then(with_id));
        // What the file says comes first; only without it do the flags of the configuration decide.
        if inner.get_post_processor().is_none() {
            let wanted = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
            let begin = bos.as_ref().filter(|_| wanted("add_bos_token"));
            let end = eos.as_ref().filter(|_| wanted("add_eos_token"));
            if begin.is_some() || end.is_some() {
                let template = sequence_template(begin, end).map_err(format)?;
                inner.with_post_processor(Some(template));
            }
        }
        let chat_template = match find(TEMPLATE_FILE) {
            Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            None => chat::template_of(config.get("chat_template")),
        };
        Ok(Self { inner, bos, eos, chat_template, vocabulary: None, files })
    }

    /// Its files, by name: what a folder needs for this tokenizer to be opened from it.
    pub fn files(&self) -> &[(String, Vec<u8>)] {
        &self.files
    }

    /// Tokens that it has.
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether it has no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokenizer for a model of this vocabulary. One with more tokens is refused; more added tokens than the model has
    /// weights for are refused when a text has one.
    ///
    /// # Errors
    /// [`TokenizerError::OtherVocabulary`].
    pub fn for_model(self, vocabulary: i64) -> Result<Self, TokenizerError> {
        let tokens = self.inner.get_vocab_size(false);
        if tokens as i64 > vocabulary {
            return Err(TokenizerError::OtherVocabulary { tokens, vocabulary });
        }
        Ok(Self { vocabulary: Some(vocabulary), ..self })
    }

    /// The tokens of an encoding, all of which the model has.
    fn known(&self, encoding: &tokenizers::Encoding) -> Result<Vec<i64>, TokenizerError> {
        let tokens: Vec<i64> = encoding.get_ids().iter().map(|id| i64::from(*id)).collect();
        match tokens.iter().find(|token| self.vocabulary.is_some_and(|vocabulary| **token >= vocabulary)) {
            Some(token) => Err(TokenizerError::Text(format!("the model has no token {token}"))),
            None => Ok(tokens),
        }
    }

    /// The token that begins a text, and how it is written.
    pub fn bos(&self) -> Option<(i64, &str)> {
        self.bos.as_ref().map(|(id, text)| (*id, text.as_str()))
    }

    /// The token that ends a text, and how it is written.
    pub fn eos(&self) -> Option<(i64, &str)> {
        self.eos.as_ref().map(|(id, text)| (*id, text.as_str()))
    }

    /// Tokens of a text; `special` says whether those that begin or end every text are added.
    ///
    /// # Errors
    /// [`TokenizerError::Text`].
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<i64>, TokenizerError> {
        let encoding =
            self.inner.encode_fast(text, special).map_err(|e| TokenizerError::Text(e.to_string()))?;
        self.known(&encoding)
    }

    /// What the tokenizer says of a text, without tokens that begin or end every one, whatever a model's vocabulary is.
    pub(crate) fn encoding(&self, text: &str) -> Result<tokenizers::Encoding, TokenizerError> {
        self.inner.encode_fast(text, false).map_err(|e| TokenizerError::Text(e.to_string()))
    }

    /// The number of a token that is written so.
    pub fn token(&self, written: &str) -> Option<u32> {
        self.inner.token_to_id(written)
    }

    /// Tokens of several texts, on all cores.
    ///
    /// # Errors
    /// [`TokenizerError::Text`].
    pub fn encode_batch(&self, texts: Vec<&str>, special: bool) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let encodings =
            self.inner.encode_batch_fast(texts, special).map_err(|e| TokenizerError::Text(e.to_string()))?;
        encodings.iter().map(|encoding| self.known(encoding)).collect()
    }

    /// The text of tokens; bytes that are no text yet are `U+FFFD`. Tokens that it does not have are nothing.
    pub fn decode(&self, tokens: &[i64], skip_special: bool) -> String {
        let ids: Vec<u32> = tokens.iter().filter_map(|token| u32::try_from(*token).ok()).collect();
        self.inner.decode(&ids, skip_special).unwrap_or_default()
    }

    /// Whether it has a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some()
    }

    /// The prompt of a conversation, up to where the assistant answers. It has its special tokens in it: encode it without
    /// adding more.
    ///
    /// # Errors
    /// [`TokenizerError::Template`], also where there is no template.
    pub fn chat_prompt(&self, messages: &[Message]) -> Result<String, TokenizerError> {
        let Some(template) = &self.chat_template else {
            return Err(TokenizerError::Template("its tokenizer has none".to_owned()));
        };
        let text = |token: &Option<(i64, String)>| token.as_ref().map(|(_, text)| text.clone());
        chat::render(template, messages, text(&self.bos), text(&self.eos))
    }
}

/// A special token is written as its text, or as a table with its text.
fn token_text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Object(table) => Some(table.get("content")?.as_str()?.to_owned()),
        _ => None,
    }
}

/// Tokens that the configuration adds to those of the file, in the order of their ids.
fn added_tokens(config: &Map<String, Value>) -> Vec<AddedToken> {
    let listed = config.get("added_tokens_decoder").and_then(Value::as_object);
    let mut tokens: Vec<(u64, AddedToken)> = listed
        .into_iter()
        .flatten()
        .filter_map(|(id, table)| {
            let flag = |name: &str| table.get(name).and_then(Value::as_bool).unwrap_or(false);
            let token = AddedToken::from(token_text(Some(table))?, flag("special"))
                .single_word(flag("single_word"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .normalized(flag("normalized"));
            Some((id.parse().ok()?, token))
        })
        .collect();
    tokens.sort_by_key(|(id, _)| *id);
    tokens.into_iter().map(|(_, token)| token).collect()
}

fn extra_tokens(config: &Map<String, Value>) -> Vec<String> {
    let lists = ["additional_special_tokens", "extra_special_tokens"];
    let listed = lists.iter().filter_map(|key| config.get(*key).and_then(Value::as_array)).flatten();
    listed.filter_map(|token| token_text(Some(token))).collect()
}

fn sequence_template(
    bos: Option<&(i64, String)>,
    eos: Option<&(i64, String)>,
) -> Result<tokenizers::PostProcessorWrapper, String> {
    let part = |token: Option<&(i64, String)>| {
        token.map(|(_, text)| json!({ "SpecialToken": { "id": text, "type_id": 0 } }))
    };
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let around =
        |inner: Vec<Value>| -> Vec<Value> { part(bos).into_iter().chain(inner).chain(part(eos)).collect() };
    let tokens: Map<String, Value> = [bos, eos]
        .into_iter()
        .flatten()
        .map(|(id, text)| (text.clone(), json!({ "id": text, "ids": [id], "tokens": [text] })))
        .collect();
    let template = json!({
        "type": "TemplateProcessing",
        "single": around(vec![sequence("A")]),
        "pair": around(vec![sequence("A"), sequence("B")]),
        "special_tokens": tokens,
    });
    serde_json::from_value(template).map_err(|e| e.to_string())
}

/// How GPT-2's byte-level vocabularies write each byte: printable ones as they are, the others from U+0100 on.
fn byte_characters() -> [char; 256] {
    let mut characters = ['\0'; 256];
    let mut next = 0x100;
    for byte in 0..=255u8 {
        let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if printable {
            u32::from(byte)
        } else {
            next += 1;
            next - 1
        };
        characters[usize::from(byte)] = char::from_u32(code).unwrap_or_default();
    }
    characters
}

fn bytes_tokenizer_json() -> Value {
    let mut vocabulary = Map::new();
    vocabulary.insert(SEPARATOR.to_owned(), 0.into());
    for (byte, character) in byte_characters().into_iter().enumerate().skip(1) {
        vocabulary.insert(character.to_string(), byte.into());
    }
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 0, "content": SEPARATOR, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": [],
        },
    })
}

#[cfg(test)]
mod tests;

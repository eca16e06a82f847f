//! Text as it comes: characters of several tokens are shown when they are whole, and what may be the beginning of a stop
//! text is held back.

use super::Tokenizer;

/// Shown text may depend on tokens before it (a space at a word's front); so many are looked at again.
const CONTEXT: usize = 6;
/// No more of them than so many, whatever they are.
const OLDEST: usize = 64;
/// A character has at most four bytes, so that after this many tokens what is no text will not become any.
const STUCK: usize = 8;

/// The text of tokens that come one after the other.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<i64>,
    /// Tokens from here on are decoded; up to `shown` their text was given out.
    from: usize,
    shown: usize,
}

impl<'a> TextStream<'a> {
    /// A stream after a prompt, whose last tokens decide how the first word that follows is written.
    pub fn new(tokenizer: &'a Tokenizer, prompt: &[i64]) -> Self {
        let tokens = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        let shown = tokens.len();
        Self { tokenizer, tokens, from: 0, shown }
    }

    /// Takes a token and gives the text that is whole now, which may be empty.
    pub fn push(&mut self, token: i64) -> String {
        self.tokens.push(token);
        self.take(false)
    }

    /// What is left, whole or not.
    pub fn finish(&mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> String {
        let before = self.tokenizer.decode(&self.tokens[self.from..self.shown], true);
        let now = self.tokenizer.decode(&self.tokens[self.from..], true);
        let waits = now.ends_with(char::REPLACEMENT_CHARACTER) && self.tokens.len() - self.shown < STUCK;
        if waits && !all {
            return String::new();
        }
        // Half a character at the prompt's end is decoded otherwise once it is whole.
        let common = now.chars().zip(before.chars()).take_while(|(now, before)| now == before);
        let new = now[common.map(|(now, _)| now.len_utf8()).sum()..].to_owned();
        self.shown = self.tokens.len();
        self.from = self.shown.saturating_sub(CONTEXT);
        // Special tokens are no text, a text's front is written otherwise than its middle, and half a character spoils the
        // bytes after it.
        let oldest = self.shown.saturating_sub(OLDEST);
        while self.from > oldest {
            let before = self.tokenizer.decode(&self.tokens[self.from..self.shown], true);
            if !before.is_empty() && !before.starts_with(char::REPLACEMENT_CHARACTER) {
                break;
            }
            self.from -= 1;
        }
        new
    }
}

/// Ends a text at the first of several stop texts, and never shows a part of one.
#[derive(Debug, Clone)]
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopFilter {
    /// A filter; empty stop texts are left out.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes text and gives what is certain not to belong to a stop text.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins = |from: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*from..]));
        let keep = self.held.char_indices().map(|(at, _)| at).find(begins).unwrap_or(self.held.len());
        let waiting = self.held.split_off(keep);
        std::mem::replace(&mut self.held, waiting)
    }

    /// Whether a stop text has come.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What was held back, once nothing follows.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

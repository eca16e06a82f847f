//! What clients ask: OpenAI's requests, as far as a model of text can answer them. What it cannot is refused, not ignored.
//!
//! A body is read as a value first and then as both of its parts: serde's `flatten` and `untagged` do not read numbers where
//! a dependency turns on `serde_json`'s `arbitrary_precision`.

use super::Served;
use serde::Deserialize;
use serde_json::{Map, Value};
use templar::{model::generate::Sampling, tokenizer::Message};

/// A request that cannot be answered: a sentence, and which field is wrong.
#[derive(Debug)]
pub struct Refusal {
    pub message: String,
    pub field: Option<&'static str>,
}

impl Refusal {
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), field: Some(field) }
    }
}

/// `POST /v1/completions`
#[derive(Debug, Deserialize)]
pub struct Completion {
    #[serde(default)]
    pub prompt: Option<Value>,
    #[serde(default = "sixteen")]
    pub max_tokens: Option<u32>,
    #[serde(default)]
    pub logprobs: Option<usize>,
    #[serde(default)]
    pub echo: Option<bool>,
    #[serde(default)]
    pub suffix: Option<String>,
    #[serde(default)]
    pub best_of: Option<u32>,
}

fn sixteen() -> Option<u32> {
    Some(16)
}

/// `POST /v1/chat/completions`
#[derive(Debug, Deserialize)]
pub struct Chat {
    pub messages: Vec<Said>,
    #[serde(default)]
    pub max_tokens: Option<u32>,
    #[serde(default)]
    pub max_completion_tokens: Option<u32>,
    #[serde(default)]
    pub logprobs: Option<bool>,
    #[serde(default)]
    pub tools: Option<Vec<Value>>,
}

/// What both have.
#[derive(Debug, Deserialize)]
pub struct Common {
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub temperature: Option<f64>,
    #[serde(default)]
    pub top_p: Option<f64>,
    /// Not OpenAI's, but what other servers have.
    #[serde(default)]
    pub top_k: Option<usize>,
    #[serde(default)]
    pub n: Option<u32>,
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub stop: Option<Value>,
    #[serde(default)]
    pub seed: Option<i64>,
    #[serde(default)]
    pub presence_penalty: Option<f64>,
    #[serde(default)]
    pub frequency_penalty: Option<f64>,
    #[serde(default)]
    pub logit_bias: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
pub struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

/// One turn, whose content is a text or parts of text.
#[derive(Debug, Deserialize)]
pub struct Said {
    role: String,
    #[serde(default)]
    content: Value,
}

impl Said {
    pub fn message(&self) -> Result<Message, Refusal> {
        let wrong = || Refusal::new("messages", "a message's content must be text");
        let content = match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                parts.iter().map(|part| part["text"].as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            _ => return Err(wrong()),
        };
        Ok(Message { role: self.role.clone(), content })
    }
}

/// Texts of one request, at most.
const MOST_TEXTS: usize = 128;
/// Likeliest tokens that can be asked for.
const MOST_LIKELIEST: usize = 20;

impl Common {
    /// How tokens are drawn; without a seed, by the clock.
    pub fn sampling(&self) -> Result<Sampling, Refusal> {
        let temperature = self.temperature.unwrap_or(1.0);
        if !(0.0..=100.0).contains(&temperature) {
            return Err(Refusal::new("temperature", "temperature must be from 0 to 100"));
        }
        let top_p = self.top_p.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&top_p) {
            return Err(Refusal::new("top_p", "top_p must be from 0 to 1"));
        }
        for (field, value) in
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            if value.is_some_and(|value| value != 0.0) {
                return Err(Refusal::new(field, format!("{field} is not supported: leave it out")));
            }
        }
        if self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()) {
            return Err(Refusal::new("logit_bias", "logit_bias is not supported: leave it out"));
        }
        let seed = self.seed.map_or_else(rand_seed, |seed| seed as u64);
        Ok(Sampling { temperature, top_k: self.top_k.unwrap_or(0), top_p, seed })
    }

    pub fn stops(&self) -> Result<Vec<String>, Refusal> {
        let wrong = || Refusal::new("stop", "stop must be a text or a list of texts");
        match &self.stop {
            None => Ok(Vec::new()),
            Some(Value::Array(stops)) => {
                stops.iter().map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(stop) => Ok(vec![stop.as_str().ok_or_else(wrong)?.to_owned()]),
        }
    }

    /// Texts for each prompt.
    pub fn copies(&self, prompts: usize) -> Result<usize, Refusal> {
        let copies = self.n.unwrap_or(1) as usize;
        if copies == 0 || copies * prompts > MOST_TEXTS {
            return Err(Refusal::new("n", format!("a request may ask for 1 to {MOST_TEXTS} texts")));
        }
        Ok(copies)
    }
}

fn rand_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

impl Completion {
    /// Refuses what cannot be done.
    pub fn check(&self, common: &Common) -> Result<(), Refusal> {
        if self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return Err(Refusal::new("suffix", "suffix is not supported: the model goes on with the prompt"));
        }
        if self.best_of.is_some_and(|best| best != common.n.unwrap_or(1)) {
            return Err(Refusal::new("best_of", "best_of is not supported: ask for n texts"));
        }
        if self.logprobs.is_some_and(|likeliest| likeliest > MOST_LIKELIEST) {
            return Err(Refusal::new("logprobs", format!("logprobs must be at most {MOST_LIKELIEST}")));
        }
        Ok(())
    }

    /// The tokens of each prompt.
    pub fn prompts(&self, served: &Served) -> Result<Vec<Vec<i64>>, Refusal> {
        let wrong = || Refusal::new("prompt", "prompt must be a text, tokens, or a list of either");
        let encode = |text: &str| {
            served.tokenizer.encode(text, true).map_err(|e| Refusal::new("prompt", e.to_string()))
        };
        let tokens = |list: &[Value]| -> Result<Vec<i64>, Refusal> {
            list.iter().map(|token| token.as_i64().ok_or_else(wrong)).collect()
        };
        let prompts = match &self.prompt {
            None => vec![Vec::new()],
            Some(Value::String(text)) => vec![encode(text)?],
            Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => vec![tokens(list)?],
            Some(Value::Array(list)) if !list.is_empty() => list
                .iter()
                .map(|one| match one {
                    Value::String(text) => encode(text),
                    Value::Array(list) => tokens(list),
                    _ => Err(wrong()),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong()),
        };
        prompts.into_iter().map(|prompt| begun(served, prompt)).collect()
    }
}

/// A prompt whose tokens the model has; an empty one begins with the token that begins texts.
pub fn begun(served: &Served, mut prompt: Vec<i64>) -> Result<Vec<i64>, Refusal> {
    if let Some(token) = prompt.iter().find(|token| !(0..served.vocabulary).contains(token)) {
        return Err(Refusal::new("prompt", format!("the model has no token {token}")));
    }
    if prompt.is_empty() {
        let first = served.tokenizer.bos().or(served.tokenizer.eos());
        let Some((first, _)) = first else {
            return Err(Refusal::new(
                "prompt",
                "the prompt is empty, and the model has no token to begin with",
            ));
        };
        prompt.push(first);
    }
    Ok(prompt)
}

/// The most tokens of an answer: as asked for, where they fit.
pub fn room(served: &Served, prompt: &[i64], asked: Option<u32>) -> Result<usize, Refusal> {
    let left = served.positions.saturating_sub(prompt.len());
    match asked {
        Some(asked) if asked as usize <= left => Ok(asked as usize),
        None if left > 0 => Ok(left),
        _ => Err(Refusal::new(
            "max_tokens",
            format!(
                "the prompt has {} tokens and {} more were asked for, and the model has {} positions",
                prompt.len(),
                asked.map_or_else(|| "some".to_owned(), |asked| asked.to_string()),
                served.positions
            ),
        )),
    }
}

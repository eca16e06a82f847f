//! How well a model predicts a text of one's own: perplexity and bits per byte.

use super::EvalError;
use crate::{
    model::{
        Llama,
        likelihood::{self, Request},
    },
    tokenizer::Tokenizer,
};
use serde::Serialize;

/// How well a text was predicted, by the definitions of the harness's rolling tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TextOutcome {
    /// Sum of the natural logarithms of the probabilities of its tokens.
    pub log_likelihood: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Pieces between white space.
    pub words: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
    /// `exp(-log_likelihood / words)`.
    pub word_perplexity: f64,
    /// `exp(-log_likelihood / bytes)`.
    pub byte_perplexity: f64,
    /// `-log_likelihood / (bytes ln 2)`.
    pub bits_per_byte: f64,
    /// `-log_likelihood / tokens`, in nats: the loss that training shows.
    pub loss: f64,
}

/// Measures a text of any length: each token is predicted once, from all before it that fit into a window of as many tokens as
/// the model has positions; windows do not overlap but for the one token that the next begins with. The first follows the
/// token that begins (or else ends) a text.
///
/// # Errors
/// [`EvalError::NoPrefix`], or a text that the tokenizer cannot take.
pub fn measure_text(
    model: &Llama,
    tokenizer: &Tokenizer,
    text: &str,
    budget: usize,
    told: impl FnMut(usize),
) -> Result<TextOutcome, EvalError> {
    let (prefix, _) = tokenizer.bos().or(tokenizer.eos()).ok_or(EvalError::NoPrefix)?;
    let tokens = tokenizer.encode(text, true)?;
    let windows = windows(prefix, &tokens, model.config().sequence_length as usize);
    let answers = likelihood::answer(model, &windows, budget, told);
    let log_likelihood: f64 = answers.iter().map(|answer| answer.log_likelihood).sum();
    // Python's `re.split(r"\s+", text)` counts an empty piece at each end that is white space.
    let spaces = text.split(char::is_whitespace).filter(|piece| !piece.is_empty()).count();
    let ends =
        usize::from(text.starts_with(char::is_whitespace)) + usize::from(text.ends_with(char::is_whitespace));
    let words = (spaces + ends).max(1);
    let (bytes, count) = (text.len(), tokens.len());
    let each = |parts: usize| -log_likelihood / parts as f64;
    Ok(TextOutcome {
        log_likelihood,
        tokens: count,
        words,
        bytes,
        word_perplexity: each(words).exp(),
        byte_perplexity: each(bytes).exp(),
        bits_per_byte: each(bytes) / std::f64::consts::LN_2,
        loss: each(count),
    })
}

/// A text in windows: the first after the prefix, each later one with as much before it as still fits.
fn windows(prefix: i64, tokens: &[i64], most: usize) -> Vec<Request> {
    let mut windows = Vec::new();
    let mut from = 0;
    while from < tokens.len() {
        let end = (from + most).min(tokens.len());
        let context = match from {
            0 => vec![prefix],
            _ => tokens[end - most - 1..from].to_vec(),
        };
        windows.push(Request { context, continuation: tokens[from..end].to_vec() });
        from = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_predicted_once() {
        let tokens: Vec<i64> = (10..20).collect();
        let request = |context: &[i64], continuation: &[i64]| Request {
            context: context.to_vec(),
            continuation: continuation.to_vec(),
        };
        // The last is short, so it has more before it.
        let expected = [
            request(&[1], &[10, 11, 12, 13]),
            request(&[13], &[14, 15, 16, 17]),
            request(&[15, 16, 17], &[18, 19]),
        ];
        assert_eq!(windows(1, &tokens, 4), expected);
        assert_eq!(windows(1, &tokens, 20), [request(&[1], &tokens)]);
        assert_eq!(windows(1, &[], 4), []);
    }
}

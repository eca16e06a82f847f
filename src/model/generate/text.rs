//! Where a text ends, and what of it is shown.

use crate::tokenizer::{StopFilter, TextStream, Tokenizer};

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A token or a text that ends it came.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

impl Finish {
    /// Its name in OpenAI's interface.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A text as its tokens come: shown in whole characters, without its stop texts.
#[derive(Debug)]
pub struct Writing<'a> {
    stream: TextStream<'a>,
    filter: StopFilter,
    ends: Vec<i64>,
    most: usize,
    count: usize,
}

impl<'a> Writing<'a> {
    /// A text after `prompt`, of at most `most` tokens, which `ends` and `stops` end.
    pub fn new(
        tokenizer: &'a Tokenizer,
        prompt: &[i64],
        most: usize,
        ends: Vec<i64>,
        stops: impl IntoIterator<Item = String>,
    ) -> Self {
        let stream = TextStream::new(tokenizer, prompt);
        Self { stream, filter: StopFilter::new(stops), ends, most, count: 0 }
    }

    /// Takes a token; gives the text to show, and whether it was the last.
    pub fn push(&mut self, token: i64) -> (String, Option<Finish>) {
        self.count += 1;
        if self.ends.contains(&token) {
            return (self.rest(), Some(Finish::Stop));
        }
        let mut text = self.filter.push(&self.stream.push(token));
        if self.filter.stopped() {
            return (text, Some(Finish::Stop));
        }
        if self.count < self.most {
            return (text, None);
        }
        text.push_str(&self.rest());
        (text, Some(if self.filter.stopped() { Finish::Stop } else { Finish::Length }))
    }

    /// Tokens that came.
    pub fn count(&self) -> usize {
        self.count
    }

    fn rest(&mut self) -> String {
        let text = self.filter.push(&self.stream.finish());
        if self.filter.stopped() { text } else { text + &self.filter.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_where_it_should() {
        let tokenizer = Tokenizer::bytes().unwrap();
        let write = |bytes: &[u8], most, stop: &str| {
            let mut writing = Writing::new(&tokenizer, &[65], most, vec![0], [stop.to_owned()]);
            let mut text = String::new();
            for byte in bytes {
                let (shown, end) = writing.push((*byte).into());
                text += &shown;
                if let Some(end) = end {
                    return (text, Some(end), writing.count());
                }
            }
            (text, None, writing.count())
        };
        assert_eq!(write(b"abc\0d", 9, ""), ("abc".to_owned(), Some(Finish::Stop), 4));
        assert_eq!(write(b"abcd", 3, ""), ("abc".to_owned(), Some(Finish::Length), 3));
        assert_eq!(write(b"abcd", 9, "bc"), ("a".to_owned(), Some(Finish::Stop), 3));
        // The beginning of a stop text is shown where the text ends before it is whole.
        assert_eq!(write(b"ab\0", 9, "bc"), ("ab".to_owned(), Some(Finish::Stop), 3));
        assert_eq!(write(b"abb", 3, "bc"), ("abb".to_owned(), Some(Finish::Length), 3));
        assert_eq!(write("aé".as_bytes(), 2, ""), ("a\u{fffd}".to_owned(), Some(Finish::Length), 2));
        assert_eq!(write(b"a", 9, ""), ("a".to_owned(), None, 1));
    }
}

//! What of an output is its form, and what differs from run to run.

use serde_json::{Map, Value};

/// A document with each value replaced by its type, and lists by their first element.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(n) => if n.is_f64() { "number" } else { "integer" }.into(),
        Value::String(_) => "string".into(),
        Value::Array(values) => values.iter().take(1).map(shape).collect(),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect::<Map<_, _>>(),
        ),
    }
}

/// Text without what differs from run to run: addresses, hashes, numbers, and the spaces of columns.
pub fn words(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.len() > 40 && bare.chars().all(|c| c.is_ascii_alphanumeric()) {
            return word.replace(bare, if bare.starts_with("0x") { "HEX" } else { "ADDRESS" });
        }
        if bare.starts_with("0x") {
            return word.replace(bare, "HEX");
        }
        // Whatever numbers are in it.
        let mut text = String::new();
        for c in word.chars() {
            match c.is_ascii_digit() {
                true if text.ends_with('N') => {}
                true => text.push('N'),
                false => text.push(c),
            }
        }
        text
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(|text| line(text) + "\n").collect()
}

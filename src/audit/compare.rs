//! Two JSON documents, compared field by field.

use serde_json::Value;
use std::collections::BTreeMap;

/// How far two numbers may differ, as a share of the larger; 0 means to the last bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, serde::Serialize)]
pub struct Tolerance(pub f64);

/// How far the distances of the same audit may differ on different devices, in spreads.
const AUDITS_APART: f64 = 0.05;

/// The longest value that is quoted, in characters.
const LONGEST: usize = 200;

impl Tolerance {
    /// Whether two values are the same. Numbers may be written as text, as states do to keep every bit.
    fn same(self, path: &str, a: &Value, b: &Value) -> bool {
        // Numbers are kept as the text that was signed, so this compares every bit.
        if a == b {
            return true;
        }
        if let ("weight", Some(a), Some(b)) = (path, a.as_u64(), b.as_u64()) {
            return a.abs_diff(b) <= self.weights();
        }
        match (number(a), number(b)) {
            // Of honest work it is rounding alone, which another device does otherwise altogether.
            (Some(a), Some(b)) if self.0 > 0.0 && path.starts_with("audits.") => {
                (a - b).abs() <= AUDITS_APART
            }
            (Some(a), Some(b)) if self.0 > 0.0 => (a - b).abs() <= self.0 * a.abs().max(b.abs()),
            _ => false,
        }
    }

    /// How far two weights may differ, of 65535.
    pub(super) fn weights(self) -> u64 {
        (self.0 * f64::from(u16::MAX)).ceil() as u64
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        // Counts are never off by a little.
        Value::Number(number) if number.is_u64() => None,
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// A field in which two documents differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Where it comes in the order of the fields.
    pub(super) place: (usize, bool),
    /// Its name, with those that it is inside of before it.
    pub(super) path: String,
    /// The one value, as text that is safe to print.
    pub(super) logged: String,
    /// The other.
    pub(super) again: String,
}

/// The first field in which two documents differ.
/// `order` names the fields of the top level in the order in which they are compared; others come last.
pub(super) fn first_difference(
    logged: &Value,
    again: &Value,
    order: &[String],
    tolerance: Tolerance,
) -> Option<Field> {
    let mut fields: BTreeMap<String, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
    flatten("", logged, &mut |path, value| fields.entry(path).or_default().0 = Some(value));
    flatten("", again, &mut |path, value| fields.entry(path).or_default().1 = Some(value));
    let place = |path: &str| {
        let top = path.split('.').next().unwrap_or_default();
        // What was found comes before what it was found from.
        (order.iter().position(|name| name == top).unwrap_or(order.len()), !path.ends_with(".verdict"))
    };
    let differs = |path: &str, (theirs, ours): &(Option<&Value>, Option<&Value>)| match (theirs, ours) {
        (Some(theirs), Some(ours)) => !tolerance.same(path, theirs, ours),
        _ => true,
    };
    let (path, (theirs, ours)) = fields
        .into_iter()
        .filter(|(path, values)| differs(path, values))
        .min_by_key(|(path, _)| place(path))?;
    Some(Field { place: place(&path), path, logged: quoted(theirs), again: quoted(ours) })
}

/// The names at the top level of an object's JSON, in the order in which they are written there: `Value`
/// sorts them, and a score record has them in the order of the computation.
pub(super) fn names(json: &str) -> Vec<String> {
    let (mut names, mut depth) = (Vec::new(), 0usize);
    let mut text: Option<String> = None;
    let mut characters = json.chars().peekable();
    while let Some(c) = characters.next() {
        match (&mut text, c) {
            (Some(_), '"') => {
                let name = text.take().unwrap_or_default();
                if depth == 1 && characters.peek() == Some(&':') {
                    names.push(name);
                }
            }
            (Some(name), '\\') => name.extend(characters.next()),
            (Some(name), c) => name.push(c),
            (None, '"') => text = Some(String::new()),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    names
}

fn flatten<'a>(path: &str, value: &'a Value, into: &mut impl FnMut(String, &'a Value)) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(&join(name), value, into));
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().for_each(|(i, value)| flatten(&join(&i.to_string()), value, into));
        }
        // A document without fields has none to name.
        _ if path.is_empty() => {}
        _ => into(path.to_owned(), value),
    }
}

/// A value as text, safe to print.
fn quoted(value: Option<&Value>) -> String {
    let text = match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    crate::bucket::printable(&text, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differ(logged: Value, again: Value, tolerance: f64) -> Option<(String, String, String)> {
        let field = first_difference(&logged, &again, &[], Tolerance(tolerance))?;
        Some((field.path, field.logged, field.again))
    }

    fn found(path: &str, logged: &str, again: &str) -> Option<(String, String, String)> {
        Some((path.into(), logged.into(), again.into()))
    }

    #[test]
    fn the_field_is_named_with_both_values() {
        let a = json!({"score": 0.5, "stage1": {"verdict": "late"}, "penalties": [{"rule": "late"}]});
        assert_eq!(differ(a.clone(), a.clone(), 0.0), None);
        let mut b = a.clone();
        b["stage1"]["verdict"] = json!("accepted");
        assert_eq!(differ(a.clone(), b, 0.0), found("stage1.verdict", "late", "accepted"));
        let mut b = a.clone();
        b["penalties"][0]["rule"] = json!("early");
        assert_eq!(differ(a.clone(), b, 0.0), found("penalties.0.rule", "late", "early"));
        assert_eq!(differ(a.clone(), json!({"score": 0.5}), 0.0).unwrap().2, "nothing");
        assert_eq!(differ(json!({}), json!({"x": null}), 0.0), found("x", "nothing", "null"));
    }

    #[test]
    fn fields_are_compared_in_the_order_of_the_computation() {
        let text = r#"{"stage1":{"verdict":"x\"y:","score":1},"judged":[{"b":2}],"score":3,"a":null}"#;
        let order = names(text);
        assert_eq!(order, ["stage1", "judged", "score", "a"]);
        let again: Value = serde_json::from_str(text).unwrap();
        let logged = json!({"a": 1, "score": 4, "judged": [{"b": 3}], "stage1": again["stage1"]});
        let field = first_difference(&logged, &again, &order, Tolerance(0.0)).unwrap();
        assert_eq!((field.path.as_str(), field.place.0), ("judged.0.b", 1));
    }

    #[test]
    fn one_bit_is_a_difference_and_a_tolerance_forgives_it() {
        let (a, b) = (0.1f64, f64::from_bits(0.1f64.to_bits() ^ 1));
        let document = |x: f64| serde_json::from_str::<Value>(&format!("{{\"x\":{x}}}")).unwrap();
        let text = |x: f64| json!({"x": x.to_string()});
        for (a, b) in [(document(a), document(b)), (text(a), text(b))] {
            assert_eq!(differ(a.clone(), b.clone(), 0.0).unwrap().0, "x");
            assert_eq!(differ(a.clone(), b.clone(), 1e-12), None);
            assert_eq!(differ(b, a, 1e-18).unwrap().0, "x");
        }
        // Whole numbers, words and hotkeys are never near each other.
        assert_eq!(differ(json!({"weight": 1000}), json!({"weight": 1001}), 1e-6), None);
        assert_eq!(differ(json!({"weight": 1000}), json!({"weight": 1001}), 0.0).unwrap().0, "weight");
        let audits = |distance: f64| json!({"audits": [distance]});
        assert_eq!(differ(audits(1e-4), audits(0.012), 1e-6), None);
        assert!(
            differ(audits(1e-4), audits(0.012), 0.0).is_some()
                && differ(audits(0.01), audits(0.3), 1e-6).is_some()
        );
        assert!(differ(json!({"uid": 1000}), json!({"uid": 1001}), 0.1).is_some());
        assert!(differ(json!({"rule": "late"}), json!({"rule": "latf"}), 0.1).is_some());
    }

    #[test]
    fn a_strangers_words_are_cleaned() {
        let difference = differ(json!({"reason": "a\u{1b}[2Jb"}), json!({"reason": "c"}), 0.0).unwrap();
        assert_eq!(difference.1, "a?[2Jb");
    }
}

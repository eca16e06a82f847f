//! Chat templates: Jinja that a stranger wrote, run with bounds.

use super::TokenizerError;
use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig, value::Serde};
use serde::{Deserialize, Serialize};

/// Steps that a template may take; the longest templates in use take some thousands for a conversation.
const FUEL: u64 = 1_000_000;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// The template of `tokenizer_config.json`: a text, or a list of named ones of which `default` is taken.
pub(super) fn template_of(value: Option<&serde_json::Value>) -> Option<String> {
    match value? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(list) => {
            let of_name = |entry: &&serde_json::Value| entry["name"] == "default";
            Some(list.iter().find(of_name)?.get("template")?.as_str()?.to_owned())
        }
        _ => None,
    }
}

/// Renders a conversation as transformers does, up to where the assistant answers.
pub(super) fn render(
    template: &str,
    messages: &[Message],
    bos: Option<String>,
    eos: Option<String>,
) -> Result<String, TokenizerError> {
    // Marks what a trainer learns from; it renders as nothing.
    let template = template
        .replace("{%- generation", "{%- if true")
        .replace("{% generation", "{% if true")
        .replace("endgeneration", "endif");
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    let failed = |e: Error| TokenizerError::Template(e.detail().unwrap_or(&e.to_string()).to_owned());
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
    environment.set_syntax(syntax);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
        let now = jiff::Zoned::now();
        jiff::fmt::strtime::format(&format, &now)
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
    });
    environment.add_filter("tojson", python_json);
    let compiled = environment.template_from_str(&template).map_err(failed)?;
    compiled
        .render(context! { messages => Serde(messages), bos_token => bos, eos_token => eos, add_generation_prompt => true })
        .map_err(failed)
}

/// JSON as Python's `json.dumps` spaces it: templates' authors saw that.
fn python_json(value: Value) -> Result<String, Error> {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            if first { Ok(()) } else { out.write_all(b", ") }
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            out: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            if first { Ok(()) } else { out.write_all(b", ") }
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
            out.write_all(b": ")
        }
    }
    let failed = |e: &dyn std::fmt::Display| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)).map_err(|e| failed(&e))?;
    String::from_utf8(out).map_err(|e| failed(&e))
}

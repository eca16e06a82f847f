//! `templar model serve`, with OpenAI's own client.

use crate::{model::model_in, support};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};
use tch::Device;
use templar::{
    manifest::{ManifestFile, ModelConfig},
    model::{
        Llama,
        hugging_face::{self, ExportOptions},
    },
    tokenizer::Tokenizer,
};

struct Server {
    child: Child,
    /// Host and port.
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(folder: &Path, line: &str, key: Option<&str>) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    command
        .args(["model", "serve", "--listen", "127.0.0.1:0", "--device", "cpu"])
        .args(line.split_whitespace());
    if let Some(key) = key {
        command.env("TEMPLAR_API_KEY", key);
    }
    let mut child = command.current_dir(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address =
        said.trim().strip_prefix("listening on http://").unwrap().strip_suffix("/v1").unwrap().to_owned();
    Server { child, address }
}

/// Status and body of a plain request.
fn ask(server: &Server, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn write_model(folder: &Path, template: Option<&str>) {
    let local = ManifestFile::preset("local").unwrap().parsed.model;
    let config = ModelConfig { sequence_length: 4096, initial_std: 0.2, ..local };
    let model = Llama::new(&config, 42, Device::Cpu);
    let tokenizer = Tokenizer::bytes().unwrap();
    let options = ExportOptions { tokenizer: Some(&tokenizer), ..ExportOptions::default() };
    hugging_face::export(&model, folder, options, |_| ()).unwrap();
    // No text ends by chance: the tests ask for a number of tokens.
    fs::write(folder.join("generation_config.json"), "{\"eos_token_id\": 999}").unwrap();
    if let Some(template) = template {
        fs::write(folder.join("chat_template.jinja"), template).unwrap();
    }
}

#[test]
fn an_openai_client_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    write_model(
        &folder.path().join("asked"),
        Some("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"),
    );
    let server = serve(folder.path(), "--model asked --slots 3", None);
    let python = support::python("openai", &["openai==2.8.1"]);
    let output = Command::new(python)
        .arg(support::script("openai_client.py"))
        .args([&format!("http://{}/v1", server.address), "asked"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();

    let generate = |line: &str| {
        let line = format!("generate --model asked --json {line}");
        model_in(folder.path(), "model", &line).json()["texts"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(found["models"], json!(["asked"]));
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    command
        .args(["model", "generate", "--model", "asked", "--tokens", "24", "--json", "--prompt", "fn main"]);
    let output = command.current_dir(folder.path()).output().unwrap();
    let ours: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["text"], ours["texts"][0]["text"]);
    assert_eq!(found["text"], found["streamed"]);
    assert_eq!((&found["finish"], &found["stream_finish"]), (&"length".into(), &"length".into()));
    assert_eq!(found["usage"], json!({ "prompt_tokens": 7, "completion_tokens": 24, "total_tokens": 31 }));
    assert_eq!(found["stream_usage"], 24);
    assert!(found["parts"].as_u64().unwrap() > 5, "{found}");
    assert_eq!(found["several"].as_array().unwrap().len(), 4);
    assert_ne!(found["several"][0], found["several"][1], "each text has draws of its own");
    assert_eq!(found["several"][0], generate("--prompt a --tokens 8 --temperature 1 --top-p 0.9 --seed 7"));
    let text = found["text"].as_str().unwrap();
    assert!(text.starts_with(found["stopped"].as_str().unwrap()) && found["stopped"] != found["text"]);
    assert_eq!(found["chat"], found["chat_streamed"]);
    assert_eq!(found["chat"], found["chat_prompted"], "the template made another prompt");
    assert_eq!(found["none"], "abc");
    let told = &found["logprobs"];
    assert!(found["echo"].as_str().unwrap().starts_with("abc"));
    assert_eq!(told["tokens"].as_array().unwrap().len(), 5);
    assert_eq!((&told["token_logprobs"][0], &told["top_logprobs"][0]), (&Value::Null, &Value::Null));
    assert_eq!(told["text_offset"].as_array().unwrap()[..3], [0, 1, 2].map(Value::from));
    // The likeliest token was taken, and the probabilities are the model's.
    let likeliest = told["top_logprobs"][3].as_object().unwrap().values().map(|v| v.as_f64().unwrap());
    assert_eq!(told["token_logprobs"][3].as_f64().unwrap(), likeliest.fold(f64::MIN, f64::max));
    let model = hugging_face::import(&folder.path().join("asked"), Device::Cpu).unwrap();
    let logits = &model.next_logits(&[97, 98, 99])[0];
    let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
    let expected = f64::from(logits[98]) - sum.ln();
    assert!((told["token_logprobs"][1].as_f64().unwrap() - expected).abs() < 1e-4, "{told} {expected}");

    assert_eq!(found["writing"], 1);
    let freed = [&found["freed_after"], &found["left_after"]].map(|v| v.as_f64().unwrap());
    assert!(freed.iter().all(|seconds| *seconds < 3.0), "{freed:?}");
    for (case, status, words, field) in [
        ("model", 404, "this server has `asked`", "model"),
        ("long", 400, "the model has 4096 positions", "max_tokens"),
        ("token", 400, "no token 70000", "prompt"),
        ("temperature", 400, "temperature must be", "temperature"),
        ("suffix", 400, "not supported", "suffix"),
        ("penalty", 400, "not supported", "presence_penalty"),
        ("many", 400, "1 to 128 texts", "n"),
    ] {
        let error = &found["errors"][case];
        assert_eq!((&error[0], &error[2]), (&status.into(), &field.into()), "{case}: {error}");
        assert!(error[1].as_str().unwrap().contains(words), "{case}: {error}");
    }
}

#[test]
fn a_key_is_asked_for_and_bad_requests_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("asked"), None);
    let server = serve(folder.path(), "--model asked", Some("open sesame"));
    let get = |path: &str, more: &str| {
        ask(&server, &format!("GET {path} HTTP/1.1\nHost: x\nConnection: close\n{more}\n"))
    };
    let post = |path: &str, kind: &str, body: &str| {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\nHost: x\nConnection: close\nAuthorization: Bearer open sesame\n");
        ask(&server, &format!("{head}Content-Type: {kind}\nContent-Length: {length}\n\n{body}"))
    };
    let named = |(status, body): (u16, String), expected: u16, words: &str| {
        let body: Value = serde_json::from_str(&body).unwrap();
        let message = body["error"]["message"].as_str().unwrap().to_owned();
        assert!(status == expected && message.contains(words), "{status}: {message}");
    };
    assert_eq!(get("/health", "").0, 200);
    named(get("/v1/models", ""), 401, "the key is missing or wrong");
    named(get("/v1/models", "Authorization: Bearer open\n"), 401, "the key is missing or wrong");
    assert_eq!(get("/v1/models/asked", "Authorization: Bearer open sesame\n").0, 200);
    named(get("/v2", ""), 404, "/v1/completions");
    let json = "application/json";
    named(post("/v1/completions", json, "{"), 400, "JSON");
    named(post("/v1/completions", "text/plain", "{}"), 415, "application/json");
    named(post("/v1/completions", json, "{\"prompt\": 3}"), 400, "prompt must be");
    named(post("/v1/completions", json, "{\"max_tokens\": \"x\"}"), 400, "not understood");
    let said = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";
    named(post("/v1/chat/completions", json, said), 400, "its tokenizer has none");
    let (status, body) = post("/v1/completions", json, "{\"max_tokens\": 2, \"temperature\": 0}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body["usage"]["completion_tokens"].as_u64()), (200, Some(2)), "{body}");

    model_in(folder.path(), "model", "serve --model asked --listen 203.0.113.1:1")
        .fails(2, "cannot listen on");
}

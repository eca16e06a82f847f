//! The Hub, as a small server of ours answers for it: models fetched, faults survived or named, and models put there.

use crate::{model::Run, support};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path as Segments, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
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

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_of_the_test";

/// What goes wrong with the next answers about a path, one after the other.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Status(u16),
    /// So many bytes less than the head says.
    Half,
    /// Other bytes of the same length.
    Other,
}

#[derive(Default)]
struct World {
    files: BTreeMap<String, Vec<u8>>,
    /// Files whose listing has another hash or size than they have.
    private: bool,
    faults: HashMap<String, Vec<Fault>>,
    /// Every request: method and path, and the range of one.
    asked: Vec<String>,
    /// Parts of large files, by hash and number.
    parts: BTreeMap<(String, u64), Vec<u8>>,
    stored: BTreeMap<String, Vec<u8>>,
    committed: Vec<Value>,
    /// Large files are asked for in parts of this size.
    part_size: Option<usize>,
}

type Shared = Arc<Mutex<World>>;

pub struct Server {
    world: Shared,
    pub endpoint: String,
    _runtime: tokio::runtime::Runtime,
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(templar_sha256(bytes))
}

fn templar_sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).to_vec()
}

fn git_hash(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex::encode(hasher.finalize())
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors")
}

impl Server {
    pub fn start() -> Self {
        let world = Shared::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/api/models/{owner}/{name}/revision/{revision}", get(describe))
            .route("/api/datasets/{owner}/{name}/revision/{revision}", get(describe))
            .route("/datasets/{owner}/{name}/resolve/{commit}/{*file}", get(resolve))
            .route("/{owner}/{name}/resolve/{commit}/{*file}", get(resolve))
            .route("/storage/{file}", get(stored_file))
            .route("/api/repos/create", post(create))
            .route("/api/models/{owner}/{name}/preupload/{revision}", post(preupload))
            .route("/{owner}/{name}/info/lfs/objects/batch", post(batch))
            .route("/upload/{oid}/{part}", put(take_part))
            .route("/complete/{oid}", post(complete))
            .route("/verify", post(verify))
            .route("/api/models/{owner}/{name}/commit/{revision}", post(commit))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { world, endpoint, _runtime: runtime }
    }

    pub fn serve_folder(&self, folder: &Path) {
        let mut world = self.world.lock().unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            world.files.insert(name, fs::read(&path).unwrap());
        }
        // Nobody wants it: a pickle.
        world.files.insert("pytorch_model.bin".to_owned(), b"pickle".to_vec());
    }

    fn faults(&self, name: &str, faults: &[Fault]) {
        self.world.lock().unwrap().faults.insert(name.to_owned(), faults.to_vec());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().asked)
    }

    fn templar(&self, folder: &Path, line: &str, token: Option<&str>) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(line.split_whitespace()).current_dir(folder);
        command.env("HF_ENDPOINT", &self.endpoint).env("HF_HOME", folder.join("home"));
        command.env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE").env_remove("HF_HUB_CACHE");
        if let Some(token) = token {
            command.env("HF_TOKEN", token);
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let run =
            Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!run.err.contains(TOKEN) && !run.out.contains(TOKEN), "the token was shown");
        run
    }
}

/// Notes a request; the next fault of a name, and whether the caller may ask.
fn noted(world: &Shared, method: &str, name: &str, headers: &HeaderMap) -> (Option<Fault>, bool) {
    let mut world = world.lock().unwrap();
    let range = headers.get(header::RANGE).map_or("", |range| range.to_str().unwrap());
    world.asked.push(format!("{method} {name} {range}").trim().to_owned());
    // Of one range, or of the file whatever is asked of it.
    let mut next = |name: &str| world.faults.get_mut(name).filter(|f| !f.is_empty()).map(|f| f.remove(0));
    let fault = next(format!("{name} {range}").trim()).or_else(|| next(name));
    let shown =
        headers.get(header::AUTHORIZATION).is_some_and(|value| value == format!("Bearer {TOKEN}").as_str());
    (fault, shown || !world.private)
}

fn failed(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("x-error-message", "words of the server"), ("retry-after", "0")]).into_response()
}

async fn describe(
    State(world): State<Shared>,
    Segments((owner, name, revision)): Segments<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (fault, allowed) = noted(&world, "GET", "describe", &headers);
    if let Some(Fault::Status(status)) = fault {
        return failed(status);
    }
    if !allowed {
        return failed(401);
    }
    let known = ["some/model@main", "some/text@main", "baber/piqa@refs/convert/parquet"];
    if !known.contains(&format!("{owner}/{name}@{revision}").as_str()) {
        return failed(404);
    }
    assert_eq!(uri.query(), Some("blobs=true"));
    let world = world.lock().unwrap();
    let siblings: Vec<Value> = world
        .files
        .iter()
        .map(|(name, bytes)| {
            let mut file = json!({ "rfilename": name, "size": bytes.len(), "blobId": git_hash(bytes) });
            if is_large(name) {
                file["lfs"] = json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 135 });
            }
            file
        })
        .collect();
    Json(json!({ "id": "some/model", "sha": COMMIT, "siblings": siblings })).into_response()
}

async fn resolve(
    State(world): State<Shared>,
    Segments((_, _, commit, file)): Segments<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(commit, COMMIT);
    // Large files are elsewhere.
    if is_large(&file) {
        let place = format!("/storage/{file}");
        return (StatusCode::FOUND, [(header::LOCATION, place)]).into_response();
    }
    content(&world, &file, &headers)
}

async fn stored_file(
    State(world): State<Shared>,
    Segments(file): Segments<String>,
    headers: HeaderMap,
) -> Response {
    content(&world, &file, &headers)
}

fn content(world: &Shared, file: &str, headers: &HeaderMap) -> Response {
    let (fault, allowed) = noted(world, "GET", file, headers);
    if let Some(Fault::Status(status)) = fault {
        return failed(status);
    }
    if !allowed {
        return failed(403);
    }
    let Some(bytes) = world.lock().unwrap().files.get(file).cloned() else { return failed(404) };
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().unwrap().strip_prefix("bytes="));
    let range = range
        .and_then(|range| range.split_once('-'))
        .map(|(a, b)| (a.parse().unwrap(), b.parse::<usize>().unwrap() + 1));
    let (from, to) = range.unwrap_or((0, bytes.len()));
    let mut part = bytes[from..to].to_vec();
    if matches!(fault, Some(Fault::Other)) {
        part[0] ^= 1;
    }
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    if matches!(fault, Some(Fault::Half)) {
        // The head promises all of it, the body breaks off.
        let half: Vec<u8> = part[..part.len() / 2].to_vec();
        let parts = futures::stream::iter([Ok(half), Err(std::io::Error::other("broken off"))]);
        let body = axum::body::Body::from_stream(parts);
        return (status, [(header::CONTENT_LENGTH, part.len().to_string())], body).into_response();
    }
    (status, part).into_response()
}

async fn create(State(world): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let (_, allowed) = noted(&world, "POST", "create", &headers);
    assert_eq!(body, json!({ "type": "model", "name": "model", "organization": "some" }));
    if !allowed {
        return failed(401);
    }
    let there = !world.lock().unwrap().committed.is_empty();
    if there { failed(409) } else { Json(json!({ "url": "x" })).into_response() }
}

async fn preupload(State(world): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let (fault, _) = noted(&world, "POST", "preupload", &headers);
    if let Some(Fault::Status(status)) = fault {
        return failed(status);
    }
    let mode = |file: &Value| {
        let name = file["path"].as_str().unwrap();
        assert!(file["sample"].is_string() && file["size"].is_u64());
        json!({ "path": name, "uploadMode": if is_large(name) { "lfs" } else { "regular" }, "shouldIgnore": false })
    };
    let files: Vec<Value> = body["files"].as_array().unwrap().iter().map(mode).collect();
    Json(json!({ "files": files })).into_response()
}

async fn batch(State(world): State<Shared>, headers: HeaderMap, uri: Uri, body: Bytes) -> Response {
    assert_eq!(uri.path(), "/some/model.git/info/lfs/objects/batch");
    assert_eq!(headers[header::CONTENT_TYPE], "application/vnd.git-lfs+json");
    noted(&world, "POST", "batch", &headers);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let host = headers[header::HOST].to_str().unwrap();
    let world = world.lock().unwrap();
    let object = |object: &Value| {
        let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
        if world.stored.contains_key(oid) {
            return json!({ "oid": oid, "size": size });
        }
        let mut upload = json!({ "href": format!("http://{host}/upload/{oid}/0") });
        if let Some(part) = world.part_size {
            let mut header = json!({ "chunk_size": part.to_string() });
            for number in 1..=size.div_ceil(part as u64) {
                header[format!("{number:05}")] = format!("http://{host}/upload/{oid}/{number}").into();
            }
            upload = json!({ "href": format!("http://{host}/complete/{oid}"), "header": header });
        }
        json!({ "oid": oid, "size": size, "actions": {
            "upload": upload, "verify": { "href": format!("http://{host}/verify") },
        } })
    };
    let objects: Vec<Value> = body["objects"].as_array().unwrap().iter().map(object).collect();
    Json(json!({ "transfer": "basic", "objects": objects })).into_response()
}

async fn take_part(
    State(world): State<Shared>,
    Segments((oid, part)): Segments<(String, u64)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert!(headers.get(header::AUTHORIZATION).is_none(), "storage needs no token");
    let (fault, _) = noted(&world, "PUT", "part", &headers);
    if let Some(Fault::Status(status)) = fault {
        return failed(status);
    }
    let mut world = world.lock().unwrap();
    if part == 0 {
        assert_eq!(sha256(&body), oid);
        world.stored.insert(oid.clone(), body.to_vec());
    }
    world.parts.insert((oid, part), body.to_vec());
    ([(header::ETAG, format!("\"{part}\""))], "").into_response()
}

async fn complete(State(world): State<Shared>, Segments(oid): Segments<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut world = world.lock().unwrap();
    let mut whole = Vec::new();
    for part in body["parts"].as_array().unwrap() {
        let number = part["partNumber"].as_u64().unwrap();
        assert_eq!(part["etag"], format!("\"{number}\""));
        whole.extend_from_slice(&world.parts[&(oid.clone(), number)]);
    }
    assert_eq!(sha256(&whole), oid);
    world.stored.insert(oid, whole);
    StatusCode::OK.into_response()
}

async fn verify(State(world): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    noted(&world, "POST", "verify", &headers);
    let world = world.lock().unwrap();
    assert_eq!(world.stored[body["oid"].as_str().unwrap()].len() as u64, body["size"].as_u64().unwrap());
    StatusCode::OK.into_response()
}

async fn commit(State(world): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let (_, allowed) = noted(&world, "POST", "commit", &headers);
    assert!(allowed);
    let mut world = world.lock().unwrap();
    world.committed = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Json(json!({ "commitUrl": "https://hub.example/some/model/commit/1", "commitOid": COMMIT }))
        .into_response()
}

/// A model of some megabytes, so that a file has several ranges.
fn write_model(folder: &Path) -> String {
    let local = ManifestFile::preset("local").unwrap().parsed.model;
    let config =
        ModelConfig { hidden_size: 384, intermediate_size: 1536, layers: 3, heads: 6, kv_heads: 6, ..local };
    let model = Llama::new(&config, 42, Device::Cpu);
    let tokenizer = Tokenizer::bytes().unwrap();
    let options = ExportOptions { tokenizer: Some(&tokenizer), ..ExportOptions::default() };
    hugging_face::export(&model, folder, options, |_| ()).unwrap();
    hex::encode(model.hash())
}

#[test]
fn a_model_comes_from_the_hub_whatever_happens_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let hash = write_model(&place.join("theirs"));
    let server = Server::start();
    server.serve_folder(&place.join("theirs"));
    let weights = "model.safetensors";
    let import = |out: &str, token| {
        server.templar(place, &format!("model import hf:some/model --out {out} --json"), token)
    };

    // What never passes is said, and what came is kept.
    server.faults("describe", &[Fault::Status(500); 5]);
    import("one", None).fails(4, "the Hub answered 500 to hf:some/model: words of the server");
    server.faults("describe", &[Fault::Status(429); 5]);
    import("one", None).fails(4, "429");
    server.faults(weights, &[Fault::Half; 200]);
    import("one", None).fails(4, "the connection broke while asking for model.safetensors of hf:some/model");
    server.asked();
    assert!(!place.join("one").exists());
    // One range fails often, the others come; the next time only that is fetched.
    fs::remove_dir_all(place.join("home")).unwrap();
    server.faults(weights, &[]);
    let second = format!("{weights} bytes=8388608-16777215");
    server.faults(&second, &[Fault::Half; 5]);
    import("one", None).fails(4, "the connection broke while asking for model.safetensors");
    assert!(server.asked().iter().filter(|line| line.contains(weights)).count() >= 8);
    server.faults("tokenizer.json", &[Fault::Status(503); 5]);
    import("one", None).fails(4, "503 to tokenizer.json");
    let asked = server.asked();
    let ranges: Vec<&String> = asked.iter().filter(|line| line.contains(weights)).collect();
    assert_eq!(ranges, [&format!("GET {second}")], "only what was missing");
    fs::remove_dir_all(place.join("home")).unwrap();
    server.faults("tokenizer.json", &[Fault::Status(503); 5]);
    import("one", None).fails(4, "503 to tokenizer.json");
    let first = server.asked();
    let ranges = first.iter().filter(|line| line.starts_with(&format!("GET {weights} bytes="))).count();
    assert!(ranges >= 3, "{first:?}");
    let done = import("one", None).json();
    assert_eq!(done["model_hash"], hash);
    let second = server.asked();
    assert!(!second.iter().any(|line| line.contains(weights)), "fetched twice: {second:?}");
    assert!(!first.iter().chain(&second).any(|line| line.contains("pytorch_model.bin")));

    // A range at a time, over faults that pass: a crash between them costs what had not come.
    fs::remove_dir_all(place.join("home")).unwrap();
    server.faults(weights, &[Fault::Status(500), Fault::Half, Fault::Status(429)]);
    server.faults("describe", &[Fault::Status(502)]);
    assert_eq!(import("two", None).json()["model_hash"], hash);
    server.asked();
    // The cache is that of Hugging Face's own tools, and answers when nothing else does.
    let cache = place.join("home/hub/models--some--model");
    assert_eq!(fs::read_to_string(cache.join("refs/main")).unwrap(), COMMIT);
    let link = cache.join("snapshots").join(COMMIT).join(weights);
    assert_eq!(fs::read(&link).unwrap(), fs::read(place.join("theirs").join(weights)).unwrap());
    assert_eq!(
        fs::read_link(&link).unwrap(),
        Path::new(&format!("../../blobs/{}", sha256(&fs::read(&link).unwrap())))
    );
    let theirs = Command::new(support::python("hub", &["huggingface_hub==2.4.0"]))
        .args([
            "-c",
            "import huggingface_hub as h; print(h.snapshot_download('some/model', local_files_only=True))",
        ])
        .env("HF_HOME", place.join("home"))
        .output()
        .unwrap();
    let found = String::from_utf8(theirs.stdout).unwrap();
    let said = String::from_utf8_lossy(&theirs.stderr);
    assert!(found.trim().ends_with(&format!("snapshots/{COMMIT}")), "{said}");
    assert_eq!(fs::read_dir(cache.join("blobs")).unwrap().count(), 5, "nothing half-done is left");
    let info =
        server.templar(place, "model generate --model hf:some/model@main --prompt x --tokens 2 --json", None);
    info.json();
    assert_eq!(server.asked(), ["GET describe"]);
    let mut offline = Command::new(env!("CARGO_BIN_EXE_templar"));
    offline.args(["model", "import", "hf:some/model", "--out", "three"]).current_dir(place);
    offline
        .env("HF_HOME", place.join("home"))
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_ENDPOINT", "http://127.0.0.1:9");
    assert!(offline.output().unwrap().status.success());

    // Another content than the repository says.
    fs::remove_dir_all(place.join("home")).unwrap();
    server.faults(weights, &[Fault::Other]);
    import("four", None).fails(7, "model.safetensors came with a wrong hash");
    assert!(!place.join("four").exists());
    fs::remove_dir_all(place.join("home")).unwrap();
    server.faults("config.json", &[Fault::Other]);
    import("four", None).fails(7, "config.json came with a wrong hash");
    assert_eq!(import("four", None).json()["model_hash"], hash);

    // Without access, without such a repository.
    server.world.lock().unwrap().private = true;
    import("five", None).fails(4, "does not give access to hf:some/model (status 401): words of the server");
    import("five", Some("hf_wrong")).fails(4, "whether this token's user has access");
    fs::remove_dir_all(place.join("home")).unwrap();
    fs::create_dir(place.join("home")).unwrap();
    fs::write(place.join("home/token"), TOKEN).unwrap();
    assert_eq!(import("five", None).json()["model_hash"], hash);
    let other = server.templar(place, "model import hf:some/other --out six", None);
    other.fails(4, "the Hub has no hf:some/other");
    server.templar(place, "model import hf:some --out six", None).fails(4, "the Hub has no hf:some");
    server.templar(place, "model import hf:../etc --out six", None).fails(2, "is no name of a repository");

    // What is no Llama is refused before its weights are fetched; names that lead out are refused.
    fs::remove_dir_all(place.join("home/hub")).unwrap();
    server.asked();
    let good = server.world.lock().unwrap().files.insert("config.json".to_owned(), b"{\"model_type\": \"gpt2\", \"vocab_size\": 1, \"hidden_size\": 1, \"intermediate_size\": 1, \"num_hidden_layers\": 1, \"num_attention_heads\": 1}".to_vec());
    import("six", None).fails(7, "config.json of hf:some/model: it describes `gpt2`");
    assert!(!server.asked().iter().any(|line| line.contains(weights)));
    server.world.lock().unwrap().files.insert("config.json".to_owned(), good.unwrap());
    assert_eq!(
        server.templar(place, "model info hf:some/model --json", Some(TOKEN)).json()["model_hash"],
        hash
    );
    // A tokenizer alone comes without the weights.
    fs::remove_dir_all(place.join("home/hub")).unwrap();
    server.asked();
    let with = "model generate --model theirs --tokenizer hf:some/model --prompt x --tokens 2 --json";
    server.templar(place, with, Some(TOKEN)).json();
    assert!(!server.asked().iter().any(|line| line.contains(weights)));
    server.world.lock().unwrap().files.insert("../../escape.json".to_owned(), b"{}".to_vec());
    import("six", None).fails(4, "leads out of it");
    assert!(!place.join("six").exists());
}

#[test]
fn tasks_come_from_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("ours"));
    let server = Server::start();
    let row = |n: u64| json!({ "goal": format!("goal {n}"), "sol1": "one", "sol2": "two", "label": n % 2 });
    let lines: String = (0..6).map(|n| row(n).to_string() + "\n").collect();
    for (split, more) in [("train", "\n"), ("validation", "")] {
        let name = format!("default/{split}/0000.jsonl");
        server.world.lock().unwrap().files.insert(name, (lines.clone() + more).into_bytes());
    }
    let eval = |line: &str| {
        let line = format!("eval --model ours --tasks piqa --task-data hf: --json {line}");
        server.templar(folder.path(), &line, None)
    };
    assert_eq!(eval("").json()["n-samples"]["piqa"]["effective"], 6);
    assert!(!server.asked().iter().any(|line| line.contains("train")), "examples were not asked for");
    assert_eq!(eval("--num-fewshot 2").json()["n-shot"]["piqa"], 2);
    let asked = server.asked();
    assert!(asked.iter().any(|line| line.contains("default/train/0000.jsonl")), "{asked:?}");
    assert!(!asked.iter().any(|line| line.contains("validation")), "fetched twice: {asked:?}");
}

#[test]
fn a_model_is_put_on_the_hub_as_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    write_model(&place.join("ours"));
    let server = Server::start();
    server.world.lock().unwrap().private = true;
    let export = |out: &str, token| {
        server.templar(
            place,
            &format!("model export ours --out {out} --shard-mb 9 --push hf:some/model --json"),
            token,
        )
    };
    export("zero", None).fails(2, "there is no token to show to the Hub");
    export("none", Some("hf_wrong")).fails(4, "does not give access to making hf:some/model");

    // Whole files first; one fails for a while.
    server.faults("part", &[Fault::Status(500), Fault::Status(503)]);
    server.faults("preupload", &[Fault::Status(502)]);
    let pushed = export("one", Some(TOKEN)).json();
    assert_eq!(pushed["pushed"], "https://hub.example/some/model/commit/1");
    let check = |out: &str| {
        let world = server.world.lock().unwrap();
        let header = &world.committed[0];
        assert_eq!(
            (&header["key"], &header["value"]["summary"]),
            (&"header".into(), &"Model of ours".into())
        );
        let mut names = Vec::new();
        for line in &world.committed[1..] {
            let name = line["value"]["path"].as_str().unwrap().to_owned();
            let bytes = fs::read(place.join(out).join(&name)).unwrap();
            if is_large(&name) {
                assert_eq!(line["key"], "lfsFile");
                assert_eq!(world.stored[line["value"]["oid"].as_str().unwrap()], bytes);
            } else {
                use base64::{Engine as _, engine::general_purpose::STANDARD};
                assert_eq!(STANDARD.decode(line["value"]["content"].as_str().unwrap()).unwrap(), bytes);
            }
            names.push(name);
        }
        assert!(names.iter().filter(|name| is_large(name)).count() >= 3, "{names:?}");
        for name in ["README.md", "config.json", "tokenizer.json", "model.safetensors.index.json"] {
            assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
        }
    };
    check("one");
    // Again: the large files are there, and are not sent twice.
    server.asked();
    export("two", Some(TOKEN)).json();
    assert!(!server.asked().iter().any(|line| line.starts_with("PUT")));
    // In parts.
    {
        let mut world = server.world.lock().unwrap();
        world.stored.clear();
        world.parts.clear();
        world.part_size = Some(3_000_000);
    }
    export("three", Some(TOKEN)).json();
    assert!(server.asked().iter().filter(|line| line.starts_with("PUT")).count() > 6);
    check("three");
    server.faults("part", &[Fault::Status(403)]);
    server.world.lock().unwrap().stored.clear();
    export("four", Some(TOKEN)).fails(4, "does not give access to sending model-00001-of");
}

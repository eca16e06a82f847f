//! The routes: completions and conversations, whole or as they come.

use super::{
    Served, Server,
    request::{Chat, Common, Completion, Refusal, begun, room},
    worker::{Chance, Event, Job, Refused},
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing::{get, post},
};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use templar::{model::generate::Finish, tokenizer::Tokenizer};
use tokio::sync::mpsc;

/// Longer requests are not read.
const MAX_BODY: usize = 4 << 20;

/// The routes of a server.
pub(super) fn router(server: Arc<Server>) -> Router {
    let asked = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(server.clone(), with_key));
    Router::new().route("/health", get(health)).merge(asked).fallback(unknown).with_state(server)
}

/// A failure in OpenAI's form.
#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    message: String,
    field: Option<&'static str>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let body = json!({ "error": {
            "message": self.message, "type": kind, "param": self.field, "code": self.status.as_u16().to_string(),
        } });
        (self.status, Json(body)).into_response()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: refusal.message, field: refusal.field }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), message: rejection.body_text(), field: None }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let (status, message) = match refused {
            Refused::Busy => (StatusCode::TOO_MANY_REQUESTS, "too many texts are waiting: try again later"),
            Refused::Gone => {
                (StatusCode::SERVICE_UNAVAILABLE, "the model's thread has ended: start the server again")
            }
        };
        Self { status, message: message.to_owned(), field: None }
    }
}

async fn unknown() -> ApiError {
    let message = "there are /v1/models, /v1/completions, /v1/chat/completions and /health".to_owned();
    ApiError { status: StatusCode::NOT_FOUND, message, field: None }
}

/// Asks for the key, where there is one.
async fn with_key(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    if let Some(key) = &server.key {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        // Hashes are compared, so that the time it takes says nothing about the key.
        if blake3::hash(shown.as_bytes()) != *key {
            let message = "the key is missing or wrong".to_owned();
            return ApiError { status: StatusCode::UNAUTHORIZED, message, field: None }.into_response();
        }
    }
    next.run(request).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn health(State(server): State<Arc<Server>>) -> Json<Value> {
    let served = server.served.read().await;
    Json(
        json!({ "status": "ok", "model": served.name, "window": served.window, "writing": server.worker.writing() }),
    )
}

fn described(served: &Served) -> Value {
    json!({
        "id": served.name, "object": "model", "created": now(), "owned_by": "templar", "max_model_len": served.positions,
        "window": served.window,
    })
}

async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": [described(&*server.served.read().await)] }))
}

async fn model(
    State(server): State<Arc<Server>>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Result<Json<Value>, ApiError> {
    let served = server.served.read().await;
    named(&served, Some(&name))?;
    Ok(Json(described(&served)))
}

fn named(served: &Served, name: Option<&str>) -> Result<(), ApiError> {
    if name.is_none_or(|name| name == served.name) {
        return Ok(());
    }
    let message = format!("there is no model of this name: this server has `{}`", served.name);
    Err(ApiError { status: StatusCode::NOT_FOUND, message, field: Some("model") })
}

/// The number of a request, in its identifier.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// A request that is being answered.
struct Answering {
    /// Events of each text.
    texts: Vec<mpsc::UnboundedReceiver<Event>>,
    id: String,
    created: u64,
    model: String,
    prompt_tokens: usize,
    tokenizer: Arc<Tokenizer>,
    /// Whether it is a conversation.
    chat: bool,
    likeliest: bool,
}

/// What is asked of one prompt.
struct Asked<'a> {
    common: &'a Common,
    most: Option<u32>,
    likeliest: Option<usize>,
    echo: bool,
    chat: bool,
}

/// Puts the texts of a request into the queue.
fn start(
    server: &Server,
    served: &Served,
    prompts: Vec<Vec<i64>>,
    asked: &Asked<'_>,
) -> Result<Answering, ApiError> {
    let sampling = asked.common.sampling()?;
    let (copies, stops) = (asked.common.copies(prompts.len())?, asked.common.stops()?);
    let rooms =
        prompts.iter().map(|prompt| room(served, prompt, asked.most)).collect::<Result<Vec<_>, _>>()?;
    let mut texts = Vec::new();
    for (number, (prompt, most)) in prompts.iter().zip(rooms).enumerate() {
        for copy in 0..copies {
            let (events, receiver) = mpsc::unbounded_channel();
            let seed = sampling.seed.wrapping_add((number * copies + copy) as u64);
            server.worker.write(Job {
                prompt: prompt.clone(),
                sampling: templar::model::generate::Sampling { seed, ..sampling },
                most,
                stops: stops.clone(),
                likeliest: asked.likeliest,
                echo: asked.echo,
                events,
            })?;
            texts.push(receiver);
        }
    }
    let kind = if asked.chat { "chatcmpl" } else { "cmpl" };
    let created = now();
    Ok(Answering {
        texts,
        id: format!("{kind}-{created}-{}", REQUESTS.fetch_add(1, Ordering::Relaxed)),
        created,
        model: served.name.clone(),
        prompt_tokens: prompts.iter().map(Vec::len).sum(),
        tokenizer: served.tokenizer.clone(),
        chat: asked.chat,
        likeliest: asked.likeliest.is_some(),
    })
}

/// A body as what is asked, and how.
fn parsed<T: DeserializeOwned>(body: Result<Json<Value>, JsonRejection>) -> Result<(T, Common), ApiError> {
    let Json(body) = body?;
    let wrong = |e: serde_json::Error| ApiError {
        status: StatusCode::BAD_REQUEST,
        message: format!("the request is not understood: {e}"),
        field: None,
    };
    let common = Common::deserialize(&body).map_err(wrong)?;
    Ok((serde_json::from_value(body).map_err(wrong)?, common))
}

async fn completions(
    State(server): State<Arc<Server>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, ApiError> {
    let (request, common) = parsed::<Completion>(body)?;
    let served = server.served.read().await.clone();
    named(&served, common.model.as_deref())?;
    request.check(&common)?;
    let prompts = request.prompts(&served)?;
    let asked = Asked {
        common: &common,
        most: request.max_tokens,
        likeliest: request.logprobs,
        echo: request.echo.unwrap_or(false),
        chat: false,
    };
    let answering = start(&server, &served, prompts, &asked)?;
    answer(answering, &common).await
}

async fn chat(
    State(server): State<Arc<Server>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, ApiError> {
    let (request, common) = parsed::<Chat>(body)?;
    let served = server.served.read().await.clone();
    named(&served, common.model.as_deref())?;
    if request.logprobs.unwrap_or(false) {
        return Err(Refusal::new("logprobs", "logprobs are only told of completions").into());
    }
    if request.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return Err(Refusal::new("tools", "tools are not supported: leave them out").into());
    }
    let messages = request.messages.iter().map(|said| said.message()).collect::<Result<Vec<_>, _>>()?;
    let refused = |e: templar::tokenizer::TokenizerError| Refusal::new("messages", e.to_string());
    let prompt = served.tokenizer.chat_prompt(&messages).map_err(refused)?;
    let prompt = begun(&served, served.tokenizer.encode(&prompt, false).map_err(refused)?)?;
    let most = request.max_completion_tokens.or(request.max_tokens);
    let asked = Asked { common: &common, most, likeliest: None, echo: false, chat: true };
    let answering = start(&server, &served, vec![prompt], &asked)?;
    answer(answering, &common).await
}

async fn answer(answering: Answering, common: &Common) -> Result<Response, ApiError> {
    if common.stream.unwrap_or(false) {
        let usage = common.stream_options.as_ref().is_some_and(|options| options.include_usage);
        let events = answering.stream(usage);
        return Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response());
    }
    answering.whole().await.map(|body| Json(body).into_response())
}

impl Answering {
    /// The whole answer, once all texts have ended.
    async fn whole(mut self) -> Result<Value, ApiError> {
        let mut choices = Vec::new();
        let mut completion_tokens = 0;
        for (index, events) in std::mem::take(&mut self.texts).into_iter().enumerate() {
            let (mut text, mut tokens, mut ended) = (String::new(), Vec::new(), None);
            let mut events = events;
            while let Some(event) = events.recv().await {
                match event {
                    Event::Text { text: more, tokens: come } => {
                        text.push_str(&more);
                        tokens.extend(come);
                    }
                    Event::End { finish, count } => ended = Some((finish, count)),
                }
            }
            let (finish, count) = ended.ok_or(Refused::Gone)?;
            completion_tokens += count;
            choices.push(self.choice(index, &text, &tokens, &mut 0, Some(finish), false));
        }
        let mut body = self.envelope(choices, false);
        body["usage"] = self.usage(completion_tokens);
        Ok(body)
    }

    /// The answer as it comes: texts side by side, each part with the number of its text.
    fn stream(mut self, usage: bool) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        let texts = std::mem::take(&mut self.texts).into_iter().enumerate().map(|(index, events)| {
            let events = stream::unfold(events, |mut events| async {
                events.recv().await.map(|event| (event, events))
            });
            events.map(move |event| (index, event)).boxed()
        });
        let count = texts.len();
        let mut offsets = vec![0; count];
        let mut completion_tokens = 0;
        let mut left = count;
        let merged = stream::select_all(texts);
        let roles: Vec<Value> = if self.chat {
            (0..count)
                .map(|index| {
                    let delta = json!({ "role": "assistant", "content": "" });
                    self.envelope(
                        vec![json!({ "index": index, "delta": delta, "finish_reason": null })],
                        true,
                    )
                })
                .collect()
        } else {
            Vec::new()
        };
        let parts = merged.flat_map(move |(index, event)| {
            let mut out = Vec::new();
            match event {
                Event::Text { text, tokens } => {
                    let choice = self.choice(index, &text, &tokens, &mut offsets[index], None, true);
                    // Half a character is nothing to show yet.
                    if !text.is_empty() || !tokens.is_empty() {
                        out.push(self.envelope(vec![choice], true).to_string());
                    }
                }
                Event::End { finish, count } => {
                    completion_tokens += count;
                    left -= 1;
                    let choice = self.choice(index, "", &[], &mut offsets[index], Some(finish), true);
                    out.push(self.envelope(vec![choice], true).to_string());
                    if left == 0 {
                        if usage {
                            let mut last = self.envelope(Vec::new(), true);
                            last["usage"] = self.usage(completion_tokens);
                            out.push(last.to_string());
                        }
                        out.push("[DONE]".to_owned());
                    }
                }
            }
            stream::iter(out)
        });
        stream::iter(roles.into_iter().map(|role| role.to_string()))
            .chain(parts)
            .map(|data| Ok(sse::Event::default().data(data)))
    }

    fn envelope(&self, choices: Vec<Value>, part: bool) -> Value {
        let object = match (self.chat, part) {
            (false, _) => "text_completion",
            (true, false) => "chat.completion",
            (true, true) => "chat.completion.chunk",
        };
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices })
    }

    fn usage(&self, completion_tokens: usize) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens, "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
        })
    }

    fn choice(
        &self,
        index: usize,
        text: &str,
        tokens: &[Chance],
        offset: &mut usize,
        finish: Option<Finish>,
        part: bool,
    ) -> Value {
        let finish = finish.map(Finish::name);
        match (self.chat, part) {
            (true, false) => json!({
                "index": index, "message": { "role": "assistant", "content": text }, "finish_reason": finish,
                "logprobs": null,
            }),
            (true, true) => {
                let delta = if text.is_empty() { json!({}) } else { json!({ "content": text }) };
                json!({ "index": index, "delta": delta, "finish_reason": finish })
            }
            (false, _) => {
                let logprobs = (self.likeliest && !tokens.is_empty()).then(|| self.logprobs(tokens, offset));
                json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish })
            }
        }
    }

    /// Tokens with their probabilities, in the form of OpenAI's completions.
    fn logprobs(&self, tokens: &[Chance], offset: &mut usize) -> Value {
        let written = |token: i64| self.tokenizer.decode(&[token], false);
        let mut offsets = Vec::new();
        for chance in tokens {
            offsets.push(*offset);
            *offset += written(chance.token).chars().count();
        }
        let likeliest = |chance: &Chance| {
            chance.log.map(|_| {
                let named = chance.likeliest.iter().map(|(token, log)| (written(*token), json!(log)));
                Value::Object(named.collect())
            })
        };
        json!({
            "tokens": tokens.iter().map(|chance| written(chance.token)).collect::<Vec<_>>(),
            "token_logprobs": tokens.iter().map(|chance| chance.log).collect::<Vec<_>>(),
            "top_logprobs": tokens.iter().map(likeliest).collect::<Vec<_>>(),
            "text_offset": offsets,
        })
    }
}

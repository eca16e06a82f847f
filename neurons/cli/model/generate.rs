//! `templar model generate`: what a model goes on with.

use super::source::{Asked, Opened};
use crate::{
    cli::{
        Exit, Failure,
        output::{print, print_json},
    },
    context,
};
use serde_json::json;
use std::time::Instant;
use tch::Device;
use templar::{
    device,
    model::generate::{Engine, Finish, Sampling, Writing},
    tokenizer::{Message, Tokenizer},
};

/// What to go on with, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    /// The text to go on with; several are gone on with side by side
    #[arg(long, value_name = "TEXT", required = true)]
    prompt: Vec<String>,
    /// The prompt is what a user says to the model, by the tokenizer's chat template
    #[arg(long)]
    chat: bool,
    /// What a model is told before the user speaks, with --chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// The most tokens that follow
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// What logits are divided by; 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Draw from so many of the likeliest tokens only; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Draw from the likeliest tokens whose probabilities sum to this only
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// What the draws follow from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on after the token that ends a text
    #[arg(long)]
    ignore_end: bool,
    /// What computes: `auto`, `cpu` or `cuda:N`
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the tensor library; all cores unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print one JSON document at the end, instead of the text as it comes
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    let usage = |message: &str, hint: &str| Err(Failure::new(Exit::Usage, message).hint(hint));
    if !args.chat && args.prompt.iter().any(String::is_empty) {
        return usage("there is no text to go on with", "give one with --prompt");
    }
    let good = args.temperature >= 0.0 && args.temperature.is_finite() && (0.0..=1.0).contains(&args.top_p);
    if !good {
        return usage(
            "--temperature must not be negative and --top-p must be from 0 to 1",
            "leave them out for the likeliest text",
        );
    }
    let device = computing_on(&args.device, args.threads)?;
    let opened = args.asked.open(device).await?;
    context::blocking(move || generate(&args, &opened)).await
}

fn generate(args: &Args, opened: &Opened) -> Result<(), Failure> {
    let tokenizer = opened.about.tokenizer()?;
    let prompts =
        args.prompt.iter().map(|text| prompt(tokenizer, text, args)).collect::<Result<Vec<_>, _>>()?;
    let started = Instant::now();
    let texts = write(args, opened, tokenizer, &prompts)?;
    if args.json {
        let seconds = started.elapsed().as_secs_f64();
        let written: Vec<_> = args
            .prompt
            .iter()
            .zip(&texts)
            .map(|(prompt, text)| {
                json!({
                    "prompt": prompt, "text": text.text, "tokens": text.tokens.len(), "token_ids": text.tokens,
                    "finish": text.finish.name(),
                })
            })
            .collect();
        return print_json(&json!({ "texts": written, "seconds": seconds }));
    }
    if let [_] = texts.as_slice() {
        return print("\n");
    }
    texts
        .iter()
        .enumerate()
        .try_for_each(|(number, text)| print(&format!("[{}] {}\n", number + 1, text.text)))
}

/// Opens the device of a verb that only reads a model.
pub fn computing_on(device: &str, threads: Option<usize>) -> Result<Device, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    device::set_threads(threads.unwrap_or(cores).max(1));
    if let Some(threads) = threads {
        device::set_own_threads(threads);
    }
    Ok(device::open(device)?)
}

fn prompt(tokenizer: &Tokenizer, text: &str, args: &Args) -> Result<Vec<i64>, Failure> {
    if !args.chat {
        return Ok(tokenizer.encode(text, true)?);
    }
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let system = args.system.iter().map(|content| message("system", content));
    let messages: Vec<Message> = system.chain([message("user", text)]).collect();
    Ok(tokenizer.encode(&tokenizer.chat_prompt(&messages)?, false)?)
}

struct Written {
    text: String,
    tokens: Vec<i64>,
    finish: Finish,
}

/// Writes all texts side by side; one alone is shown as it comes.
fn write(
    args: &Args,
    opened: &Opened,
    tokenizer: &Tokenizer,
    prompts: &[Vec<i64>],
) -> Result<Vec<Written>, Failure> {
    let shown = !args.json && prompts.len() == 1;
    let ends = if args.ignore_end { Vec::new() } else { opened.about.ends.clone() };
    let mut engine = Engine::new(&opened.model);
    let mut texts: Vec<Written> = Vec::new();
    let mut writings = Vec::new();
    for (number, prompt) in prompts.iter().enumerate() {
        let sampling = Sampling {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            seed: args.seed.wrapping_add(number as u64),
        };
        let writing =
            Writing::new(tokenizer, prompt, args.tokens as usize, ends.clone(), args.stop.iter().cloned());
        writings.push((engine.add(prompt, sampling), writing));
        texts.push(Written { text: String::new(), tokens: Vec::new(), finish: Finish::Length });
    }
    while !engine.is_empty() {
        for (id, token) in engine.step() {
            let Some(number) = writings.iter().position(|(of, _)| *of == id) else { continue };
            let (new, finish) = writings[number].1.push(token);
            if shown {
                print(&new)?;
            }
            texts[number].text.push_str(&new);
            texts[number].tokens.push(token);
            if let Some(finish) = finish {
                texts[number].finish = finish;
                engine.remove(id);
            }
        }
    }
    Ok(texts)
}

//! `templar why`: a score, explained.

use crate::{
    cli::{
        Exit, Failure,
        output::{print, print_json},
        scores::source::{Range, SourceArgs},
    },
    context,
};
use templar::{
    gauntlet::ScoreRecord,
    report::why::{Case, explain},
    telemetry::score_log::LoggedWindow,
    window::{Uid, Window},
};

/// Windows before the one in question that are looked at.
const HISTORY: Window = 20;

/// Which score.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The peer's UID
    #[arg(value_name = "UID")]
    uid: Uid,
    /// The window; the newest one of the log unless given
    #[arg(long, value_name = "W")]
    window: Option<Window>,
    #[command(flatten)]
    source: SourceArgs,
    /// The run whose rules are named, with --log: a manifest file or a preset
    #[arg(long, value_name = "FILE|PRESET", requires = "log")]
    run: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Explains a score.
pub async fn run(args: Args) -> Result<(), Failure> {
    let given = args.run.as_deref().map(context::read_manifest).transpose()?;
    let source = args.source.open().await?;
    let window = match args.window {
        Some(window) => window,
        None => source.newest().await?,
    };
    let range = Range { from: window.saturating_sub(HISTORY), to: window };
    let mut windows = source.windows(Some(range)).await?;
    let Some(asked) = windows.pop_if(|logged| logged.closing.closes == window) else {
        return Err(Failure::new(Exit::Data, format!("there is no score log of window {window}"))
            .hint("leave --window out for the newest one; a validator that was away has gaps"));
    };
    let Some(record) = asked.records.iter().find(|record| record.uid == args.uid) else {
        return Err(nobody(args.uid, &asked));
    };
    // By hotkey: the UID may have belonged to another hotkey before.
    let before = windows.iter().flat_map(|logged| &logged.records);
    let history: Vec<ScoreRecord> = before.filter(|r| r.hotkey == record.hotkey).cloned().collect();
    let manifest = given.as_ref().or(source.manifest());
    let rules = manifest.map(|file| &file.parsed.gauntlet);
    let explanation = explain(&Case { record, history: &history, rules });
    if args.json {
        let mut value = serde_json::json!(explanation);
        value["validator"] = serde_json::json!(asked.closing.validator);
        return print_json(&value);
    }
    print(&format!("{}\nJudged by {}.\n", explanation.text(), asked.closing.validator))
}

fn nobody(uid: Uid, asked: &LoggedWindow) -> Failure {
    let (window, judged) = (asked.closing.closes, &asked.records);
    let uids: Vec<String> = judged.iter().map(|record| record.uid.to_string()).collect();
    let hint = if uids.is_empty() {
        "nobody has one: see that peers have committed their buckets".to_owned()
    } else {
        format!(
            "UIDs {} have one; a peer without a bucket on chain, or whose bucket could not be asked, is not looked at",
            uids.join(", ")
        )
    };
    Failure::new(Exit::Usage, format!("UID {uid} has no record in window {window}")).hint(hint)
}

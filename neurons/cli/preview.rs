//! A transaction before it is signed, as a person reads it.

use templar::chain::{Check, Preview};

use crate::cli::Amount;

/// The most letters of a call's bytes that are shown.
const LONGEST: usize = 130;

/// What would be signed.
pub fn text(preview: &Preview) -> String {
    let length = preview.bytes.len().saturating_sub(2) / 2;
    let bytes = match preview.bytes.get(..LONGEST) {
        Some(first) if preview.bytes.len() > LONGEST => {
            format!("{first}… ({length} bytes, all of them with --json)")
        }
        _ => preview.bytes.clone(),
    };
    format!(
        "{}\n  arguments  {}\n  bytes      {bytes}\n  signer     {}\n  fee        {}\n  runtime    specification {} at block {}\nnothing was signed\n",
        preview.call,
        preview.arguments,
        preview.signer,
        fee(preview.fee),
        preview.spec_version,
        preview.block
    )
}

/// The rules, each with what was found.
pub fn checks(checks: &[Check]) -> String {
    let line = |check: &Check| match check.refusal {
        None => format!("  yes  {}: {}\n", check.rule, check.found),
        Some(name) => format!("  NO   {}: {} ({name})\n", check.rule, check.found),
    };
    checks.iter().map(line).collect()
}

/// What a transaction costs.
pub fn fee(rao: u64) -> String {
    if rao == 0 { "none".to_owned() } else { format!("{} TAO", Amount(rao)) }
}

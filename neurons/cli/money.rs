//! Amounts as people write them, and the question before they are spent.

use std::{
    fmt,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    str::FromStr,
};

use templar::chain::RAO_PER_TAO;

use crate::cli::{Exit, Failure};

/// An amount of TAO, or of alpha, in rao: `12`, `0.5`, nine decimals at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub u64);

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no amount: write it like 12 or 0.5, with nine decimals at most");
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 9 || whole.len() + decimals.len() == 0 {
            return Err(wrong());
        }
        let number =
            |part: &str| if part.is_empty() { Ok(0) } else { part.parse::<u64>().map_err(|_| wrong()) };
        let rao = number(whole)?.checked_mul(RAO_PER_TAO);
        rao.and_then(|rao| rao.checked_add(number(&format!("{decimals:0<9}")).ok()?))
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / RAO_PER_TAO, self.0 % RAO_PER_TAO);
        let decimals = format!("{decimals:09}");
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            decimals => write!(f, "{whole}.{decimals}"),
        }
    }
}

/// Whether to ask before money is spent.
#[derive(Debug, Clone, clap::Args)]
pub struct ConsentArgs {
    /// Do not ask before money is spent
    #[arg(long, short = 'y')]
    pub yes: bool,
}

impl ConsentArgs {
    /// Shows what is about to be done on stderr and asks whether to. Where nobody can be asked it is not done, unless
    /// there is `--yes`, or a limit that makes the question needless, whose flag is named here.
    ///
    /// # Errors
    /// Exit code 2 where nobody can be asked, 130 after a no.
    pub fn ask(&self, what: &str, limit: Option<(&str, bool)>) -> Result<(), Failure> {
        eprintln!("{what}");
        let limited = limit.is_some_and(|(_, given)| given);
        if self.yes {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            let other = limit
                .map_or_else(String::new, |(flag, _)| format!(", or the most that it may cost with {flag}"));
            return match limited {
                true => Ok(()),
                false => {
                    Err(Failure::new(Exit::Usage, "this spends money, and there is no terminal to ask on")
                        .hint(format!("give --yes{other}; `--dry-run` shows all of it and sends nothing")))
                }
            };
        }
        eprint!("Go on? [y/N] ");
        let _ = io::stderr().flush();
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim().to_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => {
                Err(Failure::new(Exit::Interrupted, "nothing was sent")
                    .hint("answer y to go on, or give --yes"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_both_ways() {
        for (text, rao) in [
            ("0", 0),
            ("1", 1_000_000_000),
            ("0.1", 100_000_000),
            (".5", 500_000_000),
            ("0.000000001", 1),
            ("18446744073.709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Amount(rao)), "{text}");
            assert_eq!(Amount(rao).to_string().parse(), Ok(Amount(rao)), "{text}");
        }
        assert_eq!(Amount(1_500_000_000).to_string(), "1.5");
        for text in ["", ".", "-1", "1e3", "0.0000000001", "18446744073.709551616", "1,5", "1.2.3", "nan"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }
}

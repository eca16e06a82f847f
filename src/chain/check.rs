//! Rules of the chain that are looked at before anything is signed.

use serde::Serialize;

use super::error::ChainError;

/// One rule of the chain, looked at beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule, in words.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
    /// The name that the chain would refuse with; none if the rule is kept.
    pub refusal: Option<&'static str>,
}

impl Check {
    /// A rule, whether it is kept, the name that the chain refuses with if it is not, and what was found.
    pub(in crate::chain) fn new(
        rule: &'static str,
        kept: bool,
        refusal: &'static str,
        found: String,
    ) -> Self {
        Self { rule, found, refusal: (!kept).then_some(refusal) }
    }

    /// What breaks the first rule that is broken.
    ///
    /// # Errors
    /// [`ChainError::WouldRefuse`] if there is one.
    pub fn refuse(call: &'static str, checks: &[Self]) -> Result<(), ChainError> {
        let broken = checks.iter().find_map(|check| Some((check.refusal?, &check.found)));
        let refusal = |(name, found): (&str, &String)| ChainError::WouldRefuse {
            call,
            name: name.to_owned(),
            found: found.clone(),
        };
        broken.map_or(Ok(()), |broken| Err(refusal(broken)))
    }
}

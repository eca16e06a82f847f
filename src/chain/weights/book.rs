//! Where salted commits are kept: before the chain hears of one, until its time is over.

use std::sync::{Mutex, PoisonError};

use super::request::SaltedCommit;
use crate::window::Block;

/// Keeps salted commits. Whoever loses a salt loses the weights behind it, so the order is: kept, sent, confirmed.
pub trait CommitBook: std::fmt::Debug + Send + Sync {
    /// Keeps a commit that is about to be sent. When this returns it outlives the process and the machine.
    ///
    /// # Errors
    /// In words, why it cannot be kept; then it is not sent.
    fn intend(&self, commit: &SaltedCommit) -> Result<(), String>;

    /// Notes the block that a commit is in.
    ///
    /// # Errors
    /// In words. The chain says the same again.
    fn confirm(&self, hash: &[u8; 32], block: Block) -> Result<(), String>;

    /// Forgets a commit: it was revealed, its time is over, or it is certain that it never got into the chain.
    ///
    /// # Errors
    /// In words.
    fn forget(&self, hash: &[u8; 32]) -> Result<(), String>;
}

/// A book in memory, for tests and for chains that never take a salted commit.
#[derive(Debug, Default)]
pub struct MemoryBook(Mutex<Vec<SaltedCommit>>);

impl MemoryBook {
    /// What is in it.
    pub fn commits(&self) -> Vec<SaltedCommit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl CommitBook for MemoryBook {
    fn intend(&self, commit: &SaltedCommit) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(commit.clone());
        Ok(())
    }

    fn confirm(&self, hash: &[u8; 32], block: Block) -> Result<(), String> {
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        commits
            .iter_mut()
            .filter(|commit| commit.hash == *hash)
            .for_each(|commit| commit.block = Some(block));
        Ok(())
    }

    fn forget(&self, hash: &[u8; 32]) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|commit| commit.hash != *hash);
        Ok(())
    }
}

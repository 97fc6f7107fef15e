//! The entries whose take was not answered in time, while the answer is still waited for.
//!
//! Such a take may be executed at any moment and is then undone. A retry that came in between would be answered as a replay
//! is, so it is not sent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The names of these entries, each with the number of its late takes.
#[derive(Debug, Default)]
pub(super) struct LateTakes(Mutex<HashMap<String, usize>>);

/// A late take. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct LateTake<'a> {
    takes: &'a LateTakes,
    name: &'a str,
}

impl LateTakes {
    /// A take of this entry is late from now on.
    pub fn begin<'a>(&'a self, name: &'a str) -> LateTake<'a> {
        *self.lock().entry(name.to_owned()).or_default() += 1;
        LateTake { takes: self, name }
    }

    /// Whether a take of this entry is late.
    pub fn contains(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LateTake<'_> {
    fn drop(&mut self) {
        let mut takes = self.takes.lock();
        if let Some(number) = takes.get_mut(self.name) {
            *number -= 1;
            if *number == 0 {
                takes.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_late_until_its_last_late_take_ends() {
        let takes = LateTakes::default();
        let (first, second) = (takes.begin("a"), takes.begin("a"));
        drop(first);
        assert!(takes.contains("a") && !takes.contains("b"));
        drop(second);
        assert!(!takes.contains("a"));
    }
}

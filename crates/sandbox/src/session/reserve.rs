//! Names and places of sessions in the making, so that two of them never get the same.

use super::manager::SessionManager;
use crate::{Result, SandboxError, SessionName};
use std::collections::HashSet;

impl SessionManager {
    /// Takes names and places, so that two at once cannot have the same.
    pub(super) fn reserve(
        &self,
        owner: u32,
        names: Vec<SessionName>,
        places: usize,
    ) -> Result<Reserved> {
        if self.inner.token.is_cancelled() {
            return Err(SandboxError::Stopping);
        }
        let mut table = self.table();
        let has = table
            .sessions
            .values()
            .filter(|session| session.inner.owner == owner)
            .count();
        let making = table.in_the_making.get(&owner).copied().unwrap_or(0);
        if has + making + places > self.inner.config.max_sessions {
            return Err(SandboxError::Limit {
                what: "sessions of a user",
                limit: self.inner.config.max_sessions as u64,
            });
        }
        let mut wanted = HashSet::new();
        for name in &names {
            let is_taken = table
                .sessions
                .values()
                .any(|session| session.inner.owner == owner && session.name() == Some(name));
            if is_taken
                || table.reserved.contains(&(owner, name.clone()))
                || !wanted.insert(name.clone())
            {
                return Err(SandboxError::NameTaken {
                    what: "session",
                    name: name.to_string(),
                });
            }
        }
        table
            .reserved
            .extend(names.iter().map(|name| (owner, name.clone())));
        *table.in_the_making.entry(owner).or_default() += places;
        Ok(Reserved {
            manager: self.clone(),
            owner,
            names,
            places,
        })
    }
}

/// Names and places taken, until this is dropped: then the sessions are in the table.
pub(super) struct Reserved {
    manager: SessionManager,
    owner: u32,
    pub(super) names: Vec<SessionName>,
    places: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut table = self.manager.table();
        for name in &self.names {
            table.reserved.remove(&(self.owner, name.clone()));
        }
        if let Some(making) = table.in_the_making.get_mut(&self.owner) {
            *making = making.saturating_sub(self.places);
            if *making == 0 {
                table.in_the_making.remove(&self.owner);
            }
        }
    }
}

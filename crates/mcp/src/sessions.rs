//! Handles of sessions: what a client shows to go on in one.

use crate::caller::Caller;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use terraphim_rlm::SessionId;

/// Longest handle that is looked at, in bytes.
const MAX_HANDLE_BYTES: usize = 64;

/// An output of a session that was too long for its result, in a file of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LongOutput {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// Most long outputs of a session that are listed; the latest.
const MAX_OUTPUTS: usize = 64;

struct Entry {
    caller: Caller,
    id: SessionId,
    outputs: Vec<LongOutput>,
}

/// The sessions that clients have handles of.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Entry>>);

impl Sessions {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new handle. It has 122 random bits.
    pub(crate) fn mint(&self, caller: &Caller, id: SessionId) -> String {
        let handle = format!("s_{}", uuid::Uuid::new_v4().simple());
        let entry = Entry {
            caller: caller.clone(),
            id,
            outputs: Vec::new(),
        };
        self.table().insert(handle.clone(), entry);
        handle
    }

    /// The session of a handle, if it is this caller's.
    pub(crate) fn find(&self, caller: &Caller, handle: &str) -> Option<SessionId> {
        if handle.len() > MAX_HANDLE_BYTES {
            return None;
        }
        let table = self.table();
        let entry = table.get(handle)?;
        (entry.caller == *caller).then_some(entry.id)
    }

    /// All of a caller's.
    pub(crate) fn of(&self, caller: &Caller) -> Vec<(String, SessionId)> {
        let table = self.table();
        let own = table.iter().filter(|(_, entry)| entry.caller == *caller);
        let mut own: Vec<_> = own
            .map(|(handle, entry)| (handle.clone(), entry.id))
            .collect();
        own.sort();
        own
    }

    pub(crate) fn forget(&self, handle: &str) -> Option<SessionId> {
        self.table().remove(handle).map(|entry| entry.id)
    }

    /// Remembers outputs, so that they are listed.
    pub(crate) fn note_outputs(&self, handle: &str, outputs: impl Iterator<Item = LongOutput>) {
        let mut table = self.table();
        let Some(entry) = table.get_mut(handle) else {
            return;
        };
        entry.outputs.extend(outputs);
        let excess = entry.outputs.len().saturating_sub(MAX_OUTPUTS);
        entry.outputs.drain(..excess);
    }

    pub(crate) fn outputs(&self, handle: &str) -> Vec<LongOutput> {
        let table = self.table();
        let entry = table.get(handle);
        entry.map_or_else(Vec::new, |entry| entry.outputs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SessionId {
        uuid::Uuid::new_v4().to_string().parse().expect("an id")
    }

    #[test]
    fn a_handle_is_its_callers_only() {
        let sessions = Sessions::default();
        let (own, other) = (Caller::of_token("a"), Caller::of_token("b"));
        let handle = sessions.mint(&own, id());
        assert!(sessions.find(&own, &handle).is_some());
        assert_eq!(sessions.find(&other, &handle), None);
        assert!(sessions.of(&other).is_empty());
        for forged in ["", "s_", &handle[..handle.len() - 1], &"s".repeat(1 << 20)] {
            assert_eq!(sessions.find(&own, forged), None);
        }
        sessions.forget(&handle);
        assert_eq!(sessions.find(&own, &handle), None);
    }

    #[test]
    fn the_latest_outputs_are_kept() {
        let sessions = Sessions::default();
        let caller = Caller::local();
        let handle = sessions.mint(&caller, id());
        let outputs = (0..100).map(|number| LongOutput {
            path: format!("/{number}"),
            bytes: number,
        });
        sessions.note_outputs(&handle, outputs);
        let kept = sessions.outputs(&handle);
        assert_eq!(kept.len(), MAX_OUTPUTS);
        assert_eq!(kept[MAX_OUTPUTS - 1].bytes, 99);
    }
}

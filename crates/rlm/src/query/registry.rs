//! Bridges that are open, for calls that come another way than the guest's channel.

use super::bridge::Gate;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use ukernel_sandbox::environment::{HostCalls, MAX_PENDING_CALLS, SessionToken};

/// The bridges of a runtime that are open. Clones share them.
///
/// They are found by the hash of their token: how long it takes to find one tells about the hash of
/// what was shown, and so nothing about the tokens there are. The gate compares the token itself.
#[derive(Clone, Default)]
pub(crate) struct OpenBridges(Arc<Mutex<HashMap<blake3::Hash, Open>>>);

/// What is open under one token.
struct Open {
    /// In the order in which they were opened.
    gates: Vec<Arc<Gate>>,
    room: Arc<Semaphore>,
}

/// A gate, and room for the calls of its session.
pub(crate) struct Found {
    pub(crate) gate: Arc<Gate>,
    /// Has a permit for each call that may be under way.
    pub(crate) room: Arc<Semaphore>,
}

impl OpenBridges {
    fn table(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, gate: &Arc<Gate>) {
        let mut table = self.table();
        let open = table.entry(key(&gate.token())).or_insert_with(|| Open {
            gates: Vec::new(),
            room: Arc::new(Semaphore::new(MAX_PENDING_CALLS)),
        });
        open.gates.push(Arc::clone(gate));
    }

    pub(super) fn leave(&self, gate: &Arc<Gate>) {
        if let Entry::Occupied(mut open) = self.table().entry(key(&gate.token())) {
            open.get_mut().gates.retain(|one| !Arc::ptr_eq(one, gate));
            if open.get().gates.is_empty() {
                open.remove();
            }
        }
    }

    /// Who answers calls that show this token; `None` if nobody does.
    ///
    /// A gate opened by `open_calls` is preferred; otherwise the oldest execution's, which is the one
    /// that runs, because executions of a session take turns.
    pub(crate) fn find(&self, token: &SessionToken) -> Option<Found> {
        let table = self.table();
        let open = table.get(&key(token))?;
        let mut gates = open.gates.iter().filter(|gate| gate.is_open());
        let held = gates.clone().find(|gate| gate.is_held());
        Some(Found {
            gate: Arc::clone(held.or_else(|| gates.next())?),
            room: Arc::clone(&open.room),
        })
    }
}

fn key(token: &SessionToken) -> blake3::Hash {
    blake3::hash(token)
}

//! Tasks: calls that run, whether or not somebody waits for them. Those that a client has an id of are
//! kept in files, so that they are known after the server has ended: finished, or lost and why.
//!
//! ```text
//!   begin ──> working ──> completed | failed | cancelled
//!               │  ^
//!               v  │ update
//!          input_required           after a restart: working, input_required ──> lost ──> working (resume)
//! ```

mod protocol;
mod record;
mod store;

pub(crate) use protocol::{detailed, protocol_task};
pub(crate) use record::{Ended, Kind, Record, Standing};

use crate::approval::Asked;
use crate::caller::Caller;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest description of what a task does now, in characters.
const MAX_STEP_CHARS: usize = 160;

/// A task that runs, or has ended.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) caller: Caller,
    /// Cancelling it ends what runs.
    pub(crate) cancel: CancellationToken,
    record: watch::Sender<Record>,
    /// Whether it has a file.
    is_kept: Mutex<bool>,
    store: Arc<Store>,
}

impl Task {
    pub(crate) fn record(&self) -> Record {
        self.record.borrow().clone()
    }

    /// Tells of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Record> {
        self.record.subscribe()
    }

    /// Says how far it is. What has ended stays as it is.
    pub(crate) fn progress(&self, percent: u8, step: &str) {
        let is_kept = self.kept();
        let is_news = self.record.send_if_modified(|record| {
            let is_news = record.standing == Standing::Working
                && (record.percent != percent || record.step != step);
            if is_news {
                record.percent = percent.max(record.percent).min(99);
                record.step = step.chars().take(MAX_STEP_CHARS).collect();
                record.touch();
            }
            is_news
        });
        if is_news && *is_kept {
            self.write(false);
        }
    }

    /// The session it runs in, as far as its caller may know.
    pub(crate) fn runs_in(&self, session: &str) {
        self.record
            .send_modify(|record| record.session = Some(session.to_owned()));
    }

    fn write(&self, durably: bool) {
        if let Err(error) = self.store.write(&self.record.borrow(), durably) {
            tracing::warn!("task {} could not be kept: {error}", self.id);
        }
    }

    /// Waits for a person's decision.
    pub(crate) fn ask(&self, asked: Asked) {
        self.set(Standing::InputRequired(asked));
    }

    /// Goes on after one.
    pub(crate) fn go_on(&self) {
        self.set(Standing::Working);
    }

    pub(crate) fn end(&self, ended: Ended) {
        self.set(Standing::Ended(ended));
    }

    fn set(&self, standing: Standing) {
        // Under one lock, so that the file never holds an older standing than the task has.
        let is_kept = self.kept();
        self.record.send_modify(|record| {
            if !record.has_ended() {
                record.standing = standing;
                record.touch();
            }
        });
        if *is_kept {
            self.write(true);
        }
    }

    fn kept(&self) -> MutexGuard<'_, bool> {
        self.is_kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it a file. It keeps it until its time is up.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let mut is_kept = self.kept();
        self.store.write(&self.record.borrow(), true)?;
        *is_kept = true;
        Ok(())
    }
}

/// The tasks of a server.
pub(crate) struct Tasks {
    store: Arc<Store>,
    life: Duration,
    max_running: usize,
    table: Mutex<HashMap<String, Arc<Task>>>,
}

impl Tasks {
    /// Those that are kept in `folder`. What still ran when they were written is lost.
    pub(crate) fn open(folder: &Path, life: Duration, max_running: usize) -> io::Result<Self> {
        let store = Arc::new(Store::open(folder)?);
        let mut table = HashMap::new();
        for mut record in store.read_all() {
            if record.is_over(life) {
                store.remove(&record.id);
                continue;
            }
            if record.runs_elsewhere() {
                continue;
            }
            if record.lose() {
                store.write(&record, true)?;
            }
            let task = Task {
                id: record.id.clone(),
                caller: record.caller.clone(),
                cancel: CancellationToken::new(),
                record: watch::Sender::new(record),
                is_kept: Mutex::new(true),
                store: Arc::clone(&store),
            };
            table.insert(task.id.clone(), Arc::new(task));
        }
        Ok(Self {
            store,
            life,
            max_running,
            table: Mutex::new(table),
        })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<Task>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task that begins; `None` if the caller has too many.
    pub(crate) fn begin(&self, caller: &Caller, kind: Kind) -> Option<Arc<Task>> {
        let mut table = self.table();
        self.sweep(&mut table);
        let running = table
            .values()
            .filter(|task| task.caller == *caller && !task.record.borrow().has_ended())
            .count();
        if running >= self.max_running {
            return None;
        }
        let id = format!("t_{}", uuid::Uuid::new_v4().simple());
        let record = Record::new(id.clone(), caller.clone(), kind, self.life);
        let task = Arc::new(Task {
            id: id.clone(),
            caller: caller.clone(),
            cancel: CancellationToken::new(),
            record: watch::Sender::new(record),
            is_kept: Mutex::new(false),
            store: Arc::clone(&self.store),
        });
        table.insert(id, Arc::clone(&task));
        Some(task)
    }

    /// A lost task begins again, as itself; `None` if it cannot.
    pub(crate) fn resume(&self, task: &Arc<Task>) -> Option<Arc<Task>> {
        let mut record = task.record();
        if !record.can_resume() {
            return None;
        }
        record.standing = Standing::Working;
        record.process = std::process::id();
        record.percent = 0;
        "asked again".clone_into(&mut record.step);
        record.touch();
        let again = Arc::new(Task {
            id: task.id.clone(),
            caller: task.caller.clone(),
            cancel: CancellationToken::new(),
            record: watch::Sender::new(record),
            is_kept: Mutex::new(true),
            store: Arc::clone(&self.store),
        });
        let mut table = self.table();
        // Somebody else may have been quicker.
        if !Arc::ptr_eq(table.get(&task.id)?, task) {
            return None;
        }
        table.insert(task.id.clone(), Arc::clone(&again));
        Some(again)
    }

    /// A task of this caller.
    pub(crate) fn find(&self, caller: &Caller, id: &str) -> Option<Arc<Task>> {
        let mut table = self.table();
        self.sweep(&mut table);
        let task = table.get(id)?;
        (task.caller == *caller).then(|| Arc::clone(task))
    }

    /// All kept tasks of a caller, oldest first.
    pub(crate) fn of(&self, caller: &Caller) -> Vec<Record> {
        let mut table = self.table();
        self.sweep(&mut table);
        let own = table
            .values()
            .filter(|task| task.caller == *caller && *task.kept());
        let mut own: Vec<Record> = own.map(|task| task.record()).collect();
        own.sort_by_key(|record| record.created_ms);
        own
    }

    /// A task whose result its caller has.
    pub(crate) fn forget(&self, task: &Task) {
        self.table().remove(&task.id);
    }

    /// Cancels everything that runs.
    pub(crate) fn stop(&self) {
        for task in self.table().values() {
            task.cancel.cancel();
        }
    }

    /// Removes what has had its time.
    fn sweep(&self, table: &mut HashMap<String, Arc<Task>>) {
        table.retain(|id, task| {
            let is_over = task.record.borrow().is_over(self.life);
            if is_over {
                task.cancel.cancel();
                self.store.remove(id);
            }
            !is_over
        });
    }
}

#[cfg(test)]
mod tests;

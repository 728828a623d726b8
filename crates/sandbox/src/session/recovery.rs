//! Sessions of an earlier run of the daemon: brought back, or reported lost with the reason.

use super::journal;
use super::record::{Record, now_ms};
use super::state::State;
use super::{LostSession, stored};
use crate::guests::Guests;
use crate::{Result, SandboxConfig, SandboxError};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ukernel_machine::file;

/// A session brought back.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) remaining: Duration,
    /// What of it is missing, for people.
    pub(super) note: String,
}

/// Reads the folder of a session.
pub(super) fn recover(
    folder: &Path,
    guests: &Guests,
    config: &Arc<SandboxConfig>,
) -> Result<Recovered, LostSession> {
    let id = folder.file_name().unwrap_or_default().to_string_lossy();
    let lost = |record: Option<&Record>, reason: String| LostSession {
        id: id.escape_debug().take(64).collect(),
        name: record.and_then(|record| record.name.clone()),
        owner: record.map(|record| record.owner),
        reason,
    };
    if !file::is_folder(folder) {
        return Err(lost(None, "it is not a folder".to_owned()));
    }
    let mut record = Record::load(folder).map_err(|error| lost(None, error.to_string()))?;
    let refuse = |record: &Record, reason: String| Err(lost(Some(record), reason));
    if record.id.to_string() != id {
        return refuse(&record, "its record is another session's".to_owned());
    }
    let vms = match guests.vms(record.guest, record.image.as_ref()) {
        Ok(vms) => vms,
        Err(error) => return refuse(&record, error.to_string()),
    };
    if record.template != vms.template_key() {
        return refuse(
            &record,
            "it was made with another guest or memory size, or on another host: it comes back with those".to_owned(),
        );
    }
    let remaining = record.expires_ms.saturating_sub(now_ms());
    // A clock that was set back does not make a session immortal.
    let longest = config.session_timeout_ms.saturating_add(
        config
            .session_extension_ms
            .saturating_mul(config.max_extensions.into()),
    );
    let remaining = Duration::from_millis(remaining.min(longest));
    if remaining.is_zero() {
        return refuse(&record, EXPIRED.to_owned());
    }
    if let Some(checkpoint) = &record.checkpoint
        && let Err(error) = vms.check(
            &checkpoint.state,
            &folder.join(&checkpoint.folder),
            "the checkpoint",
        )
    {
        return refuse(&record, error.to_string());
    }
    let past = journal::read(folder);
    let after = record.checkpoint.as_ref().map_or(0, |kept| kept.after);
    let note = note(after, &past);
    let unfinished = past.unfinished.as_ref().map_or(0, |(command, _)| *command);
    record.commands = record.commands.max(past.ended).max(unfinished);
    let recovered = || -> Result<State> {
        sweep(folder, &record)?;
        State::new(folder.to_owned(), record.clone(), vms, Arc::clone(config))
    };
    match recovered() {
        Ok(state) => Ok(Recovered {
            state,
            remaining,
            note,
        }),
        Err(error) => refuse(&record, error.to_string()),
    }
}

/// Why a session that ran out of time is gone.
pub(super) const EXPIRED: &str = "it expired while the daemon was not running";

/// What came back, and what did not.
fn note(after: u64, past: &journal::Past) -> String {
    let mut text = format!("brought back as it was after command {after}");
    if past.ended > after {
        text.push_str(&format!(
            "; commands {} to {} are not in it",
            after + 1,
            past.ended
        ));
    }
    if let Some((command, shown)) = &past.unfinished {
        let shown: String = shown.escape_debug().take(60).collect();
        text.push_str(&format!("; command {command} was running: {shown}"));
    }
    text
}

/// Removes what a crash left half made.
fn sweep(folder: &Path, record: &Record) -> Result<()> {
    let failed =
        |error: std::io::Error| SandboxError::io(format!("reading {}", folder.display()), error);
    let checkpoint = record.checkpoint.as_ref().map(|kept| kept.folder.as_str());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_stale = name.starts_with(stored::UNFINISHED)
            || name.starts_with(".tmp")
            || (name.starts_with("checkpoint-") && Some(name.as_str()) != checkpoint);
        if is_stale {
            stored::remove(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let past = journal::Past {
            ended: 4,
            unfinished: Some((5, "sleep(9)".to_owned())),
        };
        let note = note(2, &past);
        assert!(note.contains("after command 2"), "{note}");
        assert!(note.contains("commands 3 to 4"), "{note}");
        assert!(note.contains("command 5 was running: sleep(9)"), "{note}");
    }
}

//! Records on their way to a file, and to whoever watches.

use crate::read::MAX_FILE_BYTES;
use crate::record::{Event, Record, RunStarted};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Longest trajectory, in bytes: what can be read, with room for a last answer.
const MAX_BYTES: u64 = MAX_FILE_BYTES - (8 << 20);

/// Takes every record, with its texts, as it happens.
pub type Watcher = Arc<dyn Fn(&Record) + Send + Sync>;

/// Where a trajectory is written.
#[derive(Clone, Debug)]
pub struct TrajectoryFile {
    /// The file. One that is there is replaced.
    pub path: PathBuf,
    /// Whether it gets the texts.
    pub verbose: bool,
}

/// A trajectory that cannot be written. The run is stopped: what code did has to be shown.
#[derive(Debug, thiserror::Error)]
#[error("the trajectory {path:?} cannot be written: {cause}")]
pub struct WriteError {
    /// Which file, or the folder of all of them.
    pub path: PathBuf,
    /// What the system said. Shared, because every later check tells it again.
    #[source]
    pub cause: Arc<io::Error>,
}

impl WriteError {
    /// What the caller can do.
    pub const HINT: &str = "free some space, or name another file";
}

/// The trajectory of one run. Every record is one write of one line, so a process that is killed
/// leaves at most the last line torn.
pub struct Trajectory {
    began: Instant,
    /// Records are seen and written one after the other, in the order of their times.
    sink: Mutex<Sink>,
}

struct Sink {
    watcher: Option<Watcher>,
    file: Option<Open>,
    has_ended: bool,
}

struct Open {
    path: PathBuf,
    verbose: bool,
    file: File,
    bytes: u64,
    /// It may have no more, but for its last record.
    is_full: bool,
    /// The first thing that went wrong. From then on nothing is written.
    failed: Option<Arc<io::Error>>,
}

impl Trajectory {
    /// A trajectory that begins now.
    ///
    /// # Errors
    /// If the file cannot be made, or is somebody else's.
    pub fn begin(
        target: Option<&TrajectoryFile>,
        watcher: Option<Watcher>,
        started: RunStarted,
    ) -> Result<Self, WriteError> {
        let trajectory = Self {
            began: Instant::now(),
            sink: Mutex::new(Sink {
                watcher,
                file: target.map(open).transpose()?,
                has_ended: false,
            }),
        };
        trajectory.add(0, Event::RunStarted(started));
        trajectory.check()?;
        Ok(trajectory)
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Adds what happened to a node. Nothing, if the run has ended.
    pub fn add(&self, node: u32, event: Event) {
        let mut sink = self.sink();
        if sink.has_ended {
            return;
        }
        let record = Record {
            at_ms: (self.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            node,
            event,
        };
        sink.has_ended = matches!(record.event, Event::RunEnded { .. });
        if let Some(watcher) = &sink.watcher {
            watcher(&record);
        }
        if let Some(file) = &mut sink.file {
            file.write(record);
        }
    }

    /// Adds the last event. What is added later is not heard.
    ///
    /// # Errors
    /// If not all of it could be written.
    pub fn end(&self, event: Event) -> Result<(), WriteError> {
        self.add(0, event);
        self.check()
    }

    /// Whether all of it could be written. A run whose trajectory cannot be is stopped: what code
    /// did has to be shown.
    ///
    /// # Errors
    /// With the file and what the system said.
    pub fn check(&self) -> Result<(), WriteError> {
        let sink = self.sink();
        let Some(file) = &sink.file else {
            return Ok(());
        };
        match &file.failed {
            None => Ok(()),
            Some(cause) => Err(WriteError {
                path: file.path.clone(),
                cause: Arc::clone(cause),
            }),
        }
    }
}

fn open(target: &TrajectoryFile) -> Result<Open, WriteError> {
    let file = private_file(&target.path).map_err(|cause| failed(&target.path, cause))?;
    Ok(Open {
        path: target.path.clone(),
        verbose: target.verbose,
        file,
        bytes: 0,
        is_full: false,
        failed: None,
    })
}

/// A file that only its owner can read, also if it was there before with another mode: it may get what
/// a context says.
fn private_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::open(path, flags, mode)?;
    // A device keeps its mode.
    let status = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode).is_file() {
        rustix::fs::fchmod(&file, mode)?;
    }
    Ok(File::from(file))
}

fn failed(path: &Path, cause: io::Error) -> WriteError {
    WriteError {
        path: path.to_owned(),
        cause: Arc::new(cause),
    }
}

impl Open {
    fn write(&mut self, record: Record) {
        let is_last = matches!(record.event, Event::RunEnded { .. });
        if self.failed.is_some() && !(self.is_full && is_last) {
            return;
        }
        let record = if self.verbose {
            record
        } else {
            record.without_texts()
        };
        let written = self.append(&record, is_last);
        if self.failed.is_none() {
            self.failed = written.err().map(Arc::new);
        }
    }

    fn append(&mut self, record: &Record, is_last: bool) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let bytes = self.bytes + line.len() as u64;
        // What code does could fill the disk. How the run ended is said all the same.
        if bytes > MAX_BYTES && !is_last {
            self.is_full = true;
            return Err(io::Error::other(format!(
                "it has reached {MAX_BYTES} bytes"
            )));
        }
        self.bytes = bytes;
        self.file.write_all(&line)?;
        if is_last {
            self.file.sync_data()
        } else {
            Ok(())
        }
    }
}

impl TrajectoryFile {
    /// A new trajectory's file in a folder of them. The folder is made if it is missing (for its owner
    /// only), and trajectories that nobody has written to for `keep_days` are removed from it.
    ///
    /// # Errors
    /// If the folder cannot be made or read. What cannot be removed stays.
    pub fn in_folder(
        folder: &Path,
        run: &str,
        verbose: bool,
        keep_days: u32,
    ) -> Result<Self, WriteError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.and_then(|()| sweep(folder, keep_days))
            .map_err(|cause| failed(folder, cause))?;
        Ok(Self {
            path: folder.join(format!("{run}.jsonl")),
            verbose,
        })
    }
}

fn sweep(folder: &Path, days: u32) -> io::Result<()> {
    let life = Duration::from_secs(u64::from(days) * 24 * 3600);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_ours = entry.path().extension().is_some_and(|end| end == "jsonl");
        let written = entry.metadata().and_then(|file| file.modified());
        let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if is_ours && age.is_ok_and(|age| age > life) {
            // A file that cannot be removed is tried again next time.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcome, VERSION};
    use std::os::unix::fs::PermissionsExt;
    use ukernel_budget::{Budget, Spent};

    fn started() -> RunStarted {
        RunStarted {
            version: VERSION,
            ukernel: "test".to_owned(),
            run: "1".to_owned(),
            started_unix_ms: 0,
            verbose: false,
            model: "replay:x".to_owned(),
            sub_model: "replay:x".to_owned(),
            origin: "nowhere".to_owned(),
            traceparent: None,
            budget: Budget::default(),
        }
    }

    fn command() -> Event {
        Event::CommandStarted {
            step: 1,
            kind: "python".to_owned(),
            bytes: 6,
            source: Some("secret".to_owned()),
        }
    }

    #[test]
    fn texts_are_written_only_if_asked_for_and_watched_always() {
        let folder = tempfile::tempdir().expect("a folder");
        for verbose in [false, true] {
            let path = folder.path().join("t.jsonl");
            let target = TrajectoryFile {
                path: path.clone(),
                verbose,
            };
            let seen = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&seen);
            let watcher: Watcher = Arc::new(move |_| *counted.lock().expect("a lock") += 1);
            let trajectory =
                Trajectory::begin(Some(&target), Some(watcher), started()).expect("a file");
            trajectory.add(0, command());
            let text = fs::read_to_string(&path).expect("written at once");
            assert_eq!(text.lines().count(), 2);
            assert_eq!(text.contains("secret"), verbose);
            assert_eq!(*seen.lock().expect("a lock"), 2);
            let mode = fs::metadata(&path).expect("a file").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_folder_and_its_files_are_for_their_owner_only() {
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("a/traces");
        let target = TrajectoryFile::in_folder(&folder, "run", true, 7).expect("a folder");
        assert_eq!(
            (mode(&folder), mode(&root.path().join("a"))),
            (0o700, 0o700)
        );
        // One that others could read before they knew what would be in it.
        fs::write(&target.path, "old").expect("written");
        fs::set_permissions(&target.path, fs::Permissions::from_mode(0o644)).expect("set");
        Trajectory::begin(Some(&target), None, started()).expect("a file");
        assert_eq!(mode(&target.path), 0o600);
        assert!(
            !fs::read_to_string(&target.path)
                .expect("read")
                .contains("old")
        );
    }

    #[test]
    fn a_full_disk_is_an_error_that_lasts() {
        let target = TrajectoryFile {
            path: PathBuf::from("/dev/full"),
            verbose: true,
        };
        let error = Trajectory::begin(Some(&target), None, started()).err();
        assert!(error.expect("an error").to_string().contains("/dev/full"));
    }

    #[test]
    fn a_trajectory_that_grows_without_end_is_stopped_and_says_how_it_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = TrajectoryFile {
            path: folder.path().join("t.jsonl"),
            verbose: true,
        };
        let trajectory = Trajectory::begin(Some(&target), None, started()).expect("a file");
        let large = "x".repeat(16 << 20);
        for _ in 0..20 {
            trajectory.add(
                0,
                Event::Warned {
                    message: large.clone(),
                },
            );
        }
        assert!(trajectory.check().is_err());
        let ended = Event::RunEnded {
            outcome: Outcome::Failed {
                error: "full".to_owned(),
            },
            spent: Spent::default(),
        };
        assert!(trajectory.end(ended).is_err());
        let read = crate::read::read(&target.path).expect("it can be read");
        assert!(matches!(
            read.records.last().map(|record| &record.event),
            Some(Event::RunEnded { .. })
        ));
    }

    #[test]
    fn old_trajectories_go() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, days) in [("old.jsonl", 9), ("new.jsonl", 1), ("other.txt", 9)] {
            let file = File::create(folder.path().join(name)).expect("a file");
            let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            file.set_modified(at).expect("a time");
        }
        TrajectoryFile::in_folder(folder.path(), "run", false, 7).expect("swept");
        let left = |name: &str| folder.path().join(name).exists();
        assert!(!left("old.jsonl") && left("new.jsonl") && left("other.txt"));
    }
}

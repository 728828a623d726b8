//! Running the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A test: its name and what it does.
pub type Behaviour = (&'static str, fn());

/// What a command came to.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails with everything that was said unless the exit code is this one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.text(),
            self.stderr
        );
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Where these tests keep what is built.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("ukernel-home")
}

/// The command, not run yet.
pub fn ukernel(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukernel"));
    command
        .args(words)
        .env("UKERNEL_HOME", home)
        .env_remove("UKERNEL_BACKEND")
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn run(words: &[&str]) -> Ran {
    ukernel(&home(), words)
        .output()
        .expect("the command starts")
        .into()
}

/// A Python file, and the folder that goes with it.
pub struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    pub fn new(source: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("script.py"), source).expect("a file");
        Self { folder }
    }

    pub fn path(&self) -> String {
        self.folder
            .path()
            .join("script.py")
            .to_string_lossy()
            .into_owned()
    }

    /// `ukernel run` of it, with more words before or after.
    pub fn run_with(&self, options: &[&str], args: &[&str]) -> Ran {
        let path = self.path();
        let mut words = vec!["run", &path];
        words.extend(options);
        if !args.is_empty() {
            words.push("--");
            words.extend(args);
        }
        run(&words)
    }
}

/// `ukernel run` of this source.
pub fn run_source(source: impl AsRef<[u8]>) -> Ran {
    Script::new(source).run_with(&[], &[])
}

/// Builds what is missing, with progress shown. Tests that break the store rely on one entry
/// of each kind, so a store that also holds those of older sources is made anew.
pub fn build_once() {
    build();
    let store = home().join("store");
    let entries = |kind: &str| {
        let found = std::fs::read_dir(store.join(kind)).into_iter().flatten();
        found
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count()
    };
    if ["kernel", "component", "image"]
        .iter()
        .any(|kind| entries(kind) > 1)
    {
        std::fs::remove_dir_all(&store).expect("the store is ours");
        build();
    }
}

fn build() {
    let script = Script::new("print('ready')");
    let status = ukernel(&home(), &["run", &script.path()])
        .stdout(Stdio::null())
        .status();
    assert!(
        status.expect("the command starts").success(),
        "kernel and image cannot be built"
    );
}

/// VM processes of a command, found by their parent.
pub fn children_of(process: u32) -> Vec<u32> {
    let tasks = format!("/proc/{process}/task");
    std::fs::read_dir(tasks)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| {
            children
                .split_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

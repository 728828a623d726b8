//! What the behaviours stand on: artifacts, a backend, and short ways to use a guest.

use libtest_mimic::{Arguments, Failed};
use std::env::{split_paths, var_os};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use ukernel_abi::message::{Exec, Limits, Mode, Outcome, Stream};
use ukernel_image::{Images, Progress};
use ukernel_machine::firecracker::Firecracker;
pub use ukernel_machine::guest::BlockingGuest as Guest;
use ukernel_machine::guest::follow::{Reach, out_of_reach};
use ukernel_machine::guest::{Event, Until};
use ukernel_machine::kvm::Kvm;
use ukernel_machine::{Backend, BackendKind, Machine, MachineError, MachineSpec, Template};
use ukernel_vmm::LauncherOptions;

/// Memory of the machines, in MiB.
const MEMORY_MIB: u32 = 256;

/// How long anything here may take on a loaded host.
pub const LONG: Duration = Duration::from_secs(60);

/// A program that never ends.
pub const ENDLESS: &str = "while True: pass";

/// What machines boot.
#[derive(Debug)]
pub struct Artifacts {
    kernel: PathBuf,
    image: PathBuf,
}

impl Artifacts {
    /// The files named in the environment, else built, once, into the target folder.
    pub fn find(arguments: &Arguments) -> Result<Arc<Self>, String> {
        if arguments.list {
            // Nothing will be booted.
            let none = PathBuf::new();
            let (kernel, image) = (none.clone(), none);
            return Ok(Arc::new(Self { kernel, image }));
        }
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let images = Images::new(project.join("target/ukernel-test-store"), project);
        let kernel = match named("UKERNEL_TEST_KERNEL")? {
            Some(path) => path,
            None => {
                images
                    .kernel(&Steps)
                    .map_err(|error| error.to_string())?
                    .path
            }
        };
        let image = match named("UKERNEL_TEST_IMAGE")? {
            Some(path) => path,
            None => {
                images
                    .image(&Steps)
                    .map_err(|error| error.to_string())?
                    .path
            }
        };
        Ok(Arc::new(Self { kernel, image }))
    }
}

/// The file an environment variable names.
fn named(variable: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = var_os(variable).map(PathBuf::from) else {
        return Ok(None);
    };
    if !path.is_file() {
        return Err(format!("{variable} is {}: no such file", path.display()));
    }
    Ok(Some(path))
}

/// Says on standard error what is being built.
struct Steps;

impl Progress for Steps {
    fn step(&self, text: &str) {
        eprintln!("{text}");
    }
}

/// Why this host cannot run a backend, if it cannot.
pub fn lack_of(kind: BackendKind) -> Option<String> {
    if let Err(error) = ukernel_vmm::open_kvm() {
        return Some(error.to_string());
    }
    if kind == BackendKind::Firecracker && firecracker().is_none() {
        return Some("no firecracker on PATH or in UKERNEL_FIRECRACKER".to_owned());
    }
    None
}

fn firecracker() -> Option<PathBuf> {
    if let Some(path) = var_os("UKERNEL_FIRECRACKER") {
        return Some(path.into());
    }
    split_paths(&var_os("PATH")?)
        .map(|folder| folder.join("firecracker"))
        .find(|path| path.is_file())
}

/// A backend of its own for every test.
pub struct Ground {
    pub backend: Box<dyn Backend>,
    pub spec: MachineSpec,
    run_dir: TempDir,
}

impl Ground {
    pub fn new(kind: BackendKind, artifacts: Arc<Artifacts>) -> Result<Self, Failed> {
        let run_dir = tempfile::tempdir()?;
        let backend: Box<dyn Backend> = match kind {
            BackendKind::Kvm => Box::new(Kvm::new(LauncherOptions::new(
                env!("CARGO_BIN_EXE_ukernel-machine-vm"),
                [],
            ))?),
            BackendKind::Qemu => return Err("the µkernel does not run there".into()),
            BackendKind::Firecracker => Box::new(Firecracker::new(
                firecracker().ok_or("no firecracker")?,
                run_dir.path().to_owned(),
            )?),
        };
        let spec = MachineSpec {
            kernel: artifacts.kernel.clone(),
            image: artifacts.image.clone(),
            initrd: None,
            memory_mib: MEMORY_MIB,
            limits: Limits::NONE,
        };
        Ok(Self {
            backend,
            spec,
            run_dir,
        })
    }

    /// Fails if the backend left something behind.
    pub fn is_clean(&self) -> Result<(), Failed> {
        match std::fs::read_dir(self.run_dir.path())?.next() {
            None => Ok(()),
            Some(entry) => Err(format!("left behind: {}", entry?.path().display()).into()),
        }
    }

    /// A machine, just started.
    pub fn machine(&self) -> Box<dyn Machine> {
        self.backend.boot(&self.spec).expect("a machine boots")
    }

    /// A machine and its guest, greeted.
    pub fn boot(&self) -> (Box<dyn Machine>, Guest) {
        let mut machine = self.machine();
        let guest = greet(machine.as_mut());
        (machine, guest)
    }

    /// A template of a machine that has run `code`.
    pub fn template(&self, code: &str) -> Box<dyn Template> {
        let (machine, mut guest) = self.boot();
        assert_eq!(run(&mut guest, code).outcome, DONE);
        drop(guest);
        machine.into_template().expect("a template")
    }
}

/// An orderly end without a value.
pub const DONE: Outcome = Outcome::Exited {
    code: 0,
    value: None,
};

/// Connects to the guest and greets it.
pub fn greet(machine: &mut dyn Machine) -> Guest {
    let channel = machine.connect().expect("a channel");
    Guest::greet(channel).expect("a greeting")
}

/// A fork and its guest, greeted.
pub fn fork(template: &dyn Template) -> (Box<dyn Machine>, Guest) {
    let mut machine = template.fork(Limits::NONE).expect("a fork");
    let guest = greet(machine.as_mut());
    (machine, guest)
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub outcome: Outcome,
    /// Output in the order it came.
    pub pieces: Vec<(Stream, String)>,
}

impl Ran {
    /// All output to one stream.
    pub fn text(&self, wanted: Stream) -> String {
        let pieces = self.pieces.iter().filter(|(stream, _)| *stream == wanted);
        pieces.map(|(_, text)| text.as_str()).collect()
    }
}

/// Runs a program to its end.
pub fn run(guest: &mut Guest, code: &str) -> Ran {
    try_run(guest, code, LONG, Mode::Program).expect("the program ends")
}

/// Evaluates an expression.
pub fn value(guest: &mut Guest, expression: &str) -> String {
    let ran = try_run(guest, expression, LONG, Mode::Prompt).expect("the program ends");
    match ran.outcome {
        Outcome::Exited {
            code: 0,
            value: Some(value),
        } => value,
        _ => panic!("{expression}: {ran:?}"),
    }
}

/// Runs a program for at most `limit`.
pub fn try_run(
    guest: &mut Guest,
    code: &str,
    limit: Duration,
    mode: Mode,
) -> Result<Ran, MachineError> {
    let until = Until {
        deadline: Some(Instant::now() + limit),
        ..Until::default()
    };
    run_until(guest, code, mode, &until, &out_of_reach())
}

/// Runs a program until it ends or is stopped.
pub fn run_until(
    guest: &mut Guest,
    code: &str,
    mode: Mode,
    until: &Until,
    reach: &Reach<'_>,
) -> Result<Ran, MachineError> {
    let mut pieces = Vec::new();
    let exec = Exec {
        mode,
        ..Exec::program("<test>", code)
    };
    let ended = guest.exec(exec, until, reach, &mut |event, _| {
        if let Event::Output(stream, bytes) = event {
            pieces.push((stream, String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ok(())
    })?;
    Ok(Ran {
        outcome: ended.outcome,
        pieces,
    })
}

/// Starts a program that does not end, and leaves it running.
pub fn run_endlessly(guest: &mut Guest) {
    let result = try_run(guest, ENDLESS, Duration::from_millis(200), Mode::Program);
    assert!(
        matches!(result, Err(MachineError::TimedOut(_))),
        "{result:?}"
    );
}

/// Whether a process is gone, not even a zombie.
pub fn is_gone(process: u32) -> bool {
    !Path::new(&format!("/proc/{process}")).exists()
}

/// Interrupts what runs after a moment; no time at all: before it has begun.
pub fn interrupt_after(moment: Duration) -> Until {
    let interrupt = CancellationToken::new();
    if moment.is_zero() {
        interrupt.cancel();
    } else {
        let interrupt = interrupt.clone();
        std::thread::spawn(move || {
            std::thread::sleep(moment);
            interrupt.cancel();
        });
    }
    Until {
        interrupt,
        grace: LONG,
        ..Until::default()
    }
}

/// Reaches a program that computes in this machine.
pub fn reach(machine: Box<dyn Machine>) -> (Reach<'static>, Arc<Mutex<Box<dyn Machine>>>) {
    let machine = Arc::new(Mutex::new(machine));
    let reached = Arc::clone(&machine);
    let reach = ukernel_machine::guest::follow::reach(move || {
        let mut machine = reached.lock().unwrap_or_else(PoisonError::into_inner);
        machine.interrupt()
    });
    (reach, machine)
}

/// Runs what does not end, and interrupts it.
pub fn interrupt(
    guest: &mut Guest,
    reach: &Reach<'_>,
    source: &str,
    mode: Mode,
) -> Result<Outcome, MachineError> {
    let until = interrupt_after(Duration::from_millis(500));
    Ok(run_until(guest, source, mode, &until, reach)?.outcome)
}

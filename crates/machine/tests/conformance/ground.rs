//! What the behaviours stand on: artifacts, a backend, and short ways to use a guest.

use libtest_mimic::Failed;
use std::env::{split_paths, var_os};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
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
use ukernel_machine::qemu::{Qemu, best_accelerator};
use ukernel_machine::{Backend, BackendKind, Machine, MachineError, MachineSpec, Template};
use ukernel_vmm::LauncherOptions;

/// Memory of the machines, in MiB.
const MEMORY_MIB: u32 = 256;
const LINUX_MEMORY_MIB: u32 = 1024;

/// How long anything here may take on a loaded host.
pub const LONG: Duration = Duration::from_secs(60);

/// A program that never ends.
pub const ENDLESS: &str = "while True: pass";

/// What runs inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    Ukernel,
    Linux,
}

/// A guest on a backend.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub inside: Inside,
    pub kind: BackendKind,
}

impl Column {
    pub const ALL: [Self; 4] = [
        Self {
            inside: Inside::Ukernel,
            kind: BackendKind::Kvm,
        },
        Self {
            inside: Inside::Ukernel,
            kind: BackendKind::Firecracker,
        },
        Self {
            inside: Inside::Ukernel,
            kind: BackendKind::Qemu,
        },
        Self {
            inside: Inside::Linux,
            kind: BackendKind::Qemu,
        },
    ];

    /// How its tests are called.
    pub fn name(self) -> String {
        match self.inside {
            Inside::Ukernel => self.kind.name().to_owned(),
            Inside::Linux => format!("linux_{}", self.kind.name()),
        }
    }

    /// What people call it.
    pub fn title(self) -> String {
        let inside = match self.inside {
            Inside::Ukernel => "µkernel",
            Inside::Linux => "Linux",
        };
        format!("{inside} on {}", self.kind.name())
    }

    /// Why this host cannot run it, if it cannot.
    pub fn lack(self) -> Option<String> {
        match self.inside {
            Inside::Ukernel => lack_of(self.kind),
            Inside::Linux => ["qemu-system-x86_64", "mmdebstrap", "tar2sqfs", "dpkg-deb"]
                .into_iter()
                .find(|program| on_path(program).is_none())
                .map(|program| format!("no {program} on PATH")),
        }
    }
}

/// What machines boot.
fn artifacts(inside: Inside) -> Result<MachineSpec, String> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let images = Images::new(project.join("target/ukernel-test-store"), project);
    let failed = |error: ukernel_image::ImageError| error.to_string();
    if inside == Inside::Linux {
        let image = images.linux(None, &Steps).map_err(failed)?;
        return Ok(MachineSpec {
            kernel: image.kernel,
            image: image.root,
            initrd: Some(image.initrd),
            memory_mib: LINUX_MEMORY_MIB,
            limits: Limits::NONE,
        });
    }
    let kernel = match named("UKERNEL_TEST_KERNEL")? {
        Some(path) => path,
        None => images.kernel(&Steps).map_err(failed)?.path,
    };
    let image = match named("UKERNEL_TEST_IMAGE")? {
        Some(path) => path,
        None => images.image(&Steps).map_err(failed)?.path,
    };
    Ok(MachineSpec {
        kernel,
        image,
        initrd: None,
        memory_mib: MEMORY_MIB,
        limits: Limits::NONE,
    })
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

/// Why this host cannot run the µkernel on a backend, if it cannot.
fn lack_of(kind: BackendKind) -> Option<String> {
    if kind == BackendKind::Qemu {
        let missing = on_path("qemu-system-x86_64").is_none();
        return missing.then(|| "no qemu-system-x86_64 on PATH".to_owned());
    }
    if let Err(error) = ukernel_vmm::open_kvm() {
        return Some(error.to_string());
    }
    if kind == BackendKind::Firecracker && firecracker().is_none() {
        return Some("no firecracker on PATH or in UKERNEL_FIRECRACKER".to_owned());
    }
    None
}

fn firecracker() -> Option<PathBuf> {
    let named = var_os("UKERNEL_FIRECRACKER").map(PathBuf::from);
    named.or_else(|| on_path("firecracker"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    split_paths(&var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A Linux takes seconds to boot, so that it is booted once and forked.
static LINUX: LazyLock<Result<Box<dyn Template>, String>> = LazyLock::new(|| {
    let backend = qemu().map_err(|error| error.to_string())?;
    let spec = artifacts(Inside::Linux)?;
    let mut machine = backend.boot(&spec).map_err(|error| error.to_string())?;
    let channel = machine.connect().map_err(|error| error.to_string())?;
    let mut guest = match Guest::greet(channel) {
        Ok(guest) => guest,
        Err(error) => {
            let ending = machine.kill().map_err(|error| error.to_string())?;
            let serial = String::from_utf8_lossy(&ending.serial_tail).into_owned();
            return Err(format!("{error}: {serial}"));
        }
    };
    let imports = "import json, random, secrets, uuid";
    assert_eq!(run(&mut guest, imports).outcome, DONE);
    drop(guest);
    machine.into_template().map_err(|error| error.to_string())
});

fn qemu() -> ukernel_machine::Result<Qemu> {
    let program = on_path("qemu-system-x86_64").unwrap_or_default();
    Qemu::new(program, best_accelerator())
}

/// A backend of its own for every test.
pub struct Ground {
    pub backend: Box<dyn Backend>,
    pub spec: MachineSpec,
    pub inside: Inside,
    run_dir: TempDir,
    /// Emulated processors on two of the host's make each other late: one test at a time.
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Ground {
    pub fn new(column: Column) -> Result<Self, Failed> {
        static TURN: Mutex<()> = Mutex::new(());
        let Column { inside, kind } = column;
        let turn = (kind == BackendKind::Qemu)
            .then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let run_dir = tempfile::tempdir()?;
        let backend: Box<dyn Backend> = match kind {
            BackendKind::Kvm => Box::new(Kvm::new(LauncherOptions::new(
                env!("CARGO_BIN_EXE_ukernel-machine-vm"),
                [],
            ))?),
            BackendKind::Qemu => Box::new(qemu()?),
            BackendKind::Firecracker => Box::new(Firecracker::new(
                firecracker().ok_or("no firecracker")?,
                run_dir.path().to_owned(),
            )?),
        };
        Ok(Self {
            backend,
            spec: artifacts(inside)?,
            inside,
            run_dir,
            _turn: turn,
        })
    }

    /// Whether a program that computes can be interrupted.
    pub fn interrupts_what_computes(&self) -> bool {
        self.inside == Inside::Linux || self.backend.kind() == BackendKind::Kvm
    }

    /// Fails if the backend left something behind.
    pub fn is_clean(&self) -> Result<(), Failed> {
        match std::fs::read_dir(self.run_dir.path())?.next() {
            None => Ok(()),
            Some(entry) => Err(format!("left behind: {}", entry?.path().display()).into()),
        }
    }

    /// A machine that nobody has greeted.
    pub fn machine(&self) -> Box<dyn Machine> {
        self.machine_with(self.spec.memory_mib, Limits::NONE)
    }

    /// The same, with so much memory in MiB, and limits. A Linux has its own memory.
    pub fn machine_with(&self, memory_mib: u32, limits: Limits) -> Box<dyn Machine> {
        match self.inside {
            Inside::Linux => linux().fork(limits).expect("a fork"),
            Inside::Ukernel => {
                let spec = MachineSpec {
                    memory_mib,
                    limits,
                    ..self.spec.clone()
                };
                self.backend.boot(&spec).expect("a machine boots")
            }
        }
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

/// The template of Linux guests.
pub fn linux() -> &'static dyn Template {
    LINUX.as_deref().expect("a template of Linux")
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

/// A program in the namespace that lasts. In Linux a plain program is a process of its own, so that it is run as at the
/// prompt, with an end that has no value.
pub fn program(guest: &Guest, code: &str) -> Exec {
    if guest.name().starts_with("ukernel-agent/") {
        return Exec {
            mode: Mode::Prompt,
            ..Exec::program("<test>", format!("{code}\npass"))
        };
    }
    Exec::program("<test>", code)
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
    let exec = match mode {
        Mode::Program => program(guest, code),
        _ => Exec {
            mode,
            ..Exec::program("<test>", code)
        },
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

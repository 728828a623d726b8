//! A folder, a manager and a runtime of its own for every test.

use libtest_mimic::Failed;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ukernel_image::Progress;
use ukernel_machine::BackendKind;
use ukernel_machine::probe::ProbeConfig;
use ukernel_sandbox::backends::BackendType;
use ukernel_sandbox::engine::{Engine, EngineOptions};
use ukernel_sandbox::session::{Create, Session, SessionManager};
use ukernel_sandbox::vm::VmManager;
use ukernel_sandbox::{
    ExecutionContext, ExecutionEnvironment, ExecutionResult, ExecutionStatus, SandboxConfig,
    SandboxError,
};
use ukernel_vmm::LauncherOptions;

/// The user tests are.
pub const OWNER: u32 = 1000;

struct Steps;

impl Progress for Steps {
    fn step(&self, text: &str) {
        eprintln!("{text}");
    }
}

static ENGINE: OnceLock<Engine> = OnceLock::new();

/// Opens the backend and makes the template, or says why this host cannot.
pub fn prepare() -> Result<(), String> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = project.join("target/ukernel-test-store");
    let wanted = std::env::var("UKERNEL_TEST_BACKEND").unwrap_or_else(|_| "kvm".to_owned());
    let preference = BackendType::DEFAULT_ORDER
        .into_iter()
        .filter(|backend| backend.name() == wanted)
        .collect();
    let options = EngineOptions {
        probe: ProbeConfig {
            path: std::env::var_os("PATH").unwrap_or_default(),
            firecracker: std::env::var_os("UKERNEL_FIRECRACKER").map(PathBuf::from),
            state_dir: home.clone(),
        },
        home,
        source: project,
        vm_process: LauncherOptions::new(env!("CARGO_BIN_EXE_ukernel-sandbox-vm"), []),
        preference,
    };
    let engine = Engine::open(&options).map_err(|error| error.to_string())?;
    if let Err(error) = engine.template(config().machine_mib(), &Steps) {
        panic!("the template cannot be made: {error}");
    }
    ENGINE.get_or_init(|| engine);
    Ok(())
}

/// Small sizes, so that limits are met soon.
pub fn config() -> SandboxConfig {
    SandboxConfig {
        pool_min_size: 1,
        pool_target_size: 2,
        allocation_timeout_ms: 10_000,
        memory_mib: 256,
        initial_overlay_mb: 8,
        max_overlay_mb: 64,
        max_inline_output_bytes: 4096,
        ..SandboxConfig::default()
    }
}

pub struct Ground {
    folder: TempDir,
    runtime: Runtime,
}

impl Ground {
    pub fn new() -> Result<Self, Failed> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?,
        })
    }

    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn sessions_folder(&self) -> PathBuf {
        self.folder.path().join("sessions")
    }

    /// How many folders of sessions there are, beside the receipts of those that have ended.
    pub fn session_folders(&self) -> usize {
        std::fs::read_dir(self.sessions_folder())
            .expect("a folder")
            .flatten()
            .filter(|entry| entry.file_name() != "receipts")
            .count()
    }

    pub fn manager(&self) -> SessionManager {
        self.manager_with(config())
    }

    pub fn manager_with(&self, config: SandboxConfig) -> SessionManager {
        self.manager_at(self.sessions_folder(), config)
    }

    pub fn manager_at(&self, root: PathBuf, config: SandboxConfig) -> SessionManager {
        let engine = ENGINE.get().expect("prepared");
        let template = engine
            .template(config.machine_mib(), &Steps)
            .expect("a template");
        let _runtime = self.runtime.enter();
        let vms = VmManager::start(template, &config).expect("a pool");
        SessionManager::open(root, vms, config).expect("a manager")
    }
}

/// Whether this is the embedded VMM, which alone can do some things.
pub fn is_kvm() -> bool {
    ENGINE
        .get()
        .is_some_and(|engine| engine.backend().kind() == BackendKind::Kvm)
}

pub async fn create(manager: &SessionManager, name: &str) -> Session {
    manager
        .create(Create {
            name: Some(name.parse().expect("a name")),
            owner: OWNER,
            ..Create::default()
        })
        .await
        .expect("a session")
}

pub async fn try_run(session: &Session, code: &str) -> Result<ExecutionResult, SandboxError> {
    session
        .execute_code(code, &ExecutionContext::default())
        .await
}

/// Runs code that must end well.
pub async fn run(session: &Session, code: &str) -> ExecutionResult {
    let result = try_run(session, code).await.expect("it runs");
    assert!(result.is_success(), "{code}: {result:?}");
    result
}

/// The value of an expression.
pub async fn value(session: &Session, expression: &str) -> String {
    let result = run(session, expression).await;
    result.value.unwrap_or_else(|| "None".to_owned())
}

/// Runs code with a time limit.
pub async fn run_for(
    session: &Session,
    code: &str,
    limit: Duration,
) -> Result<ExecutionResult, SandboxError> {
    let context = ExecutionContext {
        timeout: Some(limit),
        ..ExecutionContext::default()
    };
    session.execute_code(code, &context).await
}

/// Starts code that computes without end, and returns when it runs.
pub async fn start_endless(
    session: &Session,
) -> tokio::task::JoinHandle<Result<ExecutionResult, SandboxError>> {
    start(session, "print('go')\nwhile True: pass").await
}

/// Starts code, and returns when it prints something.
pub async fn start(
    session: &Session,
    code: &'static str,
) -> tokio::task::JoinHandle<Result<ExecutionResult, SandboxError>> {
    let (started, mut has_started) = tokio::sync::mpsc::channel(1);
    let context = ExecutionContext {
        output: Some(started),
        ..ExecutionContext::default()
    };
    let runner = session.clone();
    let running = tokio::spawn(async move { runner.execute_code(code, &context).await });
    tokio::time::timeout(Duration::from_secs(30), has_started.recv())
        .await
        .expect("it starts");
    running
}

/// Ends a process with SIGKILL, or stops it with SIGSTOP.
pub fn signal(process: u32, signal: rustix::process::Signal) {
    let process = i32::try_from(process)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a process");
    rustix::process::kill_process(process, signal).expect("a signal");
}

/// Ends a process and waits until it has ended.
pub async fn kill(process: u32) {
    signal(process, rustix::process::Signal::KILL);
    eventually("it has ended", || !is_alive(process)).await;
}

pub fn is_alive(process: u32) -> bool {
    let folder = format!("/proc/{process}");
    let threads = std::fs::read_dir(format!("{folder}/task"));
    // A zombie has ended, once its other threads have.
    std::fs::read_to_string(format!("{folder}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") || threads.is_ok_and(|all| all.count() > 1))
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

pub fn exited(result: &ExecutionResult) -> Option<i32> {
    match result.status {
        ExecutionStatus::Exited { code } => Some(code),
        _ => None,
    }
}

//! Figures of sessions: allocation, execution, snapshots, forks, many at once, leaks.

use super::figure::Figure;
use super::python::PythonProcess;
use super::{Setting, ms_since};
use crate::failure::Failure;
use std::future::Future;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use ukernel_machine::guest::BlockingGuest as Guest;
use ukernel_sandbox::session::{Create, Session, SessionManager};
use ukernel_sandbox::vm::VmManager;
use ukernel_sandbox::{ExecutionContext, ExecutionEnvironment, SandboxConfig, SandboxError};

/// Sessions alive at once, and how often each is used.
const SESSIONS: usize = 200;
const EXECUTIONS_PER_SECOND: u32 = 2;
const LOAD: Duration = Duration::from_secs(60);

/// Sessions made and destroyed, one after the other.
const CYCLES: usize = 1000;

/// Time between measurements, in which checkpoints are written and the pool is filled: models
/// think for longer.
const REST: Duration = Duration::from_millis(40);

/// A pool that has started no blank process for so long has all it wants.
const FILLED: Duration = Duration::from_millis(500);

/// A session manager in this process, on a folder of its own.
struct Bench {
    manager: SessionManager,
    /// Blank processes there are when the pool has nothing to do.
    blank: usize,
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn start(setting: &Setting<'_>) -> Result<Self, Failure> {
        let config = SandboxConfig {
            allocation_timeout_ms: 60_000,
            ..SandboxConfig::default()
        };
        let template = setting.engine.template(config.machine_mib())?;
        let host = |error: std::io::Error| Failure::host(error, "free some space");
        let folder = setting.engine.scratch_folder().map_err(host)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(host)?;
        let entered = runtime.enter();
        let vms = VmManager::start(template, &config)?;
        drop(entered);
        let manager = SessionManager::open(folder.path().join("sessions"), vms, config)?;
        let blank = runtime.block_on(full(&manager));
        Ok(Self {
            manager,
            blank,
            folder,
            runtime,
        })
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Waits until the pool is full and nothing is to be cleaned up.
    async fn rest(&self) {
        loop {
            tokio::time::sleep(REST).await;
            let metrics = self.manager.pool_metrics();
            if metrics.ready >= metrics.target
                && metrics.blank >= self.blank
                && metrics.cleanup_queue == 0
            {
                return;
            }
        }
    }

    fn stop(self) {
        self.run(self.manager.stop());
    }
}

/// Waits until the pool has started all that it keeps ready. The number of blank processes then.
async fn full(manager: &SessionManager) -> usize {
    let mut blank = 0;
    loop {
        tokio::time::sleep(FILLED).await;
        let metrics = manager.pool_metrics();
        if metrics.ready >= metrics.target && metrics.blank > 0 && metrics.blank == blank {
            return blank;
        }
        blank = metrics.blank;
    }
}

async fn create(manager: &SessionManager) -> Result<Session, SandboxError> {
    manager
        .create(Create {
            owner: 0,
            ..Create::default()
        })
        .await
}

/// Runs code that must print this.
async fn expect(session: &Session, code: &str, output: &str) -> Result<(), SandboxError> {
    let result = session
        .execute_code(code, &ExecutionContext::default())
        .await?;
    if result.output.stdout == output {
        Ok(())
    } else {
        Err(SandboxError::Config(format!("{code} gave {result:?}")))
    }
}

/// All of them.
pub fn sandbox(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let mut figures = vec![cold(setting)?];
    let bench = Bench::start(setting)?;
    figures.push(bench.run(allocate(setting, &bench))?);
    figures.extend(bench.run(execute(setting, &bench))?);
    figures.extend(bench.run(snapshots(setting, &bench))?);
    figures.extend(bench.run(forks(setting, &bench))?);
    figures.extend(bench.run(cycles(setting, &bench))?);
    figures.extend(bench.run(load(setting, &bench))?);
    bench.stop();
    Ok(figures)
}

/// A VM of a session's size without template.
fn cold(setting: &Setting<'_>) -> Result<Figure, Failure> {
    let spec = setting
        .engine
        .spec(SandboxConfig::default().machine_mib())?;
    let mut samples = Vec::new();
    for _ in 0..setting.runs(30) {
        let began = Instant::now();
        let mut machine = setting.engine.backend().boot(&spec)?;
        let mut guest = Guest::greet(machine.connect()?)?;
        super::machines::output_of(&mut guest, "print(1)")?;
        samples.push(ms_since(began));
    }
    Ok(Figure::new("sandbox: cold VM to first result", "ms", &samples).goals(None, 150.0))
}

async fn allocate(setting: &Setting<'_>, bench: &Bench) -> Result<Figure, Failure> {
    let mut samples = Vec::new();
    for _ in 0..setting.runs(200) {
        bench.rest().await;
        let began = Instant::now();
        let session = create(&bench.manager).await?;
        samples.push(ms_since(began));
        bench.manager.destroy(&session).await?;
    }
    Ok(Figure::new("sandbox: session from the pool", "ms", &samples).goals(None, 10.0))
}

async fn execute(setting: &Setting<'_>, bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let session = create(&bench.manager).await?;
    let mut python = PythonProcess::start("print(1)")?;
    let (mut apart, mut reference, mut in_a_row) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.runs(300) {
        tokio::time::sleep(REST).await;
        let began = Instant::now();
        expect(&session, "print(1)", "1\n").await?;
        apart.push(ms_since(began));
        if let Some(python) = &mut python {
            let began = Instant::now();
            python.round_trip("print(1)", "1\n".len())?;
            reference.push(ms_since(began));
        }
    }
    for _ in 0..setting.runs(300) {
        let began = Instant::now();
        expect(&session, "print(1)", "1\n").await?;
        in_a_row.push(ms_since(began));
    }
    bench.manager.destroy(&session).await?;
    let reference_name = python.as_ref().map_or("", PythonProcess::name);
    Ok(vec![
        Figure::new("sandbox: print(1), checkpoint written behind", "ms", &apart)
            .goals(None, 2.0)
            .against(reference_name, &reference),
        Figure::new(
            "sandbox: print(1), waiting for the checkpoint",
            "ms",
            &in_a_row,
        ),
    ])
}

/// 8 MB that no earlier state has.
const DIRTY: &str = "import os; data = bytearray(os.urandom(8_000_000))";

async fn snapshots(setting: &Setting<'_>, bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let session = create(&bench.manager).await?;
    let (mut taken, mut restored) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs(60) {
        expect(&session, DIRTY, "").await?;
        let began = Instant::now();
        let snapshot = session.create_snapshot("state").await?;
        taken.push(ms_since(began));
        expect(&session, "data = None", "").await?;
        tokio::time::sleep(REST).await;
        let began = Instant::now();
        session.restore_snapshot(&snapshot).await?;
        restored.push(ms_since(began));
        expect(&session, "print(len(data))", "8000000\n").await?;
        session.delete_snapshot(snapshot).await?;
        bench.rest().await;
    }
    bench.manager.destroy(&session).await?;
    Ok(vec![
        Figure::new("sandbox: snapshot with 8 MB dirtied", "ms", &taken).goals(None, 30.0),
        Figure::new("sandbox: rollback to it", "ms", &restored).goals(None, 20.0),
    ])
}

async fn forks(setting: &Setting<'_>, bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let session = create(&bench.manager).await?;
    expect(&session, "x = 1", "").await?;
    let (mut one, mut eight) = (Vec::new(), Vec::new());
    for (count, samples) in [(1, &mut one), (8, &mut eight)] {
        for _ in 0..setting.runs(60) {
            bench.rest().await;
            let began = Instant::now();
            let copies = bench
                .manager
                .fork(&session, None, Vec::new(), count, None)
                .await?;
            let mut first = JoinSet::new();
            for copy in copies.clone() {
                first.spawn(async move { expect(&copy, "print(x)", "1\n").await });
            }
            while let Some(result) = first.join_next().await {
                joined(result)??;
            }
            samples.push(ms_since(began));
            for copy in copies {
                bench.manager.destroy(&copy).await?;
            }
        }
    }
    bench.manager.destroy(&session).await?;
    Ok(vec![
        Figure::new("sandbox: fork of a session to first result", "ms", &one).goals(None, 15.0),
        Figure::new("sandbox: 8 forks, each to its first result", "ms", &eight).goals(None, 60.0),
    ])
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, Failure> {
    result.map_err(|error| Failure::workload(error, None))
}

/// What a process holds.
struct Holdings {
    files: usize,
    children: usize,
    folders: usize,
    resident_mib: f64,
}

impl Holdings {
    fn of(bench: &Bench) -> Self {
        let count = |path: &std::path::Path| {
            std::fs::read_dir(path).map_or(0, |entries| entries.flatten().count())
        };
        let children = std::fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
            .map(|children| children.split_whitespace().count())
            .sum();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        Self {
            files: count(std::path::Path::new("/proc/self/fd")),
            children,
            folders: count(&bench.folder.path().join("sessions")),
            resident_mib: resident.unwrap_or(0.0) / 1024.0,
        }
    }
}

/// Sessions made and destroyed: what is held afterwards that was not before.
async fn cycles(setting: &Setting<'_>, bench: &Bench) -> Result<Vec<Figure>, Failure> {
    // What is made once and stays is made.
    for _ in 0..20 {
        let session = create(&bench.manager).await?;
        expect(&session, "print(1)", "1\n").await?;
        bench.manager.destroy(&session).await?;
    }
    bench.rest().await;
    let before = Holdings::of(bench);
    let began = Instant::now();
    let runs = setting.runs(CYCLES);
    for _ in 0..runs {
        let session = create(&bench.manager).await?;
        expect(&session, "print(1)", "1\n").await?;
        bench.manager.destroy(&session).await?;
    }
    let each = ms_since(began) / runs as f64;
    bench.rest().await;
    let after = Holdings::of(bench);
    let grown = |name: &str, before: usize, after: usize| {
        let more = after as f64 - before as f64;
        Figure::new(
            format!("sandbox: {name} left by {runs} sessions"),
            "count",
            &[more],
        )
        .goals(0.0, None)
    };
    Ok(vec![
        Figure::new("sandbox: create, print(1), destroy", "ms", &[each]),
        grown("processes", before.children, after.children),
        grown("file handles", before.files, after.files),
        grown("folders", before.folders, after.folders),
        Figure::new(
            format!("sandbox: memory left by {runs} sessions"),
            "MiB",
            &[after.resident_mib - before.resident_mib],
        )
        .goals(4.0, None),
    ])
}

/// Many sessions, each used at its own pace.
async fn load(setting: &Setting<'_>, bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let count = setting.runs(SESSIONS);
    let time = LOAD / u32::try_from(setting.thrift).unwrap_or(1);
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(create(&bench.manager).await?);
    }
    let pace = Duration::from_secs(1) / EXECUTIONS_PER_SECOND;
    let began = Instant::now();
    let mut using = JoinSet::new();
    for (number, session) in sessions.iter().cloned().enumerate() {
        using.spawn(async move {
            let offset =
                pace * u32::try_from(number).unwrap_or(0) / u32::try_from(count).unwrap_or(1);
            let mut beat = tokio::time::interval_at((began + offset).into(), pace);
            let (mut samples, mut errors) = (Vec::new(), 0.0);
            while began.elapsed() < time {
                beat.tick().await;
                let asked = Instant::now();
                match expect(&session, "print(1)", "1\n").await {
                    Ok(()) => samples.push(ms_since(asked)),
                    Err(_) => errors += 1.0,
                }
            }
            (samples, errors)
        });
    }
    let (mut samples, mut errors) = (Vec::new(), 0.0);
    while let Some(used) = using.join_next().await {
        let (own, failed) = joined(used)?;
        samples.extend(own);
        errors += failed;
    }
    for session in sessions {
        bench.manager.destroy(&session).await?;
    }
    let per_second = samples.len() as f64 / time.as_secs_f64();
    Ok(vec![
        Figure::new(
            format!("sandbox: print(1), {count} sessions at {EXECUTIONS_PER_SECOND}/s each"),
            "ms",
            &samples,
        )
        .goals(None, 50.0),
        Figure::new(
            "sandbox: executions a second meanwhile",
            "count",
            &[per_second],
        )
        .at_least(0.95 * (count as f64) * f64::from(EXECUTIONS_PER_SECOND)),
        Figure::new("sandbox: errors meanwhile", "count", &[errors]).goals(0.0, None),
    ])
}

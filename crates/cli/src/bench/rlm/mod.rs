//! Figures of the runtime that answers questions, with a scripted expert as the model: whether it is
//! right, what it adds to the time of model and VM, what it keeps in memory, what it shows the model.

mod expert;
mod tasks;

use super::figure::Figure;
use super::{Setting, ms_since};
use crate::failure::Failure;
use crate::home;
use crate::progress::Steps;
use expert::Expert;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tasks::Task;
use terraphim_rlm::{
    Context, Query, RlmConfig, RlmError, SandboxConfig, Surroundings, TerraphimRlm,
};
use ukernel_trajectory::{Event, Record};

/// Sizes of haystacks, in tokens.
const HAYSTACKS: [usize; 4] = [8_000, 64_000, 512_000, 4_000_000];

/// What one question came to.
struct Asked {
    is_right: bool,
    total_ms: f64,
    load_ms: f64,
    /// Of each iteration, outside of model and VM.
    overhead_ms: Vec<f64>,
    /// Of each command, before it began: for its turn, and for the state before it to be kept.
    wait_ms: Vec<f64>,
}

struct Bench {
    rlm: TerraphimRlm,
    expert: Arc<Expert>,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Bench {
    fn start(setting: &Setting<'_>) -> Result<Self, Failure> {
        let host = |error: std::io::Error| Failure::host(error, "free some space");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(host)?;
        let expert = Arc::new(Expert::default());
        let config = RlmConfig {
            llm_provider: "bench".to_owned(),
            llm_model: "expert".to_owned(),
            home: Some(home::home()?),
            source: Some(home::source()),
            max_total_tokens: 100_000_000,
            max_sub_calls: 1_000_000,
            sandbox: SandboxConfig {
                allocation_timeout_ms: 60_000,
                ..SandboxConfig::default()
            },
            ..RlmConfig::default()
        };
        let surroundings = Surroundings {
            vm_process: Some(crate::engine::vm_processes()?),
            probe: Some(home::probe_config()?),
            llm: Some(Arc::clone(&expert) as Arc<_>),
        };
        let opening = TerraphimRlm::with(config, surroundings, Arc::new(Steps::new()));
        Ok(Self {
            rlm: runtime.block_on(opening).map_err(failed)?,
            expert,
            runtime,
            folder: setting.engine.scratch_folder().map_err(host)?,
        })
    }

    /// Asks a task's question over a file with its text.
    fn ask(&self, task: Task) -> Result<Asked, Failure> {
        self.expert.guard(&task.text);
        let path = self.folder.path().join("context.txt");
        std::fs::write(&path, &task.text)
            .map_err(|error| Failure::host(error, "free some space"))?;
        let (question, truth) = (task.question.clone(), task.truth.clone());
        // From here on the text is in the file and in the VM only.
        drop(task);
        self.ask_over(&path, &question, &truth)
    }

    fn ask_over(&self, path: &Path, question: &str, truth: &str) -> Result<Asked, Failure> {
        let records: Arc<Mutex<Vec<Record>>> = Arc::default();
        let seen = Arc::clone(&records);
        let query = Query {
            question: question.to_owned(),
            context: Context::files(&[path.to_owned()], 1 << 30).map_err(failed)?,
            watcher: Some(Arc::new(move |record| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(record.clone());
            })),
            ..Query::default()
        };
        let began = Instant::now();
        let response = self.runtime.block_on(self.rlm.ask(query)).map_err(failed)?;
        let total_ms = ms_since(began);
        let is_right = response.answer == truth && response.partial.is_none();
        if !is_right {
            eprintln!("{question}: {} instead of {truth}", response.answer);
        }
        let records = records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Asked {
            is_right,
            total_ms,
            ..times(&records)
        })
    }
}

fn failed(error: RlmError) -> Failure {
    crate::rlm::failure_of(error, true)
}

/// The times of the first node's iterations.
fn times(records: &[Record]) -> Asked {
    let mut asked = Asked {
        is_right: false,
        total_ms: 0.0,
        load_ms: 0.0,
        overhead_ms: Vec::new(),
        wait_ms: Vec::new(),
    };
    let mut began = None;
    let mut elsewhere_ms = 0.0;
    for record in records.iter().filter(|record| record.node == 0) {
        match &record.event {
            Event::NodeStarted(started) => asked.load_ms = started.load_ms,
            Event::ModelAsked { .. } | Event::NodeEnded { .. } => {
                if let Some(began) = began.replace(record.at_ms) {
                    asked.overhead_ms.push(record.at_ms - began - elsewhere_ms);
                }
                elsewhere_ms = 0.0;
            }
            Event::ModelReplied { reply, .. } => elsewhere_ms += reply.latency_ms,
            Event::CommandEnded(ended) => {
                elsewhere_ms += ended.total_ms;
                asked.wait_ms.push(ended.total_ms - ended.run_ms);
            }
            _ => {}
        }
    }
    asked
}

/// All of them.
pub fn rlm(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let bench = Bench::start(setting)?;
    // First: what others leave behind would be counted.
    let mut figures = vec![memory(&bench)?];
    let (mut right, mut overhead_ms) = (Vec::new(), Vec::new());
    let mut keep = |asked: &Asked| {
        right.push(f64::from(u8::from(asked.is_right)));
        overhead_ms.extend(&asked.overhead_ms);
    };
    for tokens in HAYSTACKS {
        let runs = setting.runs(if tokens > 1_000_000 { 10 } else { 20 });
        let asked = ask_all(&bench, runs, |seed| tasks::needle(seed, tokens))?;
        asked.iter().for_each(&mut keep);
        let name = format!("rlm needle in {} k tokens", tokens / 1000);
        figures.push(of(&name, &asked, |one| vec![one.total_ms]));
        if tokens > 1_000_000 {
            let load = of("rlm load 4 M tokens", &asked, |one| vec![one.load_ms]);
            figures.push(load.goals(None, 2000.0));
        }
        let name = format!("rlm wait of a command, {} k tokens", tokens / 1000);
        figures.push(of(&name, &asked, |one| one.wait_ms.clone()));
    }
    for (name, make) in [
        (
            "rlm count in 1000 entries",
            tasks::count as fn(u64, usize) -> Task,
        ),
        ("rlm pairs in 1000 entries, 4 children", tasks::pairs),
    ] {
        let asked = ask_all(&bench, setting.runs(20), |seed| make(seed, 1000))?;
        asked.iter().for_each(&mut keep);
        figures.push(of(name, &asked, |one| vec![one.total_ms]));
    }
    let wrong = right.iter().filter(|one| **one == 0.0).count();
    figures.push(
        Figure::new(
            format!("rlm wrong answers of {}", right.len()),
            "count",
            &[wrong as f64],
        )
        .goals(0.0, 0.0),
    );
    let leaked = bench.expert.leaked.load(Ordering::Relaxed);
    figures.push(
        Figure::new("rlm lines of context in prompts", "count", &[leaked as f64]).goals(0.0, 0.0),
    );
    let longest = bench.expert.longest.load(Ordering::Relaxed);
    figures.push(Figure::new(
        "rlm longest prompt of a step",
        "KiB",
        &[longest as f64 / 1024.0],
    ));
    figures.push(Figure::new("rlm overhead of an iteration", "ms", &overhead_ms).goals(None, 5.0));
    bench.runtime.block_on(bench.rlm.stop());
    Ok(figures)
}

fn ask_all(bench: &Bench, runs: usize, make: impl Fn(u64) -> Task) -> Result<Vec<Asked>, Failure> {
    (0..runs).map(|seed| bench.ask(make(seed as u64))).collect()
}

fn of(name: &str, asked: &[Asked], samples: impl Fn(&Asked) -> Vec<f64>) -> Figure {
    let samples: Vec<f64> = asked.iter().flat_map(samples).collect();
    Figure::new(name, "ms", &samples)
}

/// What this process needs at most while a large context is asked about, by the context's length.
fn memory(bench: &Bench) -> Result<Figure, Failure> {
    let host = |error: std::io::Error| Failure::host(error, "free some space");
    let task = tasks::needle(1, HAYSTACKS[3]);
    let bytes = task.text.len() as f64;
    let path = bench.folder.path().join("context.txt");
    std::fs::write(&path, &task.text).map_err(host)?;
    let (question, truth) = (task.question, task.truth);
    drop(task.text);
    bench.expert.guard("");
    // Resets the peak (proc_pid_clear_refs(5)).
    std::fs::write("/proc/self/clear_refs", "5").map_err(host)?;
    bench.ask_over(&path, &question, &truth)?;
    let status = std::fs::read_to_string("/proc/self/status").map_err(host)?;
    let peak_kib: f64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap_or(f64::INFINITY);
    let ratio = peak_kib * 1024.0 / bytes;
    Ok(Figure::new("rlm host memory by context, 4 M tokens", "x", &[ratio]).goals(2.0, 2.0))
}

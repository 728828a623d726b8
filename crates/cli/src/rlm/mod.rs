//! `ukernel rlm`: the answer on standard output, the running tree on standard error.

mod watch;

use crate::args::Rlm;
use crate::failure::Failure;
use crate::progress::Steps;
use crate::{home, settings};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terraphim_rlm::{
    Context, Problem, Query, RlmConfig, RlmError, RlmResponse, Surroundings, TerraphimRlm,
};
use tokio_util::sync::CancellationToken;
use ukernel_llm::{FailureKind, LlmError};
use ukernel_trajectory::{Event, Record, TrajectoryFile};
use watch::Watch;

/// Contexts larger than this get the largest machine there is: loading takes twice their length.
const LARGE_CONTEXT_BYTES: u64 = 64 << 20;

/// Memory of programs over a large context, in MiB.
const LARGE_MEMORY_MIB: u32 = 2560;

/// Largest file with a JSON Schema, in bytes.
const MAX_SCHEMA_BYTES: u64 = 64 << 10;

/// Answers a question.
pub fn rlm(args: &Rlm) -> Result<u8, Failure> {
    let told = Told::default();
    let (config, context, schema) = prepare(args).map_err(|failure| said(args, failure, &told))?;
    let trace_folder = config.trace_folder.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::host(error, "the host is out of threads"))?;
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    ctrlc::set_handler(move || stop.cancel())
        .map_err(|error| Failure::host(error, "signal handlers cannot be installed"))?;
    let watch = Watch::new(args.quiet);
    let (seen, noted) = (Arc::clone(&watch), told.clone());
    let query = Query {
        question: args.question.clone(),
        context,
        schema,
        trace: args.trace.clone().map(|path| TrajectoryFile {
            path,
            // Who names a file wants to read it.
            verbose: true,
        }),
        watcher: Some(Arc::new(move |record| {
            noted.note(record);
            seen.see(record);
        })),
        streamed: watch.streamed(),
        cancel: cancel.clone(),
        ..Query::default()
    };
    let names_model = args.model.is_some();
    let answered = runtime.block_on(answer(config, query, &cancel));
    watch.end();
    // Threads that still end VMs are not waited for: the VMs end with this process.
    runtime.shutdown_background();
    told.set_trajectory(args.trace.as_deref(), trace_folder.as_deref());
    let response = answered.map_err(|error| said(args, failure_of(error, names_model), &told))?;
    print(args.json, &response)?;
    let Some(why) = &response.partial else {
        return Ok(0);
    };
    if args.quiet {
        // The running tree has said it otherwise.
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("partial answer: {why}");
    }
    Ok(crate::failure::PARTIAL)
}

/// What is known of a run also when it fails, for `--json`.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Value>>);

impl Told {
    fn document(&self) -> MutexGuard<'_, Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, record: &Record) {
        match &record.event {
            Event::RunStarted(started) => self.document()["run"] = json!(started.run),
            Event::RunEnded { spent, .. } => self.document()["spent"] = json!(spent),
            _ => {}
        }
    }

    /// Where the trajectory is, if the run has begun.
    fn set_trajectory(&self, file: Option<&Path>, folder: Option<&Path>) {
        let mut document = self.document();
        let Some(run) = document["run"].as_str() else {
            return;
        };
        let path = match file {
            Some(file) => Some(file.to_owned()),
            None => folder.map(|folder| folder.join(format!("{run}.jsonl"))),
        };
        document["trajectory"] = json!(path);
    }
}

async fn answer(
    config: RlmConfig,
    query: Query,
    cancel: &CancellationToken,
) -> Result<RlmResponse, RlmError> {
    let surroundings = Surroundings {
        vm_process: Some(crate::engine::vm_processes().map_err(internal)?),
        probe: Some(home::probe_config().map_err(internal)?),
        llm: None,
    };
    let upstream = crate::mcp::upstream(&config).map_err(internal)?;
    let opening = TerraphimRlm::with(config, surroundings, Arc::new(Steps::new()));
    let rlm = tokio::select! {
        rlm = opening => rlm?,
        () = cancel.cancelled() => return Err(RlmError::Cancelled),
    };
    upstream.attach(&rlm)?;
    let answered = rlm.ask(query).await;
    rlm.stop().await;
    upstream.stop().await;
    answered
}

fn internal(failure: Failure) -> RlmError {
    RlmError::internal(failure.what())
}

fn prepare(args: &Rlm) -> Result<(RlmConfig, Context, Option<Value>), Failure> {
    let mut config = settings::rlm(args.config.as_deref(), args.backend.name())?;
    let usage = |error: RlmError| failure_of(error, true);
    if let Some(guest) = args.guest {
        config.guest = guest.into();
    }
    if args.image.is_some() {
        config.image.clone_from(&args.image);
    }
    if let Some(model) = &args.model {
        config.set_model(&parse(model)?);
    }
    if let Some(model) = &args.sub_model {
        config.llm_sub_model = Some(parse(model)?.to_string());
    }
    if let Some(tokens) = args.budget_tokens {
        config.max_total_tokens = tokens;
    }
    if let Some(dollars) = args.budget_usd {
        config.max_total_micro_dollars = Some(dollars);
    }
    if let Some(time) = args.budget_seconds {
        config.max_wall_clock_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        config.sandbox.execution_timeout_ms = config
            .sandbox
            .execution_timeout_ms
            .max(config.max_wall_clock_ms);
    }
    if let Some(depth) = args.max_depth {
        config.max_recursion_depth = depth;
    }
    config.home = Some(home::home()?);
    config.source = Some(home::source());
    if config.trace_folder.is_none() {
        config.trace_folder = Some(home::state()?.join("trajectories"));
    }
    // One run needs one VM at once; more are there while children ask for them.
    config.sandbox.pool_min_size = config.sandbox.pool_min_size.min(1);
    config.sandbox.pool_target_size = config.sandbox.pool_target_size.min(1);
    let context = Context::files(&args.context, config.max_context_bytes).map_err(usage)?;
    if context.bytes() > LARGE_CONTEXT_BYTES {
        config.sandbox.memory_mib = config.sandbox.memory_mib.max(LARGE_MEMORY_MIB);
    }
    config.check().map_err(usage)?;
    let schema = args.schema.as_deref().map(schema).transpose()?;
    Ok((config, context, schema))
}

pub fn parse(name: &str) -> Result<terraphim_rlm::ModelName, Failure> {
    name.parse().map_err(|error| {
        let error: ukernel_llm::LlmError = error;
        failure_of(RlmError::config(Problem::of(error)), true)
    })
}

fn schema(path: &Path) -> Result<Value, Failure> {
    let bad = |cause: &dyn std::fmt::Display| {
        Failure::usage(
            format!("the schema {}: {cause}", path.display()),
            "name a file with a JSON Schema",
        )
    };
    let length = std::fs::metadata(path).map_err(|error| bad(&error))?.len();
    if length > MAX_SCHEMA_BYTES {
        return Err(bad(&"it is too large"));
    }
    let text = std::fs::read(path).map_err(|error| bad(&error))?;
    serde_json::from_slice(&text).map_err(|error| bad(&error))
}

/// The failure, as the document that `--json` promises too.
fn said(args: &Rlm, failure: Failure, told: &Told) -> Failure {
    if args.json {
        let told = told.document();
        let document = json!({
            "error": {"kind": failure.kind(), "message": failure.what(), "hint": failure.hint()},
            "spent": told["spent"], "run": told["run"], "trajectory": told["trajectory"],
        });
        // Nobody there to read is no failure of its own.
        let _ = writeln!(std::io::stdout(), "{document}");
    }
    failure
}

fn print(json: bool, response: &RlmResponse) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = if json {
        serde_json::to_writer(&mut out, response)
            .map_err(std::io::Error::other)
            .and_then(|()| out.write_all(b"\n"))
    } else {
        let text = if std::io::stdout().is_terminal() {
            harmless(&response.answer)
        } else {
            response.answer.clone()
        };
        writeln!(out, "{text}")
    };
    written.map_err(|error| Failure::host(error, "standard output is closed"))
}

/// An answer on a terminal has no control characters but ends of lines and tabs: a model may have
/// copied them from anywhere.
fn harmless(text: &str) -> String {
    let is_harmless = |one: &char| !one.is_control() || matches!(one, '\n' | '\t');
    text.chars().filter(is_harmless).collect()
}

fn is_about_a_key(cause: &(dyn std::error::Error + 'static)) -> bool {
    match cause.downcast_ref::<LlmError>() {
        Some(LlmError::NoKey { .. }) => true,
        Some(other) => other
            .failure()
            .is_some_and(|failure| failure.kind == FailureKind::Unauthorized),
        None => false,
    }
}

/// An error of the runtime as the command tells it.
pub fn failure_of(error: RlmError, names_model: bool) -> Failure {
    let hint = error.hint();
    let (code, kind) = match &error {
        RlmError::Config(_) | RlmError::Context(_) => (crate::failure::USAGE, "usage"),
        RlmError::TimeBudgetExceeded { .. } => (crate::failure::TIME_LIMIT, "time_budget"),
        RlmError::Cancelled => (crate::failure::INTERRUPTED, "cancelled"),
        RlmError::LlmProviderError { is_setup: true, .. } => (crate::failure::HOST, "no_model"),
        RlmError::VmAllocationFailed { .. } => (crate::failure::HOST, "no_vm"),
        RlmError::TokenBudgetExceeded { .. } => (crate::failure::WORKLOAD, "token_budget"),
        RlmError::MoneyBudgetExceeded { .. } => (crate::failure::WORKLOAD, "money_budget"),
        RlmError::LlmProviderError { .. } => (crate::failure::WORKLOAD, "model"),
        _ => (crate::failure::WORKLOAD, "failed"),
    };
    let hint = match &error {
        // A key that lacks or is refused is another matter than who is asked.
        RlmError::LlmProviderError {
            is_setup: true,
            cause,
            ..
        } if !names_model && !is_about_a_key(cause.as_ref()) => Some(
            "name a model with --model, such as ollama/qwen3 with a local Ollama, or \
             openrouter/NAME with OPENROUTER_API_KEY set; docs/rlm.md shows the set-ups"
                .to_owned(),
        ),
        _ => hint,
    };
    Failure::with_code(error, hint, code).of_kind(kind.to_owned())
}

//! `ukernel bench`: the performance promises, measured side by side in one run.
//!
//! Each group of figures is measured in a process of its own, so that none measures what another left behind: several
//! groups are as many runs of `ukernel bench GROUP --json`.

mod compute;
mod figure;
mod host;
mod linux;
mod machines;
mod mcp;
mod memory;
mod output;
mod processes;
mod python;
mod rlm;
mod sandbox;
mod sizes;

use crate::args::Bench;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::run::print_json;
use figure::Figure;
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run prints as JSON.
#[derive(Serialize, Deserialize)]
struct Document {
    host: host::Host,
    figures: Vec<Figure>,
}

/// What every measurement needs.
struct Setting<'a> {
    engine: &'a Engine,
    /// Divides the number of runs.
    thrift: usize,
}

impl Setting<'_> {
    fn runs(&self, full: usize) -> usize {
        (full / self.thrift).max(3)
    }
}

type Measure = fn(&Setting<'_>) -> Result<Vec<Figure>, Failure>;

/// Every group of figures, by the beginning of their names.
const GROUPS: [(&str, Measure); 13] = [
    ("run", processes::run_hello),
    ("cold", machines::cold),
    ("fork", machines::fork),
    ("exec", machines::exec),
    ("compute", compute::compute),
    ("output", output::output),
    ("memory", memory::memory),
    ("alive", machines::alive),
    ("sandbox", sandbox::sandbox),
    ("rlm", rlm::rlm),
    ("mcp", mcp::mcp),
    ("linux", linux::linux),
    ("size", sizes::sizes),
];

/// `ukernel bench [NAME]`
pub fn bench(args: &Bench) -> Result<u8, Failure> {
    let wanted = args.name.as_deref().unwrap_or("");
    let groups: Vec<_> = GROUPS
        .iter()
        .filter(|(name, _)| name.starts_with(wanted))
        .collect();
    if groups.is_empty() {
        let names: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
        return Err(Failure::usage(
            format!("there is no figure {wanted}"),
            format!("one of: {}", names.join(", ")),
        ));
    }
    let mut all: Option<Document> = None;
    for (name, measure) in &groups {
        let document = if groups.len() == 1 {
            here(args, *measure)?
        } else {
            apart(args, name)?
        };
        let all = all.get_or_insert_with(|| {
            if !args.json {
                println!("{}", document.host);
                println!("{:<44} {:>9} {:>9}", "figure", "p50", "p95");
            }
            Document {
                host: document.host,
                figures: Vec::new(),
            }
        });
        if !args.json {
            for figure in &document.figures {
                println!("{}", figure.line());
            }
        }
        all.figures.extend(document.figures);
    }
    let figures = all.iter().flat_map(|all| &all.figures);
    let missed = figures.filter(|figure| !figure.holds).count();
    if args.json {
        print_json(&all)?;
    } else if missed > 0 {
        println!("{missed} goals missed");
    }
    Ok(0)
}

/// Measures one group in this process.
fn here(args: &Bench, measure: Measure) -> Result<Document, Failure> {
    let engine = Engine::open(args.backend.explicit())?;
    let setting = Setting {
        engine: &engine,
        thrift: if args.quick { 10 } else { 1 },
    };
    Ok(Document {
        host: host::Host::describe(engine.backend_name()),
        figures: measure(&setting)?,
    })
}

/// Measures one group in a process of its own.
fn apart(args: &Bench, name: &str) -> Result<Document, Failure> {
    let host = |error: &dyn std::fmt::Display| {
        Failure::host(
            format!("the figures of {name} cannot be measured: {error}"),
            "see the message",
        )
    };
    let this = std::env::current_exe().map_err(|error| host(&error))?;
    let mut command = Command::new(this);
    command.args(["bench", name, "--json"]);
    if let Some(kind) = args.backend.explicit() {
        command.args(["--backend", kind.name()]);
    }
    if args.quick {
        command.arg("--quick");
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| host(&error))?;
    if !output.status.success() {
        let code = output.status.code().and_then(|code| code.try_into().ok());
        return Err(Failure::with_code(
            format!("the figures of {name} could not be measured"),
            Some("the error before this one says why".to_owned()),
            code.unwrap_or(crate::failure::WORKLOAD),
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| host(&error))
}

/// Milliseconds since `began`.
fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

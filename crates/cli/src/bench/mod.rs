//! `ukernel bench`: the performance promises, measured side by side in one run.

mod compute;
mod figure;
mod host;
mod machines;
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
use serde::Serialize;
use std::time::Instant;

#[derive(Serialize)]
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
const GROUPS: [(&str, Measure); 10] = [
    ("run", processes::run_hello),
    ("cold", machines::cold),
    ("fork", machines::fork),
    ("exec", machines::exec),
    ("compute", compute::compute),
    ("memory", machines::memory),
    ("alive", machines::alive),
    ("sandbox", sandbox::sandbox),
    ("rlm", rlm::rlm),
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
    let engine = Engine::open(args.backend.explicit())?;
    let setting = Setting {
        engine: &engine,
        thrift: if args.quick { 10 } else { 1 },
    };
    let host = host::Host::describe(engine.backend_name());
    if !args.json {
        println!("{host}");
        println!("{:<44} {:>9} {:>9}", "figure", "p50", "p95");
    }
    let mut figures = Vec::new();
    for (_, measure) in groups {
        for figure in measure(&setting)? {
            if !args.json {
                println!("{}", figure.line());
            }
            figures.push(figure);
        }
    }
    let missed = figures.iter().filter(|figure| !figure.holds).count();
    if args.json {
        print_json(&Document { host, figures })?;
    } else if missed > 0 {
        println!("{missed} goals missed");
    }
    Ok(0)
}

/// Milliseconds since `began`.
fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

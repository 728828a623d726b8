//! Compute: the same files in a VM and in native CPython, timed by themselves.

use super::Setting;
use super::figure::{Figure, percentiles};
use super::machines::output_of;
use super::python::Python;
use crate::args::DEFAULT_MEMORY_MIB;
use crate::failure::Failure;
use ukernel_machine::Limits;
use ukernel_machine::guest::BlockingGuest as Guest;

/// Each program prints the seconds its work took.
const PROGRAMS: [(&str, &str); 7] = [
    ("fib", include_str!("programs/fib.py")),
    ("loop", include_str!("programs/loop.py")),
    ("json", include_str!("programs/json_round_trip.py")),
    ("regex", include_str!("programs/regex.py")),
    ("sort", include_str!("programs/sort.py")),
    ("sha256", include_str!("programs/sha256.py")),
    ("strings", include_str!("programs/strings.py")),
];

/// Slowdown against native CPython, per program and as a geometric mean.
pub fn compute(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let template = setting.engine.live_template(DEFAULT_MEMORY_MIB)?;
    let runs = setting.runs(10);
    let mut figures = Vec::new();
    let mut logarithms = 0.0;
    for (name, source) in PROGRAMS {
        let python = Python::fastest(source).ok_or_else(|| {
            Failure::host("there is no python3 to compare with", "install Python 3")
        })?;
        let file = setting
            .engine
            .scratch(&format!("bench_{name}.py"), source)?;
        let (mut ours, mut native) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let mut machine = template.fork(Limits::NONE)?;
            let mut guest = Guest::greet(machine.connect()?)?;
            ours.push(seconds(&output_of(&mut guest, source)?)? * 1e3);
            let output =
                python.command().arg(&file).output().map_err(|error| {
                    Failure::host(format!("python3: {error}"), "see the message")
                })?;
            native.push(seconds(&String::from_utf8_lossy(&output.stdout))? * 1e3);
        }
        logarithms += (percentiles(&ours).0 / percentiles(&native).0).ln();
        figures.push(
            Figure::new(format!("compute: {name}"), "ms", &ours).against(python.name(), &native),
        );
    }
    let mean = (logarithms / PROGRAMS.len() as f64).exp();
    figures.push(Figure::new("compute: slowdown, geometric mean", "x", &[mean]).goals(2.2, None));
    Ok(figures)
}

fn seconds(output: &str) -> Result<f64, Failure> {
    output.trim().parse().map_err(|_| {
        Failure::workload(
            format!("a benchmark program printed {output:?}, not seconds"),
            None,
        )
    })
}

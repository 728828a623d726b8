//! Printed lines: many small writes on their way from the guest to the host.

use super::figure::{Figure, percentiles};
use super::machines::{first_result, read_output};
use super::python::PythonProcess;
use super::{Setting, ms_since};
use crate::args::DEFAULT_MEMORY_MIB;
use crate::failure::Failure;
use std::time::Instant;
use ukernel_machine::Limits;

const LINES: usize = 200_000;

/// A warm VM beside a warm native Python, the output of both read and thrown away.
pub fn output(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let source = format!("for i in range({LINES}): print(i)");
    let bytes = (0..LINES).map(|line| line.to_string().len() + 1).sum();
    let template = setting.engine.live_template(DEFAULT_MEMORY_MIB)?;
    let mut machine = template.fork(Limits::NONE)?;
    let mut guest = first_result(machine.as_mut())?;
    let mut python = PythonProcess::start(&source)?
        .ok_or_else(|| Failure::host("there is no python3 to compare with", "install Python 3"))?;
    let (mut ours, mut native) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs(10) {
        let mut read = 0;
        let began = Instant::now();
        read_output(&mut guest, &source, |piece| read += piece.len())?;
        ours.push(ms_since(began));
        if read != bytes {
            let what = format!("{LINES} lines came as {read} bytes instead of {bytes}");
            return Err(Failure::workload(what, None));
        }
        let began = Instant::now();
        python.round_trip(&source, bytes)?;
        native.push(ms_since(began));
    }
    let slowdown = percentiles(&ours).0 / percentiles(&native).0;
    Ok(vec![
        Figure::new("output: 200,000 printed lines", "ms", &ours).against(python.name(), &native),
        Figure::new("output: slowdown of printed lines", "x", &[slowdown]).goals(2.0, None),
    ])
}

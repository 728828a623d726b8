//! Figures of machines: cold start, fork, round trip, how many at once.

use super::figure::Figure;
use super::python::PythonProcess;
use super::{Setting, ms_since};
use crate::args::DEFAULT_MEMORY_MIB;
use crate::failure::Failure;
use std::time::Instant;
use ukernel_abi::message::{Exec, Outcome, Stream};
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{BlockingGuest as Guest, Event, Until};
use ukernel_machine::{Limits, Machine, Template};

/// Idle forks kept alive at once.
const FORKS: usize = 300;

/// Runs a program and gives what it wrote to standard output.
pub fn output_of(guest: &mut Guest, source: &str) -> Result<String, Failure> {
    let mut output = Vec::new();
    read_output(guest, source, |piece| output.extend(piece))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Runs a program and hands on what it writes to standard output, piece by piece.
pub fn read_output(
    guest: &mut Guest,
    source: &str,
    mut each: impl FnMut(Vec<u8>) + Send,
) -> Result<(), Failure> {
    let exec = Exec::program("bench.py", source);
    let ended = guest.exec(exec, &Until::default(), &out_of_reach(), &mut |event, _| {
        if let Event::Output(Stream::Stdout, bytes) = event {
            each(bytes);
        }
        Ok(())
    })?;
    if !matches!(ended.outcome, Outcome::Exited { code: 0, .. }) {
        return Err(Failure::workload(
            format!("a benchmark program failed: {ended:?}"),
            None,
        ));
    }
    Ok(())
}

/// Greets the guest and has it print something.
pub fn first_result(machine: &mut dyn Machine) -> Result<Guest, Failure> {
    let mut guest = Guest::greet(machine.connect()?)?;
    let output = output_of(&mut guest, "print(1)")?;
    if output != "1\n" {
        return Err(Failure::workload(format!("print(1) gave {output:?}"), None));
    }
    Ok(guest)
}

/// Cold boots: to the first instruction at CPL 3 and to the first Python result.
pub fn cold(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let spec = setting.engine.spec(DEFAULT_MEMORY_MIB)?;
    let (mut user_mode, mut result) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs(40) {
        let began = Instant::now();
        let mut machine = setting.engine.backend().boot(&spec)?;
        let guest = first_result(machine.as_mut())?;
        result.push(ms_since(began));
        drop(guest);
        user_mode.extend(
            machine
                .stats()?
                .user_mode
                .map(|time| time.as_secs_f64() * 1e3),
        );
    }
    let mut figures = Vec::new();
    if !user_mode.is_empty() {
        figures.push(Figure::new("cold: VM create to CPL 3", "ms", &user_mode).goals(None, 5.0));
    }
    figures.push(
        Figure::new("cold: VM create to first Python result", "ms", &result).goals(None, 150.0),
    );
    Ok(figures)
}

fn template(setting: &Setting<'_>) -> Result<Box<dyn Template>, Failure> {
    setting.engine.live_template(DEFAULT_MEMORY_MIB)
}

/// Forks of a live template, to the result of `print(1)`.
pub fn fork(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let template = template(setting)?;
    let mut samples = Vec::new();
    for _ in 0..setting.runs(200) {
        // A pool has a blank process waiting; give it the time to be.
        setting.engine.backend().prepare();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let began = Instant::now();
        let mut machine = template.fork(Limits::NONE)?;
        let guest = first_result(machine.as_mut())?;
        samples.push(ms_since(began));
        drop(guest);
    }
    Ok(vec![
        Figure::new("fork: live template to result of print(1)", "ms", &samples).goals(6.0, 10.0),
    ])
}

/// Round trips of an execution in a warm VM, beside a Python process doing the same.
pub fn exec(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let template = template(setting)?;
    let mut machine = template.fork(Limits::NONE)?;
    let mut guest = first_result(machine.as_mut())?;
    let mut python = PythonProcess::start("print(1)")?;
    let (mut samples, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs(2000) {
        let began = Instant::now();
        output_of(&mut guest, "print(1)")?;
        samples.push(ms_since(began));
        if let Some(python) = &mut python {
            let began = Instant::now();
            python.round_trip("print(1)", "1\n".len())?;
            reference.push(ms_since(began));
        }
    }
    let reference_name = python.as_ref().map_or("", PythonProcess::name);
    Ok(vec![
        Figure::new("exec: round trip of print(1) in a warm VM", "ms", &samples)
            .goals(0.25, 1.0)
            .against(reference_name, &reference),
    ])
}

/// Idle forks alive at once, all of which still answer.
pub fn alive(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let template = template(setting)?;
    let mut machines = Vec::new();
    let began = Instant::now();
    for _ in 0..setting.runs(FORKS) {
        let mut machine = template.fork(Limits::NONE)?;
        let guest = first_result(machine.as_mut())?;
        machines.push((machine, guest));
    }
    let started_ms = ms_since(began) / machines.len() as f64;
    let mut answers = 0.0;
    for (_, guest) in &mut machines {
        if output_of(guest, "print(6 * 7)")? == "42\n" {
            answers += 1.0;
        }
    }
    Ok(vec![
        Figure::new(
            "alive: idle forks at once, all answering",
            "count",
            &[answers],
        )
        .at_least(setting.runs(FORKS) as f64),
        Figure::new(
            "alive: average time to start one of them",
            "ms",
            &[started_ms],
        ),
    ])
}

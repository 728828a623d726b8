//! Figures of the Linux guest.

use super::figure::Figure;
use super::memory::available_kib;
use super::{Setting, ms_since};
use crate::engine;
use crate::failure::Failure;
use crate::progress::Steps;
use std::time::Instant;
use ukernel_abi::message::{Exec, Mode, Outcome};
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{BlockingGuest as Guest, Event, Until};
use ukernel_machine::saved::Body;
use ukernel_machine::{Limits, Machine, MachineError, Template};
use ukernel_sandbox::SandboxConfig;
use ukernel_sandbox::backends::BackendType;
use ukernel_sandbox::engine::LinuxTemplates;

/// Forks at once, and clones whose memory is counted.
const FORKS: usize = 8;
const IDLE: usize = 10;

/// All of them.
pub fn linux(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let options = engine::options(BackendType::DEFAULT_ORDER.to_vec())?;
    if options.probe.find_qemu().is_none() {
        eprintln!("linux: not measured: no qemu-system-x86_64 on PATH");
        return Ok(Vec::new());
    }
    let memory_mib = SandboxConfig::default().for_linux().machine_mib();
    let stored = LinuxTemplates::new(options, memory_mib).open(None, &Steps::new())?;
    let template = stored.template.as_ref();
    let mut figures = vec![clone(setting, template)?];
    figures.extend(work(setting, template)?);
    figures.push(forks(setting, template)?);
    figures.push(memory(template)?);
    Ok(figures)
}

/// A machine whose guest is greeted.
fn start(template: &dyn Template) -> Result<(Box<dyn Machine>, Guest), MachineError> {
    let mut machine = template.fork(Limits::NONE)?;
    let guest = Guest::greet(machine.connect()?)?;
    Ok((machine, guest))
}

/// Runs something that must print this; nothing is looked at if it is empty.
fn expect(guest: &mut Guest, mode: Mode, source: &str, output: &str) -> Result<(), MachineError> {
    let exec = Exec {
        mode,
        ..Exec::program("bench.py", source)
    };
    let mut said = Vec::new();
    let ended = guest.exec(exec, &Until::default(), &out_of_reach(), &mut |event, _| {
        if let Event::Output(_, bytes) = event {
            said.extend(bytes);
        }
        Ok(())
    })?;
    let is_right = output.is_empty() || said == output.as_bytes();
    match ended.outcome {
        Outcome::Exited { code: 0, .. } if is_right => Ok(()),
        other => Err(MachineError::Unexpected(format!("{source}: {other:?}"))),
    }
}

fn clone(setting: &Setting<'_>, template: &dyn Template) -> Result<Figure, Failure> {
    let mut samples = Vec::new();
    for _ in 0..setting.runs(40) {
        let began = Instant::now();
        let (_machine, mut guest) = start(template)?;
        expect(&mut guest, Mode::Prompt, "print(1)", "1\n")?;
        samples.push(ms_since(began));
    }
    Ok(Figure::new("linux: clone to first print", "ms", &samples).goals(None, 150.0))
}

/// What one machine does, over and over.
fn work(setting: &Setting<'_>, template: &dyn Template) -> Result<Vec<Figure>, Failure> {
    let host = |error: std::io::Error| Failure::host(error, "free some space");
    let (mut machine, mut guest) = start(template)?;
    let (mut python, mut bash, mut program) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.runs(100) {
        let began = Instant::now();
        expect(&mut guest, Mode::Prompt, "print('hello')", "hello\n")?;
        python.push(ms_since(began));
        let began = Instant::now();
        expect(&mut guest, Mode::Shell, "ls /", "")?;
        bash.push(ms_since(began));
    }
    for _ in 0..setting.runs(20) {
        let began = Instant::now();
        expect(&mut guest, Mode::Program, "print(1)", "1\n")?;
        program.push(ms_since(began));
    }
    let (mut taken, mut restored) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs(30) {
        let dirty = "import os; data = os.urandom(1_000_000)";
        expect(&mut guest, Mode::Prompt, dirty, "")?;
        let folder = tempfile::tempdir().map_err(host)?;
        let began = Instant::now();
        machine.snapshot(&mut Body::create(folder.path())?)?;
        taken.push(ms_since(began));
        let began = Instant::now();
        let body = Body::open(folder.path())?;
        let mut back = template.restore(body, Limits::NONE)?;
        let mut guest = Guest::greet(back.connect()?)?;
        expect(&mut guest, Mode::Prompt, "print(len(data))", "1000000\n")?;
        restored.push(ms_since(began));
    }
    Ok(vec![
        Figure::new("linux: print in the lasting Python", "ms", &python).goals(None, 5.0),
        Figure::new("linux: ls / in the lasting bash", "ms", &bash).goals(None, 60.0),
        Figure::new("linux: a Python program of its own", "ms", &program),
        Figure::new("linux: snapshot with 1 MB dirtied", "ms", &taken).goals(None, 100.0),
        Figure::new("linux: rollback to first print", "ms", &restored).goals(None, 350.0),
    ])
}

fn forks(setting: &Setting<'_>, template: &dyn Template) -> Result<Figure, Failure> {
    let mut samples = Vec::new();
    for _ in 0..setting.runs(20) {
        let began = Instant::now();
        std::thread::scope(|scope| -> Result<(), MachineError> {
            let fork = || {
                let (machine, mut guest) = start(template)?;
                expect(&mut guest, Mode::Prompt, "print(1)", "1\n")?;
                Ok((machine, guest))
            };
            let forks: Vec<_> = (0..FORKS).map(|_| scope.spawn(fork)).collect();
            let mut machines = Vec::new();
            for fork in forks {
                let forked: Result<_, MachineError> = fork
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                machines.push(forked?);
            }
            samples.push(ms_since(began));
            Ok(())
        })?;
    }
    let name = format!("linux: {FORKS} forks, each to its first print");
    Ok(Figure::new(name, "ms", &samples).goals(None, 900.0))
}

/// What the host has less of for each clone that has printed and waits.
fn memory(template: &dyn Template) -> Result<Figure, Failure> {
    let before = available_kib()?;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let (machine, mut guest) = start(template)?;
        expect(&mut guest, Mode::Prompt, "print(1)", "1\n")?;
        idle.push((machine, guest));
    }
    let each = (before - available_kib()?) / IDLE as f64 / 1024.0;
    Ok(Figure::new("linux: memory of an idle clone", "MiB", &[each]).goals(45.0, None))
}

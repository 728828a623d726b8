//! Running code in a guest.

use crate::Behaviour;
use crate::ground::{DONE, Ground, interrupt, run, value};
use std::time::Duration;
use ukernel_abi::message::{Mode, Outcome, Stream};
use ukernel_machine::BackendKind;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_machine_boots_and_greets", boots_and_greets),
    ("a_program_prints", prints),
    ("output_comes_in_order", output_in_order),
    ("much_output_arrives_whole", much_output),
    ("one_large_write_arrives_whole", one_large_write),
    ("state_stays_between_programs", state_stays),
    ("an_expression_has_a_value", expression_value),
    ("an_exception_is_an_outcome", exception),
    ("a_program_may_exit_with_a_code", exit_code),
    ("a_long_source_runs", long_source),
    ("sleeping_takes_its_time", sleeping),
    ("a_program_that_waits_is_interrupted", interrupted_waiting),
    (
        "a_program_that_computes_is_interrupted",
        interrupted_computing,
    ),
    ("machines_know_nothing_of_each_other", isolated),
];

fn boots_and_greets(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    assert!(guest.name().starts_with("ukernel/"), "{}", guest.name());
    guest.ping(Duration::from_secs(60)).expect("a pong");
    assert!(machine.process_id() > 0);
    let stats = machine.stats().expect("stats");
    assert!(
        stats.pss_bytes.is_some_and(|bytes| bytes > 1 << 20),
        "{stats:?}"
    );
}

fn prints(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let ran = run(&mut guest, "print('hello')");
    assert_eq!(ran.outcome, DONE);
    assert_eq!(ran.text(Stream::Stdout), "hello\n");
}

fn output_in_order(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import sys\n\
                for n in range(20):\n    \
                    print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)\n";
    let ran = run(&mut guest, code);
    let all: String = ran.pieces.iter().map(|(_, text)| text.as_str()).collect();
    let expected: String = (0..20).map(|n| format!("{n}\n")).collect();
    assert_eq!(all, expected);
    assert!(ran.text(Stream::Stderr).starts_with("1\n3\n"), "{ran:?}");
}

fn much_output(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let ran = run(
        &mut guest,
        "for n in range(3000): print(str(n) + '.' * 1000)",
    );
    let text = ran.text(Stream::Stdout);
    assert_eq!(text.lines().count(), 3000);
    for (n, line) in text.lines().enumerate() {
        assert!(line.starts_with(&format!("{n}.")), "{n}: {line}");
    }
}

fn state_stays(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    assert_eq!(run(&mut guest, "x = 40").outcome, DONE);
    assert_eq!(run(&mut guest, "def f(): return x + 2").outcome, DONE);
    assert_eq!(value(&mut guest, "f()"), "42");
}

fn expression_value(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    assert_eq!(value(&mut guest, "[1, 'two']"), "[1, 'two']");
}

fn exception(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let ran = run(&mut guest, "y = 1\nraise KeyError('missing')");
    match &ran.outcome {
        Outcome::Exception { kind, message } => {
            assert_eq!(kind, "KeyError");
            assert!(message.contains("missing"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(ran.text(Stream::Stderr).contains("KeyError"), "{ran:?}");
    assert_eq!(value(&mut guest, "y"), "1", "the state is kept");
}

fn exit_code(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let ran = run(&mut guest, "z = 5\nimport sys; sys.exit(3)");
    let expected = Outcome::Exited {
        code: 3,
        value: None,
    };
    assert_eq!(ran.outcome, expected);
    assert_eq!(value(&mut guest, "z"), "5", "the state is kept");
}

fn long_source(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = format!("# {}\nprint('end')", "long ".repeat(80_000));
    assert_eq!(run(&mut guest, &code).text(Stream::Stdout), "end\n");
}

fn sleeping(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import time\n\
                m, w = time.monotonic(), time.time()\n\
                time.sleep(0.3)\n\
                m, w = time.monotonic() - m, time.time() - w\n";
    let began = std::time::Instant::now();
    assert_eq!(run(&mut guest, code).outcome, DONE);
    let took = began.elapsed().as_secs_f64();
    for clock in ["m", "w"] {
        let seconds: f64 = value(&mut guest, clock).parse().expect("a number");
        assert!(
            seconds >= 0.299 && seconds <= took * 1.01,
            "{clock}: {seconds} of {took}"
        );
    }
}

fn isolated(ground: &Ground) {
    let (mut one, mut first) = ground.boot();
    let (_two, mut second) = ground.boot();
    assert_eq!(
        run(&mut first, "mine = 1\nopen('/tmp/mine', 'w').write('x')").outcome,
        DONE
    );
    let ran = run(&mut second, "mine");
    assert!(matches!(&ran.outcome, Outcome::Exception { kind, .. } if kind == "NameError"));
    assert!(second.read_file("/tmp/mine", 10).is_err());
    one.kill().expect("kill");
    assert_eq!(value(&mut second, "1 + 1"), "2", "and lives on");
}

fn interrupted_waiting(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    for wait in [
        "import time; x = 41; time.sleep(1000)",
        "import asyncio; x = 41; asyncio.run(asyncio.sleep(1000))",
        "import ukernel; x = 41; ukernel.sleep(1000)",
    ] {
        let outcome =
            interrupt(machine.as_mut(), &mut guest, wait, Mode::Program).expect("it ends");
        assert_eq!(outcome, Outcome::Interrupted, "{wait}");
        assert_eq!(value(&mut guest, "x + 1"), "42");
    }
}

fn interrupted_computing(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    if ground.backend.kind() != BackendKind::Kvm {
        assert!(
            !machine.interrupt().expect("an answer"),
            "it says it cannot"
        );
        return;
    }
    for endless in [
        "x = 41\nwhile True: pass",
        "x = 41\nwhile True: sum(range(1000))",
        "x = 41\nimport re; re.match('(a+)+$', 'a' * 60 + 'b')",
    ] {
        let outcome =
            interrupt(machine.as_mut(), &mut guest, endless, Mode::Program).expect("it ends");
        assert_eq!(outcome, Outcome::Interrupted, "{endless}");
        assert_eq!(value(&mut guest, "x + 1"), "42");
    }
    // One that comes when nothing runs harms nobody.
    assert!(machine.interrupt().expect("an answer"));
    assert_eq!(value(&mut guest, "x + 1"), "42");
}

/// More than all the buffers on the way hold together.
fn one_large_write(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let ran = run(&mut guest, "print('y' * (5 << 20))");
    assert_eq!(ran.outcome, DONE);
    assert_eq!(ran.text(Stream::Stdout).len(), (5 << 20) + 1);
}

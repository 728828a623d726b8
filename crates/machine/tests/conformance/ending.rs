//! Programs that end more than themselves.

use crate::Behaviour;
use crate::ground::{Ground, LONG, greet, run, try_run};
use ukernel_abi::message::{Mode, Outcome};
use ukernel_machine::MachineError;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_program_may_end_its_runtime", runtime_ended),
    ("deep_recursion_does_not_end_the_machine", recursion),
];

fn runtime_ended(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    let ran = run(&mut guest, "import os; os._exit(3)");
    // WASI 0.2 hands on whether an exit was a success, not its code.
    assert!(
        matches!(ran.outcome, Outcome::RuntimeExited { code: 1 | 3 }),
        "{ran:?}"
    );
    match try_run(&mut guest, "1", LONG, Mode::Prompt) {
        Ok(ran) => assert!(matches!(ran.outcome, Outcome::Trapped { .. }), "{ran:?}"),
        Err(error) => assert!(matches!(error, MachineError::Refused(_)), "{error}"),
    }
    guest.ping(LONG).expect("the kernel lives on");
    drop(guest);
    let channel = machine.connect().expect("a channel");
    let greeting = crate::ground::Guest::greet(channel);
    assert!(greeting.is_err(), "a runtime that is gone was called ready");
}

fn recursion(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    let ran = run(&mut guest, "def f(n): return f(n + 1)\nf(0)");
    assert!(
        matches!(&ran.outcome, Outcome::Exception { kind, .. } if kind == "RecursionError"),
        "{:?}",
        ran.outcome
    );
    drop(guest);
    guest = greet(machine.as_mut());
    guest.ping(LONG).expect("it lives on");
}

//! What a program asks the host for.

use crate::Behaviour;
use crate::ground::{Ground, Guest, LONG, greet, interrupt_after, program};
use std::time::{Duration, Instant};
use ukernel_abi::message::{Exec, MAX_CALL_BYTES, Outcome, SessionToken, Stream};
use ukernel_machine::calls::{CallResult, HostCall};
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{Ended, Event, Until};
use ukernel_machine::{Limits, Machine, MachineError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_call_is_answered_with_the_token_it_was_given", answered),
    ("a_refused_call_is_an_exception_that_says_why", refused),
    ("long_calls_cross_whole_and_leave_nothing_behind", long),
    ("a_payload_that_is_too_long_is_refused_inside", too_long),
    ("what_a_call_carries_is_not_among_the_files", unseen),
    ("without_a_token_there_are_no_calls", no_token),
    (
        "an_interrupt_reaches_a_program_that_waits_for_an_answer",
        interrupted,
    ),
    ("an_answer_nobody_waits_for_is_passed_over", late),
    ("tasks_call_side_by_side", side_by_side),
];

const TOKEN: SessionToken = [42; 32];

/// Runs code, with `answer` for its calls. What it printed, and how it ended.
fn run(
    guest: &mut Guest,
    code: &str,
    token: Option<SessionToken>,
    limit: Duration,
    answer: impl FnMut(HostCall, &Answers) + Send,
) -> Result<(String, Ended), MachineError> {
    let until = Until {
        deadline: Some(Instant::now() + limit),
        ..Until::default()
    };
    run_until(guest, code, token, &until, answer)
}

fn run_until(
    guest: &mut Guest,
    code: &str,
    token: Option<SessionToken>,
    until: &Until,
    mut answer: impl FnMut(HostCall, &Answers) + Send,
) -> Result<(String, Ended), MachineError> {
    let exec = Exec {
        token,
        ..program(guest, code)
    };
    let mut printed = Vec::new();
    let ended = guest.exec(exec, until, &out_of_reach(), &mut |event, handles| {
        match event {
            Event::Call(call) => answer(call, &Answers(handles.answers.clone())),
            Event::Output(Stream::Stdout, bytes) => printed.extend(bytes),
            _ => {}
        }
        Ok(())
    })?;
    Ok((String::from_utf8_lossy(&printed).into_owned(), ended))
}

/// Sends answers while the execution is followed.
struct Answers(ukernel_machine::guest::Answers);

impl Answers {
    fn push(&self, number: u32, answer: CallResult) {
        let answers = self.0.clone();
        tokio::spawn(async move { answers.answer(number, answer).await });
    }
}

/// Two interpreters, or many copies of a long answer, need more memory than other tests do.
fn boot_large(ground: &Ground) -> (Box<dyn Machine>, Guest) {
    let mut machine = ground.machine_with(512, Limits::NONE);
    let guest = greet(machine.as_mut());
    (machine, guest)
}

fn answered(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code =
        "import ukernel\nfor n in range(3): print(ukernel.call('double', b'%d' % n).decode())";
    let (printed, _) = run(&mut guest, code, Some(TOKEN), LONG, |call, answers| {
        assert_eq!((call.name.as_str(), call.token), ("double", TOKEN));
        let number: u32 = String::from_utf8_lossy(&call.payload)
            .parse()
            .expect("a number");
        answers.push(call.number, Ok((2 * number).to_string().into_bytes()));
    })
    .expect("it ends");
    assert_eq!(printed, "0\n2\n4\n");
}

fn refused(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let (_, ended) = run(
        &mut guest,
        "import ukernel; ukernel.call('x')",
        Some(TOKEN),
        LONG,
        |call, answers| answers.push(call.number, Err("too dear".to_owned())),
    )
    .expect("it ends");
    let Outcome::Exception { kind, message } = ended.outcome else {
        panic!("{ended:?}");
    };
    assert_eq!((kind.as_str(), message.as_str()), ("HostError", "too dear"));
}

fn long(ground: &Ground) {
    let (_machine, mut guest) = boot_large(ground);
    let code = "import ukernel, hashlib\n\
        sent = bytes(range(256)) * 4096 * 16\n\
        got = ukernel.call('echo', sent)\n\
        print(len(got), got == sent)\n\
        for n in range(200): got = ukernel.call('echo', sent[:2**20])\n\
        print(len(got))";
    let (printed, ended) = run(&mut guest, code, Some(TOKEN), LONG, |call, answers| {
        answers.push(call.number, Ok(call.payload));
    })
    .expect("it ends");
    assert_eq!(
        printed,
        format!("{MAX_CALL_BYTES} True\n1048576\n"),
        "{ended:?}"
    );
}

fn too_long(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import ukernel\n\
        for arguments in (('x', bytes(2**24 + 1)), ('', b''), ('n' * 65, b'')):\n\
        \x20   try: ukernel.call(*arguments)\n\
        \x20   except ukernel.HostError as error: print(error)";
    let (printed, _) = run(&mut guest, code, Some(TOKEN), LONG, |call, _| {
        panic!("{} crossed", call.name)
    })
    .expect("it ends");
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert!(printed.starts_with("a host call carries at most 16 MiB\n"));
}

/// Another task looks at every file while a call is under way.
fn unseen(ground: &Ground) {
    let (_machine, mut guest) = boot_large(ground);
    let code = "import os, ukernel\n\
        look = 'import os; print(*(n for f in os.walk(\"/\") for n in f[2] if n != \"look.py\"), \"looked\")'\n\
        open('/look.py', 'w').write(look)\n\
        task = ukernel.spawn('/look.py')\n\
        print(ukernel.call('x', b'secret'))\n\
        ukernel.join(task)";
    let mut asked = None;
    let (printed, _) = run(&mut guest, code, Some(TOKEN), LONG, |call, answers| {
        asked = Some(call.payload.clone());
        answers.push(call.number, Ok(b"answer".to_vec()));
    })
    .expect("it ends");
    assert_eq!(asked.as_deref(), Some(&b"secret"[..]));
    assert_eq!(printed, "looked\nb'answer'\n");
}

fn no_token(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import ukernel; ukernel.call('x')";
    let (_, ended) = run(&mut guest, code, None, LONG, |_, _| panic!("a call")).expect("it ends");
    assert!(
        matches!(ended.outcome, Outcome::Exception { .. }),
        "{ended:?}"
    );
}

fn interrupted(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import ukernel; x = 1; ukernel.call('x')";
    let until = interrupt_after(Duration::from_millis(500));
    let (_, ended) = run_until(&mut guest, code, Some(TOKEN), &until, |_, _| {}).expect("it ends");
    assert_eq!(ended.outcome, Outcome::Interrupted);
    let (printed, _) = run(&mut guest, "print(x)", None, LONG, |_, _| {}).expect("state is kept");
    assert_eq!(printed, "1\n");
}

fn late(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import ukernel; print(ukernel.call('x'))";
    let (printed, _) = run(&mut guest, code, Some(TOKEN), LONG, |call, answers| {
        answers.push(call.number + 7, Ok(b"nobody's".to_vec()));
        answers.push(call.number, Ok(b"a".to_vec()));
        answers.push(call.number, Ok(b"b".to_vec()));
    })
    .expect("it ends");
    assert_eq!(printed, "b'a'\n");
}

fn side_by_side(ground: &Ground) {
    let (_machine, mut guest) = boot_large(ground);
    let child = "import sys, ukernel; print(ukernel.call(sys.argv[1]))";
    guest
        .write_file("/child.py", child.as_bytes())
        .expect("a file");
    let code = "import ukernel\n\
        task = ukernel.spawn('/child.py', 'one')\n\
        print(ukernel.call('two'))\n\
        ukernel.join(task)";
    let mut waiting = Vec::new();
    // Both are there before either is answered.
    let (printed, _) = run(&mut guest, code, Some(TOKEN), LONG, |call, answers| {
        waiting.push(call);
        if waiting.len() == 2 {
            for call in waiting.drain(..) {
                answers.push(call.number, Ok(call.name.into_bytes()));
            }
        }
    })
    .expect("it ends");
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["b'one'", "b'two'"]);
}

//! Commands of the shell, over the files Python has.

use crate::Behaviour;
use crate::ground::Guest;
use crate::ground::{DONE, Ground, Inside, LONG, Ran, fork, interrupt, run, try_run, value};
use std::time::{Duration, Instant};
use ukernel_abi::message::{Mode, Outcome, Stream};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("shell_commands_run", commands),
    ("shell_and_python_share_files", files_shared),
    ("shell_and_python_share_their_folder", folder_shared),
    ("shell_state_stays_and_is_forked", state_stays),
    ("shell_commands_fail_clearly", failures),
    ("shell_loops_and_sleeps_are_interrupted", interrupted),
    ("shell_answers_soon", latency),
];

fn shell(guest: &mut Guest, commands: &str) -> Ran {
    try_run(guest, commands, LONG, Mode::Shell).expect("the commands end")
}

fn says(guest: &mut Guest, commands: &str, expected: &str) {
    let ran = shell(guest, commands);
    assert_eq!(ran.text(Stream::Stdout), expected, "{commands}: {ran:?}");
    assert_eq!(ran.outcome, DONE, "{commands}: {ran:?}");
}

fn commands(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let guest = &mut guest;
    says(guest, "mkdir -p /tmp/w && cd /tmp/w && pwd", "/tmp/w\n");
    says(
        guest,
        "printf 'b 2\\na 1\\n' > t; sort t | head -n 1",
        "a 1\n",
    );
    says(guest, "grep -n a t | cut -d: -f1", "2\n");
    says(guest, "sed s/a/z/ t | awk '{n += $2} END {print n}'", "3\n");
    says(guest, "find . -name 't*' | xargs cat | tail -n 1", "a 1\n");
    says(guest, "echo '{\"a\": [1, 2]}' | jq '.a[1]'", "2\n");
    says(
        guest,
        "for i in *; do echo \"$i $((6 * 7))\"; done",
        "t 42\n",
    );
    says(guest, "cat <<E | tr a-z A-Z | uniq\n$(echo hé)\nE", "Hé\n");
    says(guest, "python3 -c 'print(6 * 7)' | cat", "42\n");
    says(
        guest,
        "echo 'import sys; print(sys.argv)' > s.py; python3 s.py a",
        "['s.py', 'a']\n",
    );
}

fn files_shared(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let made = "import os; os.makedirs('/tmp/d')\n\
                open('/tmp/d/x', 'wb').write(bytes(range(256)))";
    assert_eq!(run(&mut guest, made).outcome, DONE);
    says(&mut guest, "ls /tmp/d; cat /tmp/d/x > /tmp/d/y", "x\n");
    let same = "open('/tmp/d/y', 'rb').read() == bytes(range(256))";
    assert_eq!(value(&mut guest, same), "True");
}

fn folder_shared(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let moved = "import os; os.chdir('/tmp')";
    assert_eq!(run(&mut guest, moved).outcome, DONE);
    says(&mut guest, "pwd; cd /", "/tmp\n");
    assert_eq!(value(&mut guest, "os.getcwd()"), "'/'");
}

fn state_stays(ground: &Ground) {
    let (machine, mut guest) = ground.boot();
    says(
        &mut guest,
        "x=1; f() { echo f$1; }; mkdir /tmp/e; cd /tmp/e",
        "",
    );
    says(&mut guest, "echo $x; f 2", "1\nf2\n");
    drop(guest);
    let template = machine.into_template().expect("a template");
    let (_machine, mut guest) = fork(template.as_ref());
    says(&mut guest, "echo $x; f 2; pwd", "1\nf2\n/tmp/e\n");
}

fn failures(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let everywhere = [
        ("exit 7", 7, ""),
        ("nosuch", 127, "command not found"),
        ("if", 2, "bash:"),
        ("cat /nosuch", 1, "o such file"),
    ];
    // A small shell says what it has not; a real one has it.
    let small = [
        ("curl x", 127, "not available in this guest"),
        ("sleep 1 &", 1, "not available in this guest"),
        ("f() { f; }; f", 1, ""),
    ];
    let small = small
        .into_iter()
        .filter(|_| ground.inside == Inside::Ukernel);
    for (commands, expected, why) in everywhere.into_iter().chain(small) {
        let ran = shell(&mut guest, commands);
        assert!(
            matches!(ran.outcome, Outcome::Exited { code, .. } if code == expected),
            "{commands}: {ran:?}"
        );
        assert!(
            ran.text(Stream::Stderr).contains(why),
            "{commands}: {ran:?}"
        );
    }
    says(&mut guest, "echo lives", "lives\n");
}

fn interrupted(ground: &Ground) {
    let (machine, mut guest) = ground.boot();
    let (reach, _machine) = crate::ground::reach(machine);
    // A loop that never waits is interrupted only where the machine can do it.
    let loops = ground.interrupts_what_computes();
    let endless = [
        ("kept=1; sleep 1000", true),
        ("while true; do :; done", loops),
    ];
    for (commands, _) in endless.iter().filter(|(_, possible)| *possible) {
        let outcome = interrupt(&mut guest, &reach, commands, Mode::Shell);
        let outcome = outcome.expect("it ends");
        assert_eq!(outcome, Outcome::Interrupted, "{commands}");
    }
    let started = Instant::now();
    says(&mut guest, "sleep 0.3; echo $kept", "1\n");
    assert!(started.elapsed() >= Duration::from_millis(300));
}

/// Says the median, for the documents; the bound is one no host should meet.
fn latency(ground: &Ground) {
    let booting = Instant::now();
    let (_machine, mut guest) = ground.boot();
    eprintln!("boot and greeting: {:?}", booting.elapsed());
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let started = Instant::now();
            says(&mut guest, "echo hi", "hi\n");
            started.elapsed()
        })
        .collect();
    took.sort();
    eprintln!("echo hi: {:?} in the median", took[took.len() / 2]);
    assert!(took[took.len() / 2] < LONG / 20);
}

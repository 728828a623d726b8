//! Standard input, and clients that do not wait for the end.

use crate::desk::Desk;
use crate::ground::{Behaviour, Ran, Script, home, ukernel};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("input_reaches_a_program", program),
    ("input_that_cannot_be_read_has_ended", unreadable),
    ("input_reaches_a_session_and_its_shell", session),
    ("input_that_never_ends_stops_nobody", endless),
    ("much_input_arrives_whole", much),
    ("a_flood_does_not_hide_the_time_limit", flood),
    ("a_client_that_hangs_up_at_once_ends_its_loop", hung_up),
];

/// Runs a command with this input.
fn feed(mut command: Command, input: &[u8]) -> Ran {
    let mut child = piped(&mut command);
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // A program that does not read all of it is none of ours.
        let _ = stdin.write_all(&input);
    });
    let ran = child.wait_with_output().expect("it ends").into();
    writer.join().expect("written");
    ran
}

fn piped(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn run(script: &Script, options: &[&str]) -> Command {
    let path = script.path();
    let words: Vec<&str> = ["run", &path].iter().chain(options).copied().collect();
    ukernel(&home(), &words)
}

fn program() {
    let script = Script::new("print(int(input()) + 1)");
    assert_eq!(feed(run(&script, &[]), b"41\n").expect(0).text(), "42\n");
    let ran = feed(run(&script, &[]), b"").expect(1);
    assert!(ran.stderr.contains("EOFError"), "{}", ran.stderr);
    let script = Script::new("import sys\nfor line in sys.stdin: print(line.strip()[::-1])");
    assert_eq!(
        feed(run(&script, &[]), b"ab\ncd\n").expect(0).text(),
        "ba\ndc\n"
    );
}

/// What cannot be read, a folder here, is an input that has ended.
fn unreadable() {
    let script = Script::new("import sys; print(repr(sys.stdin.read()))");
    let folder = std::fs::File::open("/").expect("a folder");
    let ran: Ran = run(&script, &[])
        .stdin(folder)
        .output()
        .expect("it ends")
        .into();
    assert_eq!(ran.expect(0).text(), "''\n");
}

fn session() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let command = |words: &[&str]| {
        let words: Vec<&str> = ["session"].iter().chain(words).copied().collect();
        ukernel(desk.home.path(), &words)
    };
    let exec = command(&["exec", "lab", "x = int(input()); print(x + 1)"]);
    assert_eq!(feed(exec, b"41\n").expect(0).text(), "42\n");
    let bash = command(&["bash", "lab", "sort | head -n 1"]);
    assert_eq!(feed(bash, b"b\na\n").expect(0).text(), "a\n");
    // With `-` the input is the code, and nothing is left of it for the program.
    let code = command(&["exec", "lab", "-"]);
    let ran = feed(code, b"import sys; print(x, repr(sys.stdin.read()))").expect(0);
    assert_eq!(ran.text(), "41 ''\n");
    let surroundings = [
        "exec",
        "lab",
        "import os; print(os.environ['A'], os.getcwd())",
        "--env",
        "A=b c",
        "--cwd",
        "/tmp",
    ];
    assert_eq!(
        feed(command(&surroundings), b"").expect(0).text(),
        "b c /tmp\n"
    );
}

/// Who does not read never waits for an input that stays open.
fn endless() {
    let script = Script::new("print(1)");
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let shell = [
        "session",
        "bash",
        "lab",
        "echo 1; cd /; ls /tmp | wc -l >/dev/null",
    ];
    for mut command in [run(&script, &[]), ukernel(desk.home.path(), &shell)] {
        let mut child = piped(&mut command);
        let stdin = child.stdin.take();
        let ran: Ran = child.wait_with_output().expect("it ends").into();
        drop(stdin);
        assert_eq!(ran.expect(0).text(), "1\n");
    }
}

fn much() {
    let script = Script::new("import sys, zlib; print(zlib.crc32(sys.stdin.buffer.read()))");
    let bytes: Vec<u8> = (0..20 << 20).map(|at: u32| (at % 251) as u8).collect();
    let ran = feed(run(&script, &[]), &bytes).expect(0);
    // CRC-32 of the same bytes by Python's zlib outside.
    assert_eq!(ran.text(), format!("{}\n", crc32(&bytes)));
}

/// CRC-32 as zlib has it (RFC 1952, section 8).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// Also where whoever reads the output stands still.
fn flood() {
    let script = Script::new("while True: print('x' * 1000)");
    for reads in [true, false] {
        let began = Instant::now();
        let mut child = piped(&mut run(&script, &["--timeout", "2"]));
        let mut stdout = child.stdout.take().expect("a pipe");
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while reads && stdout.read(&mut buffer).is_ok_and(|count| count > 0) {}
            stdout
        });
        let ran: Ran = child.wait_with_output().expect("it ends").into();
        ran.expect(124);
        assert!(
            began.elapsed() < Duration::from_secs(14),
            "{:?}",
            began.elapsed()
        );
        drop(reader.join());
    }
}

/// The loop ends soon: the next command does not wait for its time limit.
fn hung_up() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "y = 1"]);
    for _ in 0..4 {
        let mut child = desk.start(&["exec", "lab", "while True: pass"]);
        thread::sleep(Duration::from_millis(20));
        child.kill().expect("hung up");
        child.wait().expect("gone");
        let began = Instant::now();
        assert_eq!(desk.says(&["exec", "lab", "print(y)"]), "1\n");
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            began.elapsed()
        );
    }
}

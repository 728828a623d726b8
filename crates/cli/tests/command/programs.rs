//! Programs, good and bad.

use crate::ground::{Behaviour, Script, children_of, home, run_source, ukernel};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

pub const BEHAVIOURS: &[Behaviour] = &[
    (
        "output_goes_where_it_is_written",
        output_goes_where_it_is_written,
    ),
    ("arguments_reach_the_program", arguments_reach_the_program),
    (
        "an_exception_is_a_traceback_and_exit_1",
        an_exception_is_a_traceback_and_exit_1,
    ),
    (
        "a_syntax_error_is_shown_and_exit_1",
        a_syntax_error_is_shown_and_exit_1,
    ),
    ("sys_exit_gives_the_exit_code", sys_exit_gives_the_exit_code),
    ("sys_exit_with_text_prints_it", sys_exit_with_text_prints_it),
    (
        "an_endless_loop_ends_at_the_limit",
        an_endless_loop_ends_at_the_limit,
    ),
    ("a_sleep_ends_at_the_limit", a_sleep_ends_at_the_limit),
    (
        "a_huge_string_is_an_exception",
        a_huge_string_is_an_exception,
    ),
    (
        "a_memory_hog_is_told_the_limit",
        a_memory_hog_is_told_the_limit,
    ),
    (
        "recursion_to_death_is_survived",
        recursion_to_death_is_survived,
    ),
    (
        "a_hundred_megabytes_are_streamed",
        a_hundred_megabytes_are_streamed,
    ),
    (
        "output_that_is_not_utf8_is_unchanged",
        output_that_is_not_utf8_is_unchanged,
    ),
    (
        "output_comes_while_the_program_runs",
        output_comes_while_the_program_runs,
    ),
    ("a_closed_pipe_ends_the_run", a_closed_pipe_ends_the_run),
    ("ctrl_c_ends_the_vm", ctrl_c_ends_the_vm),
    (
        "the_library_and_packages_are_there",
        the_library_and_packages_are_there,
    ),
    ("asyncio_works", asyncio_works),
    ("sockets_are_refused", sockets_are_refused),
    (
        "the_file_tree_is_private_and_bounded",
        the_file_tree_is_private_and_bounded,
    ),
    ("tasks_talk_over_channels", tasks_talk_over_channels),
    (
        "two_runs_draw_different_random_numbers",
        two_runs_draw_different_random_numbers,
    ),
    ("the_clock_is_right", the_clock_is_right),
    ("json_is_one_document", json_is_one_document),
    ("an_empty_program_is_fine", an_empty_program_is_fine),
    ("a_large_program_is_fine", a_large_program_is_fine),
    (
        "bytes_that_are_no_program_are_a_syntax_error",
        bytes_that_are_no_program_are_a_syntax_error,
    ),
];

fn output_goes_where_it_is_written() {
    let ran = run_source("import sys\nprint('out')\nprint('err', file=sys.stderr)").expect(0);
    assert_eq!(ran.text(), "out\n");
    assert_eq!(ran.stderr, "err\n");
}

fn arguments_reach_the_program() {
    let ran = Script::new("import sys; print(sys.argv[1:])")
        .run_with(&[], &["-x", "two words", "é"])
        .expect(0);
    assert_eq!(ran.text(), "['-x', 'two words', 'é']\n");
}

fn an_exception_is_a_traceback_and_exit_1() {
    let ran = run_source("def f():\n    return {}['key']\nprint('before')\nf()").expect(1);
    assert_eq!(ran.text(), "before\n");
    assert!(
        ran.stderr
            .starts_with("Traceback (most recent call last):\n"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("return {}['key']") && ran.stderr.ends_with("KeyError: 'key'\n"),
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("program.py"),
        "only the program's own frames: {}",
        ran.stderr
    );
}

fn a_syntax_error_is_shown_and_exit_1() {
    let ran = run_source("x = (1,\nprint(").expect(1);
    assert!(
        ran.stderr.contains("SyntaxError") && ran.stderr.contains("line "),
        "{}",
        ran.stderr
    );
}

fn sys_exit_gives_the_exit_code() {
    for (source, code) in [("7", 7), ("0", 0), ("None", 0), ("True", 1), ("256 + 3", 3)] {
        run_source(format!("import sys; sys.exit({source})")).expect(code);
    }
}

fn sys_exit_with_text_prints_it() {
    let ran = run_source("import sys; sys.exit('gone wrong')").expect(1);
    assert_eq!(ran.stderr, "gone wrong\n");
}

fn an_endless_loop_ends_at_the_limit() {
    let ran = Script::new("print('on', flush=True)\nwhile True: pass")
        .run_with(&["--timeout", "1"], &[])
        .expect(124);
    assert_eq!(ran.text(), "on\n");
    assert!(ran.stderr.contains("time limit of 1 s"), "{}", ran.stderr);
}

fn a_sleep_ends_at_the_limit() {
    let ran = Script::new("import time; time.sleep(1000)").run_with(&["--timeout", "0.5"], &[]);
    ran.expect(124);
}

fn a_huge_string_is_an_exception() {
    // On a 32-bit Python the size does not even fit an index: OverflowError, not MemoryError.
    let ran = run_source("'x' * 10**12").expect(1);
    assert!(
        ran.stderr.contains("OverflowError") || ran.stderr.contains("MemoryError"),
        "{}",
        ran.stderr
    );
    let ran =
        run_source("try:\n    'x' * 2**31\nexcept (MemoryError, OverflowError): print('survived')")
            .expect(0);
    assert_eq!(ran.text(), "survived\n");
}

fn a_memory_hog_is_told_the_limit() {
    let hog = Script::new("held = []\nwhile True: held.append(bytes(1 << 20))");
    let ran = hog.run_with(&["--memory", "256"], &[]).expect(1);
    assert!(
        ran.stderr.contains("MemoryError") && ran.stderr.contains("out of memory, limit 256 MiB"),
        "{}",
        ran.stderr
    );
}

fn recursion_to_death_is_survived() {
    let ran =
        run_source("def f(): f()\ntry: f()\nexcept RecursionError: print('survived')").expect(0);
    assert_eq!(ran.text(), "survived\n");
    run_source("def f(): f()\nf()").expect(1);
}

fn a_hundred_megabytes_are_streamed() {
    let script = Script::new("line = 'x' * 999\nfor _ in range(100_000): print(line)");
    let path = script.path();
    let mut child = ukernel(&home(), &["run", &path])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut output = child.stdout.take().expect("its output");
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let count = output.read(&mut buffer).expect("output");
        if count == 0 {
            break;
        }
        assert!(
            buffer[..count]
                .iter()
                .all(|byte| *byte == b'x' || *byte == b'\n')
        );
        total += count;
    }
    let peak = peak_kib(child.id());
    assert!(child.wait().expect("it ends").success());
    assert_eq!(total, 100_000_000);
    if let Some(peak) = peak {
        assert!(peak < 64 << 10, "the command held {peak} KiB");
    }
}

/// Largest resident size of a process so far, while it is there to be asked.
fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn output_that_is_not_utf8_is_unchanged() {
    let ran = run_source("import sys; sys.stdout.buffer.write(bytes(range(256)))").expect(0);
    assert_eq!(ran.stdout, (0..=255).collect::<Vec<u8>>());
}

fn output_comes_while_the_program_runs() {
    let script = Script::new("print('first', flush=True)\nwhile True: pass");
    let mut child = ukernel(&home(), &["run", &script.path()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "first\n");
    child.kill().expect("it is there");
    child.wait().expect("it ends");
}

fn a_closed_pipe_ends_the_run() {
    let script = Script::new("while True: print('y')");
    let mut child = ukernel(&home(), &["run", &script.path()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut first = [0; 2];
    child
        .stdout
        .take()
        .expect("its output")
        .read_exact(&mut first)
        .expect("some output");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

fn ctrl_c_ends_the_vm() {
    let script = Script::new("print('on', flush=True)\nwhile True: pass");
    let mut child = ukernel(&home(), &["run", &script.path()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    let machines = children_of(child.id());
    assert!(!machines.is_empty(), "the VM is a child process");
    let process = Pid::from_raw(child.id().try_into().expect("a process id")).expect("not zero");
    kill_process(process, Signal::INT).expect("a signal");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    for machine in machines {
        assert!(
            !Path::new(&format!("/proc/{machine}")).exists(),
            "VM process {machine} is left"
        );
    }
}

fn the_library_and_packages_are_there() {
    let source = "import json, re, csv, decimal, pathlib, zlib, tomllib, sqlite3, urllib.request, hashlib, uuid\n\
        import yaml, dateutil.parser, tabulate, more_itertools, jinja2\n\
        print(yaml.safe_load('a: [1, 2]'), jinja2.Template('{{ n }}').render(n=3))\n\
        print(dateutil.parser.parse('2020-02-03').year, list(more_itertools.chunked([1, 2, 3], 2)))\n\
        print(sqlite3.connect(':memory:').execute('select 6 * 7').fetchone()[0])\n\
        try: import ssl\n\
        except ModuleNotFoundError as error: print(error)\n";
    let ran = run_source(source).expect(0);
    let expected = "{'a': [1, 2]} 3\n2020 [[1, 2], [3]]\n42\nmodule 'ssl' is part of Python but not of this guest\n";
    assert_eq!(ran.text(), expected);
}

fn asyncio_works() {
    let source = "import asyncio, time\n\
        async def main():\n\
        \x20   began = time.monotonic()\n\
        \x20   await asyncio.gather(*(asyncio.sleep(0.2) for _ in range(10)))\n\
        \x20   print(time.monotonic() - began < 1.5)\n\
        \x20   try: await asyncio.wait_for(asyncio.sleep(100), 0.05)\n\
        \x20   except TimeoutError: print('timeout')\n\
        \x20   queue = asyncio.Queue()\n\
        \x20   async with asyncio.TaskGroup() as group:\n\
        \x20       group.create_task(queue.put(5))\n\
        \x20   print(await queue.get())\n\
        asyncio.run(main())\n\
        asyncio.run(main())\n";
    let ran = run_source(source).expect(0);
    assert_eq!(ran.text(), "True\ntimeout\n5\nTrue\ntimeout\n5\n");
}

fn sockets_are_refused() {
    let source = "import socket\n\
        for attempt in (lambda: socket.create_connection(('127.0.0.1', 80)), lambda: socket.socket().bind(('', 1))):\n\
        \x20   try: attempt(); print('connected')\n\
        \x20   except OSError as error: print('refused')\n";
    assert_eq!(run_source(source).expect(0).text(), "refused\nrefused\n");
}

fn the_file_tree_is_private_and_bounded() {
    let ran = run_source(
        "import os\n\
        print(sorted(os.listdir('/')))\n\
        os.makedirs('/a/b'); open('/a/b/f', 'w').write('text'); os.rename('/a/b/f', '/a/g')\n\
        print(open('/a/g').read(), os.path.getsize('/a/g'), os.listdir('/a'))\n\
        try:\n\
        \x20   with open('/big', 'wb') as file:\n\
        \x20       while True: file.write(bytes(1 << 20))\n\
        except OSError as error: print('full')\n\
        os.remove('/big'); open('/small', 'w').write('fits again'); print(open('/small').read())\n",
    );
    assert_eq!(
        ran.expect(0).text(),
        "['home', 'tmp']\ntext 4 ['b', 'g']\nfull\nfits again\n"
    );
}

fn tasks_talk_over_channels() {
    let ran = run_source(
        "import asyncio, ukernel\n\
        open('/child.py', 'w').write('import ukernel, sys\\nukernel.Channel(\"c\").send(sys.argv[1].encode())\\nsys.exit(5)')\n\
        channel = ukernel.Channel('c')\n\
        task = ukernel.spawn('/child.py', 'hello')\n\
        print(asyncio.run(channel.get()), ukernel.join(task))\n",
    );
    assert_eq!(ran.expect(0).text(), "b'hello' 5\n");
}

fn two_runs_draw_different_random_numbers() {
    let source =
        "import os, random, uuid\nprint(os.urandom(8).hex(), random.random(), uuid.uuid4())";
    let (one, other) = (
        run_source(source).expect(0).text(),
        run_source(source).expect(0).text(),
    );
    for (one, other) in one.split_whitespace().zip(other.split_whitespace()) {
        assert_ne!(one, other);
    }
}

fn the_clock_is_right() {
    let ran = run_source("import time; print(time.time())").expect(0);
    let theirs: f64 = ran.text().trim().parse().expect("a number");
    let ours = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    assert!((ours.as_secs_f64() - theirs).abs() < 30.0, "{theirs}");
}

fn json_is_one_document() {
    let script =
        Script::new("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)");
    let ran = script.run_with(&["--json"], &[]).expect(3);
    let document: serde_json::Value =
        serde_json::from_slice(&ran.stdout).expect("one JSON document");
    assert_eq!(document["exit_code"], 3);
    assert_eq!(document["stdout"], "out\n");
    assert_eq!(document["stderr"], "err\n");
    assert_eq!(document["outcome"], "exited");
}

fn an_empty_program_is_fine() {
    assert_eq!(run_source("").expect(0).text(), "");
}

fn a_large_program_is_fine() {
    let source = format!("data = '{}'\nprint(len(data))", "x".repeat(3 << 20));
    assert_eq!(
        run_source(source).expect(0).text(),
        format!("{}\n", 3 << 20)
    );
}

fn bytes_that_are_no_program_are_a_syntax_error() {
    for source in [&b"\xff\xfe\x00"[..], b"\0", b"print('\xe9')"] {
        let began = Instant::now();
        let ran = run_source(source).expect(1);
        assert!(
            ran.stderr.contains("SyntaxError"),
            "{source:?}: {}",
            ran.stderr
        );
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

//! What the host lets a guest use, and what happens at the end of it.

use crate::Behaviour;
use crate::ground::{DONE, Ground, Guest, LONG, greet, program, run, value};
use crate::hostile::connect;
use std::time::Instant;
use ukernel_abi::message::{
    Exec, GuestMessage, HostMessage, Limits, LogLevel, Outcome, PROTOCOL_VERSION, SpilledOutput,
    Stream,
};
use ukernel_machine::Machine;
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{Event, Until};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("limits_long_output_is_cut_and_whole_in_a_file", spilled),
    ("limits_both_streams_have_their_bound", both_streams),
    ("limits_output_as_long_as_allowed_is_sent", just_sent),
    ("limits_output_into_a_full_tree_ends_nothing", full_tree),
    ("limits_the_file_tree_doubles_to_its_end", tree_doubles),
    ("limits_files_end_where_memory_does", files_fill_memory),
    ("limits_memory_ends_with_memory_error", memory),
    ("limits_tasks_end_with_an_error", tasks),
    ("limits_new_ones_replace_the_old", replaced),
    ("limits_a_limit_below_use_only_stops_growth", below_use),
];

const MEBIBYTE: u64 = 1 << 20;

/// What a bounded program did.
struct Bounded {
    outcome: Outcome,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    logged: Vec<(LogLevel, String)>,
    spilled: Vec<SpilledOutput>,
}

fn run_bounded(guest: &mut Guest, code: &str, inline_output_bytes: u64) -> Bounded {
    let exec = Exec {
        inline_output_bytes,
        ..program(guest, code)
    };
    let until = Until {
        deadline: Some(Instant::now() + LONG),
        ..Until::default()
    };
    let (mut stdout, mut stderr, mut logged) = (Vec::new(), Vec::new(), Vec::new());
    let ended = guest
        .exec(exec, &until, &out_of_reach(), &mut |event, _| {
            match event {
                Event::Output(Stream::Stdout, bytes) => stdout.extend(bytes),
                Event::Output(Stream::Stderr, bytes) => stderr.extend(bytes),
                Event::Log(level, message) => logged.push((level, message)),
                _ => {}
            }
            Ok(())
        })
        .expect("the program ends");
    Bounded {
        outcome: ended.outcome,
        stdout,
        stderr,
        logged,
        spilled: ended.spilled,
    }
}

/// A fork of a fresh template with these limits.
fn limited(ground: &Ground, limits: Limits) -> (Box<dyn Machine>, Guest) {
    let template = ground.template("import ukernel");
    let mut machine = template.fork(limits).expect("a fork");
    let guest = greet(machine.as_mut());
    (machine, guest)
}

fn spilled(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "for n in range(40000): print('line', n)";
    let expected: String = (0..40_000).map(|n| format!("line {n}\n")).collect();
    for limit in [0, 1, 64 << 10] {
        let ran = run_bounded(&mut guest, code, limit);
        assert_eq!(ran.outcome, DONE);
        assert_eq!(ran.stdout, &expected.as_bytes()[..limit as usize]);
        assert_eq!(ran.stderr, b"");
        let [spilled] = &ran.spilled[..] else {
            panic!("{:?}", ran.spilled);
        };
        let length = expected.len() as u64;
        assert_eq!(spilled.stream, Stream::Stdout);
        assert_eq!((spilled.bytes, spilled.kept_bytes), (length, length));
        let kept = guest.read_file(&spilled.path, usize::MAX).expect("read");
        assert!(kept == expected.as_bytes(), "{} bytes", kept.len());
        let inside = format!("len(open('{}').read())", spilled.path);
        assert_eq!(value(&mut guest, &inside), length.to_string());
    }
}

fn both_streams(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let code = "import sys\nprint('o' * 999)\nprint('e' * 1999, file=sys.stderr)";
    let ran = run_bounded(&mut guest, code, 100);
    assert_eq!((ran.stdout.len(), ran.stderr.len()), (100, 100));
    let [stdout, stderr] = &ran.spilled[..] else {
        panic!("{:?}", ran.spilled);
    };
    assert_eq!((stdout.stream, stdout.bytes), (Stream::Stdout, 1000));
    assert_eq!((stderr.stream, stderr.bytes), (Stream::Stderr, 2000));
    let kept = guest.read_file(&stderr.path, usize::MAX).expect("read");
    assert_eq!(kept, ["e".repeat(1999).as_bytes(), b"\n"].concat());
    // The next execution starts anew.
    let ran = run_bounded(&mut guest, "print('short')", 100);
    assert_eq!((&ran.stdout[..], ran.spilled), (&b"short\n"[..], vec![]));
}

fn just_sent(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let ran = run_bounded(&mut guest, "print('x' * 99)", 100);
    assert_eq!((ran.stdout.len(), ran.spilled), (100, vec![]));
    let ran = run_bounded(&mut guest, "print('x' * 3000000)", u64::MAX);
    assert_eq!((ran.stdout.len(), ran.spilled), (3_000_001, vec![]));
}

/// Quota of at most `mebibytes`, half of that at first.
fn files(mebibytes: u64) -> Limits {
    Limits {
        files_bytes: mebibytes * MEBIBYTE / 2,
        max_files_bytes: mebibytes * MEBIBYTE,
        ..Limits::NONE
    }
}

fn full_tree(ground: &Ground) {
    let (_machine, mut guest) = limited(ground, files(2));
    let ran = run_bounded(&mut guest, "print('x' * 5000000)\ny = 1", 1000);
    assert_eq!(ran.outcome, DONE);
    assert_eq!(ran.stdout.len(), 1000);
    let [spilled] = &ran.spilled[..] else {
        panic!("{:?}", ran.spilled);
    };
    assert_eq!(spilled.bytes, 5_000_001);
    assert!(spilled.kept_bytes > MEBIBYTE && spilled.kept_bytes <= 2 * MEBIBYTE);
    let kept = guest.read_file(&spilled.path, usize::MAX).expect("read");
    assert_eq!(kept.len() as u64, spilled.kept_bytes);
    let ran = run_bounded(&mut guest, "print('x' * 5000)", 1000);
    assert_eq!((ran.spilled[0].bytes, ran.outcome), (5001, DONE));
    assert_eq!(value(&mut guest, "y"), "1");
}

fn tree_doubles(ground: &Ground) {
    let limits = Limits {
        files_bytes: MEBIBYTE,
        max_files_bytes: 8 * MEBIBYTE,
        ..Limits::NONE
    };
    let (_machine, mut guest) = limited(ground, limits);
    let code = "import os\n\
        f = os.open('/tmp/big', os.O_CREAT | os.O_RDWR)\n\
        count = 0\n\
        try:\n    while True: count += os.write(f, bytes(10000))\n\
        except OSError as error: print(count)\n\
        try:\n    with open('/tmp/other', 'w') as other: other.write('x' * 100000)\n\
        except OSError as error: print('full')\n";
    let ran = run_bounded(&mut guest, code, u64::MAX);
    assert_eq!(ran.outcome, DONE);
    // The last block is not used to its end.
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (count, rest) = said.split_once('\n').expect("two lines");
    let count: u64 = count.parse().expect("a number");
    assert!(count > 7 * MEBIBYTE && count < 8 * MEBIBYTE, "{count}");
    assert_eq!(rest, "full\n");
    let grown: Vec<_> = [2, 4, 8]
        .map(|size| (LogLevel::Info, format!("file tree grew to {size} MB")))
        .into();
    assert_eq!(ran.logged, grown);
    let ran = run(&mut guest, "os.remove('/tmp/big'); os.close(f)");
    assert_eq!(ran.outcome, DONE);
    assert_eq!(
        value(&mut guest, "open('/tmp/again', 'wb').write(bytes(7 << 20))"),
        (7 << 20).to_string()
    );
}

fn files_fill_memory(ground: &Ground) {
    // More than the VM has.
    let (_machine, mut guest) = limited(ground, files(4096));
    let code = "import os\n\
        f = open('/tmp/big', 'wb', buffering=0)\n\
        piece, count = bytes(100000), 0\n\
        try:\n    while True: count += f.write(piece)\n\
        except OSError as error: print('full')\n\
        made = 0\n\
        try:\n    while made < 300000:\n        os.link('/tmp/big', f'/tmp/{made}')\n        made += 1\n\
        except OSError as error: print(error.strerror)\n\
        f.close()\n";
    let ran = run(&mut guest, code);
    let said = ran.text(Stream::Stdout);
    assert_eq!(ran.outcome, DONE, "{ran:?}");
    assert!(said == "full\nNo space left on device\n", "{said}");
    assert_eq!(value(&mut guest, "count > 50 << 20"), "True");
    assert_eq!(
        guest.read_file("/tmp/big", 10).expect("it can be read"),
        [0; 10]
    );
    let code = "for name in os.listdir('/tmp'): os.remove(f'/tmp/{name}')";
    assert_eq!(run(&mut guest, code).outcome, DONE);
    guest.write_file("/tmp/again", &[1; 1000]).expect("write");
}

fn memory(ground: &Ground) {
    let limits = Limits {
        memory_bytes: 64 * MEBIBYTE,
        ..Limits::NONE
    };
    let (_machine, mut guest) = limited(ground, limits);
    let ran = run(
        &mut guest,
        "small = bytearray(5 << 20)\nx = bytearray(70 << 20)",
    );
    let Outcome::Exception { kind, .. } = &ran.outcome else {
        panic!("{ran:?}");
    };
    assert_eq!(kind, "MemoryError");
    assert_eq!(value(&mut guest, "len(small)"), (5 << 20).to_string());
}

fn tasks(ground: &Ground) {
    // Two interpreters need more memory than the other tests do.
    let limits = Limits {
        tasks: 2,
        ..Limits::NONE
    };
    let mut machine = ground.machine_with(512, limits);
    let mut guest = greet(machine.as_mut());
    guest
        .write_file("/tmp/task.py", b"import ukernel\nukernel.sleep(0.2)")
        .expect("write");
    let code = "import ukernel\n\
        first = ukernel.spawn('/tmp/task.py')\n\
        try: ukernel.spawn('/tmp/task.py')\n\
        except OSError as error: print(error)\n\
        print(ukernel.join(first))\n\
        print(ukernel.join(ukernel.spawn('/tmp/task.py')))\n";
    let ran = run_bounded(&mut guest, code, u64::MAX);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(said, "limit\n0\n0\n", "{:?}", ran.logged);
}

fn replaced(ground: &Ground) {
    let (mut machine, mut guest) = limited(ground, files(2));
    let code = "f = open('/tmp/f', 'wb', buffering=0)\ncount = 0\n\
        while count < 5 << 20: count += f.write(bytes(1 << 16))\n";
    let ran = run(&mut guest, code);
    assert!(matches!(ran.outcome, Outcome::Exception { .. }), "{ran:?}");
    drop(guest);
    let (mut channel, is_greeted) = connect(machine.as_mut());
    let mut send = |message| channel.send(&message);
    if !is_greeted {
        let version = PROTOCOL_VERSION;
        send(HostMessage::Hello { version });
    }
    send(HostMessage::Resume {
        entropy: [1; 32],
        wall_clock_ns: 1 << 60,
        instance: [7; 16],
        limits: files(20),
    });
    send(HostMessage::Exec {
        id: 1,
        exec: Exec {
            inline_output_bytes: 0,
            ..Exec::program("<test>", code)
        },
        source_bytes: code.len() as u64,
    });
    loop {
        match channel.receive() {
            GuestMessage::Done { outcome, .. } => return assert_eq!(outcome, DONE),
            GuestMessage::Hello { .. } | GuestMessage::Ready { .. } | GuestMessage::Log { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn below_use(ground: &Ground) {
    let limits = Limits {
        files_bytes: 0,
        max_files_bytes: 0,
        memory_bytes: 0,
        tasks: 0,
    };
    let template = ground.template("x = 'kept'\nopen('/tmp/f', 'w').write('kept')");
    let mut machine = template.fork(limits).expect("a fork");
    let mut guest = greet(machine.as_mut());
    assert_eq!(value(&mut guest, "x + open('/tmp/f').read()"), "'keptkept'");
    let ran = run(&mut guest, "open('/tmp/g', 'w')");
    assert!(matches!(ran.outcome, Outcome::Exception { .. }), "{ran:?}");
    let ran = run(&mut guest, "y = bytearray(50 << 20)");
    assert!(matches!(ran.outcome, Outcome::Exception { .. }), "{ran:?}");
    guest.ping(LONG).expect("it lives on");
}

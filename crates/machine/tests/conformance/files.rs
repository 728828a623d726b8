//! Files in and out of a guest.

use crate::Behaviour;
use crate::ground::{Ground, value};
use ukernel_abi::message::FileError;
use ukernel_machine::MachineError;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_file_comes_back_as_it_went", round_trip),
    ("a_mebibyte_comes_back_as_it_went", mebibyte),
    ("a_program_sees_the_host_s_file", seen_inside),
    ("bad_paths_are_refused", bad_paths),
];

fn round_trip(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    for content in [&b""[..], b"\0\xff", b"text\n"] {
        guest
            .write_file("/tmp/deep/er/file", content)
            .expect("write");
        assert_eq!(
            guest.read_file("/tmp/deep/er/file", 100).expect("read"),
            content
        );
    }
    assert_eq!(
        guest.read_file("/tmp/deep/er/file", 2).expect("read"),
        b"te"
    );
}

fn mebibyte(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let content: Vec<u8> = (0..(1_u32 << 18) + 1)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    guest.write_file("/tmp/large", &content).expect("write");
    let back = guest.read_file("/tmp/large", usize::MAX).expect("read");
    assert!(back == content, "{} bytes of {}", back.len(), content.len());
}

fn seen_inside(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    guest.write_file("/tmp/in", b"from outside").expect("write");
    assert_eq!(
        value(&mut guest, "open('/tmp/in').read()"),
        "'from outside'"
    );
    assert_eq!(
        value(&mut guest, "open('/tmp/out', 'w').write('x' * 70000)"),
        "70000"
    );
    assert_eq!(
        guest.read_file("/tmp/out", usize::MAX).expect("read").len(),
        70_000
    );
}

fn bad_paths(ground: &Ground) {
    let (_machine, mut guest) = ground.boot();
    let cause = |result: Result<(), MachineError>| match result {
        Err(MachineError::GuestFile { cause, .. }) => cause,
        other => panic!("{other:?}"),
    };
    for path in ["relative", ""] {
        assert_eq!(
            cause(guest.write_file(path, b"x")),
            FileError::BadPath,
            "{path:?}"
        );
    }
    let missing = guest.read_file("/nothing/here", 1).map(drop);
    assert_eq!(cause(missing), FileError::NotFound);
    assert_eq!(
        cause(guest.write_file("/tmp", b"x")),
        FileError::IsDirectory
    );
    guest.write_file("/tmp/file", b"x").expect("write");
    assert_eq!(
        cause(guest.write_file("/tmp/file/below", b"x")),
        FileError::NotDirectory
    );
    guest.ping(crate::ground::LONG).expect("it lives on");
}

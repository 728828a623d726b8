//! Small guests in 32-bit assembly, made into kernels, and VMs that run them.
#![allow(dead_code, reason = "every test file uses some of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use ukernel_vmm::{BootConfig, Launcher, LauncherOptions, VmProcess};

/// Where the code lies in the guest.
const LOAD_ADDRESS: u64 = 0x20_0000;

macro_rules! guest {
    ($name:ident, $start:ident, $end:ident, $($line:expr),+ $(,)?) => {
        std::arch::global_asm!(
            ".pushsection .rodata.guests,\"a\",@progbits",
            concat!(".globl ", stringify!($start)),
            concat!(stringify!($start), ":"),
            ".code32",
            $($line,)+
            ".code64",
            concat!(".globl ", stringify!($end)),
            concat!(stringify!($end), ":"),
            ".popsection",
        );
        unsafe extern "C" {
            static $start: u8;
            static $end: u8;
        }
        /// The code of this guest.
        pub fn $name() -> File {
            // SAFETY: the symbols enclose read-only data of this program.
            let code = unsafe {
                let start = &raw const $start;
                let length = (&raw const $end).offset_from(start);
                std::slice::from_raw_parts(start, usize::try_from(length).expect("in order"))
            };
            kernel(code)
        }
    };
}

guest!(
    echo,
    guest_echo_start,
    guest_echo_end,
    include_str!("../guests/echo.s")
);

guest!(
    spin,
    guest_spin_start,
    guest_spin_end,
    "2: inc eax",
    "jmp 2b",
);

guest!(halt, guest_halt_start, guest_halt_end, "2: hlt", "jmp 2b",);

/// A kernel file, ELF with a PVH note, that runs `code`.
pub fn kernel(code: &[u8]) -> File {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    const NOTE: u64 = HEADER + 2 * SEGMENT;
    const CODE: u64 = 0x1000;
    let mut elf = Vec::new();
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&[2, 0, 62, 0, 1, 0, 0, 0]);
    put(&LOAD_ADDRESS.to_le_bytes());
    put(&HEADER.to_le_bytes());
    put(&[0; 12]);
    put(&[64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let length = code.len() as u64;
    for (kind, flags, offset, address, bytes) in [
        (1u32, 7u32, CODE, LOAD_ADDRESS, length),
        (4, 4, NOTE, NOTE, 20),
    ] {
        put(&kind.to_le_bytes());
        put(&flags.to_le_bytes());
        for value in [offset, address, address, bytes, bytes, 4] {
            put(&value.to_le_bytes());
        }
    }
    for word in [4u32, 4, 18] {
        put(&word.to_le_bytes());
    }
    put(b"Xen\0");
    put(&u32::try_from(LOAD_ADDRESS).expect("low").to_le_bytes());
    elf.resize(usize::try_from(CODE).expect("small"), 0);
    elf.extend_from_slice(code);
    let mut file = memfd();
    file.write_all(&elf).expect("write the kernel");
    file
}

/// An empty file in memory.
pub fn memfd() -> File {
    let name = "test";
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
        .expect("memfd")
        .into()
}

/// A launcher, or `None` where this host cannot run VMs, with the reason printed.
pub fn launcher() -> Option<Launcher> {
    match Launcher::new(LauncherOptions::new(env!("CARGO_BIN_EXE_ukernel-vm"), [])) {
        Ok(launcher) => Some(launcher),
        Err(error) => {
            println!("SKIPPED: {error}");
            None
        }
    }
}

/// A VM that runs `kernel` in 128 MiB, and the host's end of its channel.
pub fn boot(launcher: &Launcher, kernel: &File) -> (VmProcess, UnixStream) {
    let (host, guest) = UnixStream::pair().expect("socket pair");
    host.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let mut vm = VmProcess::spawn(launcher).expect("spawn");
    vm.boot(BootConfig {
        kernel,
        image: None,
        memory_mib: 128,
        command_line: "",
        channel: Some(guest.into()),
    })
    .expect("boot");
    (vm, host)
}

/// Sends `bytes` to an echo guest and waits for them to come back.
pub fn round_trip(host: &mut UnixStream, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    host.write_all(bytes).expect("write to the guest");
    let mut back = vec![0; bytes.len()];
    host.read_exact(&mut back).expect("read from the guest");
    assert_eq!(back, bytes);
    started.elapsed()
}

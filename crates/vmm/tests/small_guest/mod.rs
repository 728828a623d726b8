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

guest!(
    speak_and_exit,
    guest_speak_start,
    guest_speak_end,
    "mov edx, 0x3f8",
    "mov al, 'h'",
    "out dx, al",
    "mov al, 'i'",
    "out dx, al",
    "mov edx, 0x604", // UserMode
    "mov eax, 1",
    "out dx, eax",
    "mov edx, 0x600", // idle for 2 ms
    "mov eax, 2000",
    "out dx, eax",
    "mov edx, 0x604", // Sealed
    "mov eax, 2",
    "out dx, eax",
    "mov edx, 0x1234", // no such port
    "in eax, dx",
    "cmp eax, -1",
    "jne 2f",
    "cmp dword ptr [0xd0000000], 0x74726976", // the register block
    "jne 2f",
    "cmp dword ptr [0xe0000000], -1", // no such device
    "jne 2f",
    "mov edx, 0x608",
    "mov eax, 0", // Shutdown
    "out dx, eax",
    "2: mov edx, 0x608",
    "mov eax, 77",
    "out dx, eax",
);

guest!(
    triple_fault,
    guest_fault_start,
    guest_fault_end,
    "mov dword ptr [0x300000], 0",
    "mov dword ptr [0x300004], 0",
    "lidt [0x300000]",
    "ud2",
);

// Touches RAM far from where it was loaded, a different 32 MiB each time.
guest!(
    reach_far,
    guest_far_start,
    guest_far_end,
    "mov dword ptr [0x2345678], 0x11111111",
    "cmp dword ptr [0x2345678], 0x11111111",
    "jne 2f",
    "cmp dword ptr [0x4345678], 0", // a read comes first
    "jne 2f",
    "lock add dword ptr [0x4345678], 5",
    "cmp dword ptr [0x4345678], 5",
    "jne 2f",
    "mov edi, 0x5fffff0", // a string store that crosses a border
    "mov ecx, 8",
    "mov eax, 0x22222222",
    "rep stosd",
    "cmp dword ptr [0x600000c], 0x22222222",
    "jne 2f",
    "cmp dword ptr [0x6000010], 0",
    "jne 2f",
    "mov dword ptr [0x7fffffe], 0x33333333", // one store that crosses a border
    "cmp dword ptr [0x7fffffe], 0x33333333",
    "jne 2f",
    "cmp word ptr [0x8000000], 0x3333",
    "jne 2f",
    "mov esp, 0xa345678",
    "push 0x44444444",
    "pop eax",
    "cmp eax, 0x44444444",
    "jne 2f",
    "cmp dword ptr [0xa345674], 0x44444444",
    "jne 2f",
    "mov edx, 0x608",
    "mov eax, 0", // Shutdown
    "out dx, eax",
    "2: mov edx, 0x608",
    "mov eax, 77",
    "out dx, eax",
);

// Touches RAM far from where it was loaded with an instruction that KVM does not decode.
guest!(
    reach_far_with_sse,
    guest_sse_start,
    guest_sse_end,
    "mov eax, cr4",
    "or eax, 0x200", // OSFXSR
    "mov cr4, eax",
    "mov dword ptr [0x300000], 0x55555555",
    "movss xmm0, dword ptr [0x300000]",
    "movss dword ptr [0x2345678], xmm0",
    "cmp dword ptr [0x2345678], 0x55555555",
    "jne 2f",
    "mov edx, 0x608",
    "mov eax, 0", // Shutdown
    "out dx, eax",
    "2: mov edx, 0x608",
    "mov eax, 77",
    "out dx, eax",
);

/// Brings up the device with the tx queue's rings at 0x304000, then sends the chain that
/// `$descriptor` wrote there.
macro_rules! hostile_guest {
    ($name:ident, $start:ident, $end:ident, $($line:expr),+ $(,)?) => {
        guest!(
            $name,
            $start,
            $end,
            "mov ebp, 0xd0000000",
            "mov dword ptr [ebp+0x70], 3",
            "mov dword ptr [ebp+0x24], 1",
            "mov dword ptr [ebp+0x20], 1",
            "mov dword ptr [ebp+0x70], 11",
            "mov dword ptr [ebp+0x30], 1",
            "mov dword ptr [ebp+0x38], 16",
            "mov dword ptr [ebp+0x80], 0x304000",
            "mov dword ptr [ebp+0x90], 0x305000",
            "mov dword ptr [ebp+0xa0], 0x306000",
            $($line,)+
            "mov dword ptr [ebp+0x44], 1",
            "mov dword ptr [ebp+0x70], 15",
            "mov word ptr [0x305002], 1",
            "mov dword ptr [ebp+0x50], 1",
            "2: hlt",
            "jmp 2b",
        );
    };
}

hostile_guest!(
    garbage_packet,
    guest_garbage_start,
    guest_garbage_end,
    "mov dword ptr [0x304000], 0x308000",
    "mov dword ptr [0x304008], 44",
    "mov dword ptr [0x308000], 0x55555555",
);

hostile_guest!(
    chain_outside_ram,
    guest_outside_start,
    guest_outside_end,
    "mov dword ptr [0x304000], 0xfffff000",
    "mov dword ptr [0x304004], 0xffffffff",
    "mov dword ptr [0x304008], 0xffffffff",
);

hostile_guest!(
    looping_chain,
    guest_loop_start,
    guest_loop_end,
    "mov dword ptr [0x304000], 0x308000",
    "mov dword ptr [0x304008], 44",
    "mov dword ptr [0x30400c], 1", // next: itself
    "mov dword ptr [0x308000], 3",
    "mov dword ptr [0x308008], 2",
    "mov dword ptr [0x308018], 100",
    "mov dword ptr [0x30801c], 0x00050001",
);

hostile_guest!(
    rings_outside_ram,
    guest_rings_start,
    guest_rings_end,
    "mov dword ptr [ebp+0x80], 0xf0000000",
);

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

/// A VM that runs `kernel` in the least memory, and the host's end of its channel.
pub fn boot(launcher: &Launcher, kernel: &File) -> (VmProcess, UnixStream) {
    let (host, guest) = UnixStream::pair().expect("socket pair");
    host.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let mut vm = VmProcess::spawn(launcher).expect("spawn");
    vm.boot(BootConfig {
        kernel,
        image: None,
        memory_mib: ukernel_abi::layout::MIN_MEMORY_MIB,
        command_line: "",
        channel: Some(guest.into()),
    })
    .expect("boot");
    (vm, host)
}

/// Tries `condition` until it holds, for some seconds.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
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

//! Loaded into componentize-py (`LD_PRELOAD`) so that it builds the same bytes every time.
//!
//! The tool runs CPython's start-up under a WASI host of its own and keeps the memory it
//! leaves. That memory has in it whatever the host gave: random numbers, the time, and the
//! times and inodes of the folders the standard library was unpacked to. So all of these are
//! made to depend on nothing. Random numbers and clocks are library functions and simply
//! replaced. File status is asked for by bare system calls, so a seccomp filter turns those
//! into SIGSYS, and the handler asks the kernel itself and evens out the answer.
//!
//! Compiled with rustc when the component is built; needs x86-64 Linux, as all of ukernel does.

use std::arch::naked_asm;
use std::ffi::{c_int, c_uint, c_ushort, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The moment all clocks show, seconds since 1970: the release of WASI 0.2.
const NOW_S: i64 = 1_706_140_800;

const SYS_FSTAT: i64 = 5;
const SYS_NEWFSTATAT: i64 = 262;
const SYS_STATX: i64 = 332;

// ------------------------------------------------------------------ random numbers, clocks

/// Fills `buffer` with numbers that depend on their place only: threads race for calls, so
/// nothing may depend on the order of them. The tool's own temporary names differ by a
/// counter that the calling thread keeps.
fn fill(buffer: *mut u8, length: usize) {
    std::thread_local!(static CALLS: AtomicU64 = const { AtomicU64::new(0) });
    let call = CALLS.with(|calls| calls.fetch_add(1, Ordering::Relaxed));
    let mut state = call.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    for at in 0..length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // SAFETY: the caller gave `length` writable bytes.
        unsafe { buffer.add(at).write((state >> 56) as u8) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _: c_uint) -> isize {
    fill(buffer.cast(), length);
    length as isize
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, length: usize) -> c_int {
    fill(buffer.cast(), length);
    0
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    fraction: i64,
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(_: c_int, now: *mut Timespec) -> c_int {
    // SAFETY: the caller gave room for the answer.
    unsafe { now.write(Timespec { seconds: NOW_S, fraction: 0 }) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(now: *mut Timespec, _: *mut c_void) -> c_int {
    // SAFETY: the caller gave room for the answer.
    unsafe { now.write(Timespec { seconds: NOW_S, fraction: 0 }) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(now: *mut i64) -> i64 {
    if !now.is_null() {
        // SAFETY: not null, so there is room for the answer.
        unsafe { now.write(NOW_S) };
    }
    NOW_S
}

// ------------------------------------------------------------------ file status

/// Inodes seen so far; the place in this list is the number shown instead.
const MAX_INODES: usize = 1 << 16;
static INODES: [AtomicU64; MAX_INODES] = [const { AtomicU64::new(0) }; MAX_INODES];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static BUSY: AtomicBool = AtomicBool::new(false);

/// A small number for an inode, in the order they are first asked for.
fn even_inode(inode: u64) -> u64 {
    while BUSY.swap(true, Ordering::Acquire) {
        std::hint::spin_loop();
    }
    let count = COUNT.load(Ordering::Relaxed);
    let known = INODES[..count].iter().position(|seen| seen.load(Ordering::Relaxed) == inode);
    let place = known.unwrap_or_else(|| {
        if count < MAX_INODES {
            INODES[count].store(inode, Ordering::Relaxed);
            COUNT.store(count + 1, Ordering::Relaxed);
        }
        count
    });
    BUSY.store(false, Ordering::Release);
    place as u64 + 1
}

/// Makes the one system call the filter lets through, by where it is made from.
#[unsafe(naked)]
unsafe extern "sysv64" fn system_call(number: i64, a: i64, b: i64, c: i64, d: i64, e: i64) -> i64 {
    naked_asm!(
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "syscall",
        ".globl determinism_after_syscall",
        "determinism_after_syscall:",
        "ret",
    )
}

unsafe extern "C" {
    fn determinism_after_syscall();
    fn sigaction(signal: c_int, action: *const SigAction, old: *mut SigAction) -> c_int;
    fn prctl(option: c_int, a: u64, b: u64, c: u64, d: u64) -> c_int;
}

/// Where in `ucontext_t.uc_mcontext.gregs` the registers are (glibc, x86-64).
mod register {
    pub const R8: usize = 0;
    pub const R10: usize = 2;
    pub const RDI: usize = 8;
    pub const RSI: usize = 9;
    pub const RDX: usize = 12;
    pub const RAX: usize = 13;
}

/// Bytes before the registers in `ucontext_t`.
const REGISTERS_AT: usize = 40;

extern "C" fn on_sigsys(_: c_int, _: *mut c_void, context: *mut c_void) {
    // SAFETY: the kernel gave a ucontext_t, whose registers are at this place.
    unsafe {
        let registers = context.cast::<u8>().add(REGISTERS_AT).cast::<i64>();
        let get = |at: usize| registers.add(at).read();
        let number = get(register::RAX);
        let answer = system_call(
            number,
            get(register::RDI),
            get(register::RSI),
            get(register::RDX),
            get(register::R10),
            get(register::R8),
        );
        if answer == 0 {
            match number {
                SYS_STATX => even_statx(get(register::R8) as *mut u8),
                SYS_FSTAT => even_stat(get(register::RSI) as *mut u8),
                SYS_NEWFSTATAT => even_stat(get(register::RDX) as *mut u8),
                _ => {}
            }
        }
        registers.add(register::RAX).write(answer);
    }
}

/// `struct statx`: inode at 32, four timestamps of 16 bytes from 64 on.
unsafe fn even_statx(status: *mut u8) {
    // SAFETY: the kernel just filled the structure.
    unsafe {
        let inode = status.add(32).cast::<u64>();
        inode.write_unaligned(even_inode(inode.read_unaligned()));
        for at in [64, 80, 96, 112] {
            status.add(at).cast::<i64>().write_unaligned(NOW_S);
            status.add(at + 8).cast::<u32>().write_unaligned(0);
        }
    }
}

/// `struct stat`: inode at 8, three timestamps of 16 bytes from 72 on.
unsafe fn even_stat(status: *mut u8) {
    // SAFETY: the kernel just filled the structure.
    unsafe {
        let inode = status.add(8).cast::<u64>();
        inode.write_unaligned(even_inode(inode.read_unaligned()));
        for at in [72, 88, 104] {
            status.add(at).cast::<i64>().write_unaligned(NOW_S);
            status.add(at + 8).cast::<i64>().write_unaligned(0);
        }
    }
}

// ------------------------------------------------------------------ the filter

#[repr(C)]
struct SigAction {
    handler: extern "C" fn(c_int, *mut c_void, *mut c_void),
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

#[repr(C)]
struct Instruction {
    code: c_ushort,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

#[repr(C)]
struct Program {
    length: c_ushort,
    instructions: *const Instruction,
}

/// Called by `componentize.py`. Not at load time: a filter survives `exec`, its handler does not.
#[unsafe(no_mangle)]
extern "C" fn determinism_install() {
    const SIGSYS: c_int = 31;
    const SA_SIGINFO: c_int = 4;
    const SA_NODEFER: c_int = 0x4000_0000;
    const PR_SET_NO_NEW_PRIVS: c_int = 38;
    const PR_SET_SECCOMP: c_int = 22;
    const SECCOMP_MODE_FILTER: u64 = 2;
    const LOAD: c_ushort = 0x20;
    const JUMP_EQUAL: c_ushort = 0x15;
    const RETURN: c_ushort = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const TRAP: u32 = 0x0003_0000;

    let load = |at: u32| Instruction { code: LOAD, jump_true: 0, jump_false: 0, value: at };
    let equal = |value: u32, jump_true: u8, jump_false: u8| Instruction { code: JUMP_EQUAL, jump_true, jump_false, value };
    let give = |value: u32| Instruction { code: RETURN, jump_true: 0, jump_false: 0, value };
    let own = determinism_after_syscall as *const () as usize as u64;
    // struct seccomp_data: number at 0, instruction pointer at 8 (low half first).
    let filter = [
        load(0),
        equal(SYS_STATX as u32, 3, 0),
        equal(SYS_NEWFSTATAT as u32, 2, 0),
        equal(SYS_FSTAT as u32, 1, 0),
        give(ALLOW),
        load(8),
        equal(own as u32, 0, 2),
        load(12),
        equal((own >> 32) as u32, 1, 0),
        give(TRAP),
        give(ALLOW),
    ];
    let program = Program { length: filter.len() as c_ushort, instructions: filter.as_ptr() };
    let action = SigAction { handler: on_sigsys, mask: [0; 16], flags: SA_SIGINFO | SA_NODEFER, restorer: 0 };
    // SAFETY: the structures have the layout glibc and the kernel expect and outlive the calls.
    let installed = unsafe {
        sigaction(SIGSYS, &action, std::ptr::null_mut()) == 0
            && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program as u64, 0, 0) == 0
    };
    if !installed {
        eprintln!("determinism: the filter cannot be installed");
        std::process::abort();
    }
}

//! How the kernel dies: it says why on the serial line, then ends the VM.

use crate::boot::BadBoot;
use crate::dev::{platform, serial};
use crate::stub::TrapFrame;
use core::fmt::Arguments;
use core::panic::PanicInfo;
use ukernel_abi::layout::GuestExit;

/// Ends the VM because the kernel itself is wrong.
pub(crate) fn fatal(what: Arguments<'_>) -> ! {
    serial::line(format_args!("ukernel: fatal: {what}"));
    platform::exit(GuestExit::Panic)
}

/// Ends the VM because the boot information is unusable.
pub(crate) fn bad_boot(error: BadBoot) -> ! {
    serial::line(format_args!("ukernel: cannot boot: {error}"));
    // Where the exit port is has not been read yet; both ways out are tried.
    platform::configure(true);
    platform::exit(GuestExit::BadBoot)
}

/// Ends the VM because of a trap outside the workload's code.
pub(crate) fn trap(frame: &TrapFrame) -> ! {
    let cause = match frame.vector {
        0 => "divide error",
        6 => "invalid opcode",
        13 => "general protection",
        14 => "page fault",
        _ => "trap",
    };
    serial::line(format_args!(
        "ukernel: fatal: {cause} (vector {}, error {:#x}) at {:#x}, address {:#x}",
        frame.vector, frame.error, frame.rip, frame.cr2
    ));
    serial::line(format_args!(
        "  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x} rsi {:016x} rdi {:016x}",
        frame.rax, frame.rbx, frame.rcx, frame.rdx, frame.rsi, frame.rdi
    ));
    serial::line(format_args!(
        "  rbp {:016x} rsp {:016x} r8 {:016x} r9 {:016x} r10 {:016x} r11 {:016x}",
        frame.rbp, frame.rsp, frame.r8, frame.r9, frame.r10, frame.r11
    ));
    serial::line(format_args!(
        "  r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x} flags {:x} cs {:x} ss {:x}",
        frame.r12, frame.r13, frame.r14, frame.r15, frame.rflags, frame.cs, frame.ss
    ));
    platform::exit(GuestExit::Trap)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fatal(format_args!("{info}"))
}

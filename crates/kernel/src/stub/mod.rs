//! The CPL 0 stub (`stub.s`) as the rest of the kernel sees it: the entry, the trap handler
//! it calls, and the gate, which is all that CPL 3 can ask of it.
#![expect(
    unsafe_code,
    reason = "entry points from assembly and the gate into it"
)]

use core::arch::{asm, global_asm};

global_asm!(include_str!("stub.s"), options(att_syntax));

/// First address of the windows: regions whose pages the gate maps on demand.
pub(crate) const WINDOW_BASE: u64 = 0x80_0000_0000;

/// Size of one window, in bytes: a linear memory with its guard, and as much again in front.
pub(crate) const WINDOW_BYTES: u64 = 6 << 30;

/// How many windows there are.
pub(crate) const WINDOWS: usize = 8;

/// Size of a large page, in bytes.
pub(crate) const LARGE_PAGE_BYTES: u64 = 2 << 20;

/// Registers at a trap, in the order the stub lays them down.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct TrapFrame {
    pub cr2: u64,
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

#[unsafe(no_mangle)]
extern "C" fn kernel_main(protocol: u32, info: usize) -> ! {
    crate::start(protocol, info)
}

#[unsafe(no_mangle)]
extern "C" fn kernel_trap(frame: &TrapFrame) -> ! {
    crate::runtime::trap::handle(frame)
}

/// The gate's answer when a call is refused.
#[derive(Debug)]
pub(crate) struct Refused;

/// Idles until an interrupt. Interrupts must be off; they are off again on return.
pub(crate) fn idle() {
    let _ = gate(0, 0, 0, 0, 0);
}

/// Seals the page tables; the pool the gate may map from ends at `pool_end`.
pub(crate) fn seal(pool_end: u64) -> Result<(), Refused> {
    gate(1, pool_end, 0, 0, 0)
}

/// Maps 2 MiB of the pool at `physical` into the window at `address`.
pub(crate) fn map_large(address: u64, physical: u64) -> Result<(), Refused> {
    gate(2, address, physical, 0, 0)
}

/// Maps `pages` small pages; they must not cross 2 MiB. `table` names the page table that
/// serves this 2 MiB of window, which must serve no other.
pub(crate) fn map_small(
    address: u64,
    physical: u64,
    pages: u64,
    table: usize,
) -> Result<(), Refused> {
    gate(3, address, physical, pages, table as u64)
}

fn gate(call: u64, rdi: u64, rsi: u64, rdx: u64, r8: u64) -> Result<(), Refused> {
    let answer: u64;
    // SAFETY: the stub checks its arguments and changes only the registers named here; the
    // pages it maps were unmapped before, so no reference can be invalidated.
    unsafe {
        asm!(
            "hlt",
            inlateout("rax") call => answer,
            in("rdi") rdi,
            in("rsi") rsi,
            inlateout("rdx") rdx => _,
            inlateout("r8") r8 => _,
            lateout("rcx") _,
            lateout("r9") _,
            lateout("r10") _,
        );
    }
    if answer == 0 { Ok(()) } else { Err(Refused) }
}

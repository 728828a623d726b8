//! Traps: what the processor objected to, handed to wasmtime if it was a workload's doing.
#![expect(unsafe_code, reason = "the platform functions wasmtime links against")]

use crate::local::Local;
use crate::stub::TrapFrame;
use crate::{report, task};

type Handler = extern "C" fn(ip: usize, fp: usize, has_address: bool, address: usize);

static HANDLER: Local<Option<Handler>> = Local::new(None);

const PAGE_FAULT: u64 = 14;

/// Called by the stub on the trap stack. If the trap came from compiled code, wasmtime goes
/// on behind the call into it and this never returns; if not, the kernel is wrong.
pub(crate) fn handle(frame: &TrapFrame) -> ! {
    let handler = *HANDLER.get();
    if let Some(handler) = handler {
        let faulted = frame.vector == PAGE_FAULT;
        handler(
            frame.rip as usize,
            frame.rbp as usize,
            faulted,
            frame.cr2 as usize,
        );
    }
    report::trap(frame)
}

/// Called by wasmtime when its engine is made.
#[unsafe(no_mangle)]
extern "C" fn wasmtime_init_traps(handler: Handler) -> i32 {
    *HANDLER.get() = Some(handler);
    0
}

#[unsafe(no_mangle)]
extern "C" fn wasmtime_tls_get(slot: usize) -> *mut u8 {
    task::tls(slot) as *mut u8
}

#[unsafe(no_mangle)]
extern "C" fn wasmtime_tls_set(slot: usize, value: *mut u8) {
    task::set_tls(slot, value as usize);
}

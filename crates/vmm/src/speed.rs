//! How fast a guest runs here, measured: `/dev/kvm` may be an interpreter.
//!
//! A VM without any kernel counts down in a loop, once in supervisor mode (CPL 0) and once
//! in user mode (CPL 3), and reports with a store to an address where no memory is. Rounds
//! grow until one is long enough to be timed, so a slow host costs no more time than a fast
//! one.

use crate::{Result, VmmError};
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region,
};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Speed of a guest on this host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Instructions a second at CPL 0, in millions.
    pub supervisor_minstr_per_s: f64,
    /// Instructions a second at CPL 3, in millions.
    pub user_minstr_per_s: f64,
}

const MEMORY_BYTES: usize = 64 << 10;
const TOP_TABLE: u64 = 0x1000;
const POINTERS: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const CODE: u64 = 0x4000;
/// Where the loop finds how often to turn.
const TURNS: u64 = 0x5000;
/// Mapped by the guest's tables, backed by nothing: a store here comes out as an exit.
const REPORT: u64 = 0x10_0000;

/// `again: mov rcx, [rsi]; turn: dec rcx; jnz turn; mov [rdi], eax; jmp again`
const PROGRAM: [u8; 12] = [
    0x48, 0x8b, 0x0e, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0x89, 0x07, 0xeb, 0xf4,
];
const INSTRUCTIONS_PER_TURN: f64 = 2.0;

const FIRST_TURNS: u64 = 1_000;
const MOST_TURNS: u64 = 1 << 32;
/// A round this long is believed.
const ENOUGH: Duration = Duration::from_millis(20);
/// How much longer the next round may be expected to take, at most.
const GROWTH: u64 = 16;

/// Privilege the loop runs with.
#[derive(Clone, Copy)]
enum Mode {
    Supervisor,
    User,
}

/// Measures both modes, in about 0.1 s.
///
/// # Errors
/// [`VmmError::KvmMissing`], [`VmmError::KvmPermission`], [`VmmError::KvmUnusable`] where
/// `/dev/kvm` does not open or the loop does not run, [`VmmError::Kvm`].
pub fn measure() -> Result<Speed> {
    Ok(Speed {
        supervisor_minstr_per_s: measure_mode(Mode::Supervisor)?,
        user_minstr_per_s: measure_mode(Mode::User)?,
    })
}

/// Frequency of the time-stamp counter guests see on this host, in kHz.
///
/// # Errors
/// As [`measure`].
pub fn tsc_khz() -> Result<u32> {
    let kvm = crate::kvm::from_file(crate::open_kvm()?);
    let vm = kvm.create_vm().map_err(VmmError::kvm("KVM_CREATE_VM"))?;
    let vcpu = vm
        .create_vcpu(0)
        .map_err(VmmError::kvm("KVM_CREATE_VCPU"))?;
    Ok(crate::clock::tsc_khz(&vcpu))
}

/// Frequency of this processor's time-stamp counter in kHz, counted: for hosts without KVM, which would tell.
///
/// # Errors
/// [`VmmError::Os`] if the counter stands still.
pub fn counted_khz() -> Result<u32> {
    /// Long enough for an error of some parts in a hundred thousand.
    const TIME: Duration = Duration::from_millis(50);
    // SAFETY: every x86-64 processor has the counter; where user code may not read it the process gets a signal.
    let counter = || unsafe { core::arch::x86_64::_rdtsc() };
    let (began, first) = (Instant::now(), counter());
    std::thread::sleep(TIME);
    let (took, last) = (began.elapsed(), counter());
    let khz = u128::from(last.saturating_sub(first)) * 1_000_000 / took.as_nanos();
    u32::try_from(khz)
        .ok()
        .filter(|khz| *khz > 0)
        .ok_or_else(|| {
            VmmError::os(
                "counting the time-stamp counter",
                std::io::ErrorKind::InvalidData,
            )
        })
}

fn measure_mode(mode: Mode) -> Result<f64> {
    let mut guest = Guest::new(mode)?;
    let mut turns = FIRST_TURNS;
    loop {
        let took = guest.run(turns)?;
        if took >= ENOUGH || turns >= MOST_TURNS {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let instructions = turns as f64 * INSTRUCTIONS_PER_TURN;
            return Ok(instructions / took.as_secs_f64() / 1e6);
        }
        turns *= GROWTH.min(2 * ENOUGH.as_nanos() as u64 / took.as_nanos().max(1) as u64 + 1);
    }
}

/// A VM that runs [`PROGRAM`]. The vCPU and the VM close before their memory goes.
struct Guest {
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: GuestMemoryMmap<()>,
}

impl Guest {
    fn new(mode: Mode) -> Result<Self> {
        let kvm = crate::kvm::from_file(crate::open_kvm()?);
        let vm = kvm.create_vm().map_err(VmmError::kvm("KVM_CREATE_VM"))?;
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)])
            .map_err(memory_error)?;
        load(&memory)?;
        let host = memory
            .get_host_address(GuestAddress(0))
            .map_err(memory_error)?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: host as u64,
        };
        // SAFETY: the range is the whole of a mapping that `Guest` owns; the VM is closed
        // before the memory is dropped (field order).
        unsafe { vm.set_user_memory_region(region) }
            .map_err(VmmError::kvm("KVM_SET_USER_MEMORY_REGION"))?;
        let vcpu = vm
            .create_vcpu(0)
            .map_err(VmmError::kvm("KVM_CREATE_VCPU"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(VmmError::kvm("KVM_GET_SUPPORTED_CPUID"))?;
        vcpu.set_cpuid2(&cpuid)
            .map_err(VmmError::kvm("KVM_SET_CPUID2"))?;
        let registers = vcpu.get_sregs().map_err(VmmError::kvm("KVM_GET_SREGS"))?;
        vcpu.set_sregs(&long_mode(registers, mode))
            .map_err(VmmError::kvm("KVM_SET_SREGS"))?;
        vcpu.set_regs(&kvm_regs {
            rip: CODE,
            rsi: TURNS,
            rdi: REPORT,
            rflags: 2,
            ..Default::default()
        })
        .map_err(VmmError::kvm("KVM_SET_REGS"))?;
        Ok(Self {
            vcpu,
            _vm: vm,
            memory,
        })
    }

    /// Has the loop turn so often and says how long it took.
    fn run(&mut self, turns: u64) -> Result<Duration> {
        self.memory
            .write_obj(turns, GuestAddress(TURNS))
            .map_err(memory_error)?;
        let began = Instant::now();
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::MmioWrite(REPORT, _)) => return Ok(began.elapsed()),
                Ok(exit) => {
                    return Err(VmmError::KvmUnusable {
                        cause: format!("a counted loop ended with {exit:?}"),
                    });
                }
                Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {}
                Err(error) => return Err(VmmError::kvm("KVM_RUN")(error)),
            }
        }
    }
}

fn memory_error(error: impl std::fmt::Display) -> VmmError {
    VmmError::Memory {
        cause: error.to_string(),
    }
}

/// Page tables, the low 2 MiB mapped for both modes, and the program.
fn load(memory: &GuestMemoryMmap<()>) -> Result<()> {
    const PRESENT_WRITE_USER: u64 = 7;
    const LARGE: u64 = 1 << 7;
    let entries = [
        (TOP_TABLE, POINTERS | PRESENT_WRITE_USER),
        (POINTERS, DIRECTORY | PRESENT_WRITE_USER),
        (DIRECTORY, LARGE | PRESENT_WRITE_USER),
    ];
    for (address, entry) in entries {
        memory
            .write_obj(entry, GuestAddress(address))
            .map_err(memory_error)?;
    }
    memory
        .write_slice(&PROGRAM, GuestAddress(CODE))
        .map_err(memory_error)
}

/// 64-bit mode with paging, flat segments of the mode's privilege, no descriptor tables.
fn long_mode(mut registers: kvm_sregs, mode: Mode) -> kvm_sregs {
    const CR0_PE_MP_ET_NE_WP_PG: u64 = 0x8001_0033;
    const CR4_PAE: u64 = 1 << 5;
    const EFER_LME_LMA: u64 = 0x500;
    let (code, data, dpl) = match mode {
        Mode::Supervisor => (0x08, 0x10, 0),
        Mode::User => (0x23, 0x1b, 3),
    };
    let data = kvm_segment {
        limit: 0xffff_ffff,
        selector: data,
        type_: 0x3,
        present: 1,
        dpl,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    registers.cs = kvm_segment {
        selector: code,
        type_: 0xb,
        db: 0,
        l: 1,
        ..data
    };
    registers.ds = data;
    registers.es = data;
    registers.ss = data;
    registers.cr0 = CR0_PE_MP_ET_NE_WP_PG;
    registers.cr3 = TOP_TABLE;
    registers.cr4 = CR4_PAE;
    registers.efer = EFER_LME_LMA;
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_modes_are_measured_in_bounded_time() {
        let began = Instant::now();
        match measure() {
            Ok(speed) => {
                println!("{speed:?} in {:?}", began.elapsed());
                assert!(speed.supervisor_minstr_per_s > 0.01);
                assert!(speed.user_minstr_per_s > 0.01);
                assert!(began.elapsed() < Duration::from_secs(5));
            }
            Err(VmmError::KvmMissing | VmmError::KvmPermission) => {
                println!("SKIPPED: no KVM here");
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_counter_has_a_frequency() {
        match tsc_khz() {
            Ok(khz) => assert!(khz > 100_000, "{khz}"),
            Err(error) => println!("SKIPPED: {error}"),
        }
    }
}

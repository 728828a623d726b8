//! Memory map, ports and command line: what a VMM and the µkernel agree on to boot.
//!
//! ```text
//!   0x0000_0000  boot information (start_info, command line, Firecracker's tables)
//!   0x0020_0000  kernel text          R-X  CPL 3
//!   0x0040_0000  kernel rodata        R--  CPL 3
//!   0x0060_0000  kernel data, bss     RW-  CPL 3
//!   0x0080_0000  stub text            R-X  CPL 0 only
//!   0x00a0_0000  stub data, page tables RW- CPL 0 only once sealed
//!   0x00c0_0000  pool: kernel heap from below, linear memories from above
//!        ...
//!   image        read-only, its code R-X; loaded like an initial ramdisk, page aligned
//!   0xd000_0000  virtio-mmio registers (the exact place comes on the command line)
//! ```

/// Size of a page, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// First guest-physical address past the kernel's own segments.
pub const POOL_START: u64 = 0x00c0_0000;

/// Largest guest memory the µkernel takes, in MiB: what fits below the MMIO gap.
pub const MAX_MEMORY_MIB: u32 = 3072;

/// Smallest guest memory the µkernel and the largest of our images boot in, in MiB.
pub const MIN_MEMORY_MIB: u32 = 192;

/// virtio-mmio register block of the vsock device in the embedded VMM.
pub const VSOCK_MMIO_BASE: u64 = 0xd000_0000;

/// Size of one virtio-mmio register block, in bytes.
pub const VSOCK_MMIO_BYTES: u64 = 4096;

/// I/O port of the serial log (16550 transmit register), on every VMM.
pub const PORT_SERIAL: u16 = 0x3f8;

/// Embedded VMM only. A 32-bit write idles the vCPU until the device has something for
/// the guest or the written number of microseconds has passed ([`IDLE_FOREVER_US`]: no
/// limit). Saves the interrupt controller, its memory and its exits.
pub const PORT_IDLE: u16 = 0x600;

/// Written to [`PORT_IDLE`] to wait without a time limit.
pub const IDLE_FOREVER_US: u32 = u32::MAX;

/// Embedded VMM only. A 32-bit write of microseconds sets the one alarm there is: after that time, also
/// while the guest computes, the VMM does what the alarm's table says (`interrupt`). Writing again
/// replaces it.
pub const PORT_ALARM: u16 = 0x60c;

/// Embedded VMM only. A 32-bit write reports a [`BootPhase`].
pub const PORT_PHASE: u16 = 0x604;

/// Embedded VMM and QEMU. A 32-bit write ends the VM with that [`GuestExit`] code.
pub const PORT_EXIT: u16 = 0x608;

/// Keyboard-controller port; writing [`I8042_RESET`] ends the VM on Firecracker.
pub const PORT_I8042: u16 = 0x64;

/// Reset command of the keyboard controller.
pub const I8042_RESET: u8 = 0xfe;

/// Command-line word that says the ports of the embedded VMM exist.
pub const CMDLINE_EMBEDDED: &str = "ukernel.embedded";

/// Command-line key for the time-stamp counter's frequency: `ukernel.tsc_khz=N`.
pub const CMDLINE_TSC_KHZ: &str = "ukernel.tsc_khz=";

/// Command-line key Linux uses for a virtio-mmio device: `virtio_mmio.device=4K@0xd0000000:5`.
pub const CMDLINE_VIRTIO_MMIO: &str = "virtio_mmio.device=";

/// vsock context id of the guest.
pub const GUEST_CID: u64 = 3;

/// vsock context id of the host.
pub const HOST_CID: u64 = 2;

/// vsock port the guest listens on; the host opens the channel.
pub const CHANNEL_PORT: u32 = 1024;

/// Start of the serial line that gives a [`GuestExit`] code where [`PORT_EXIT`] does not exist.
pub const SERIAL_EXIT: &str = "ukernel: exit ";

/// How far a boot has come, reported on [`PORT_PHASE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BootPhase {
    /// First instruction at CPL 3.
    UserMode = 1,
    /// Page tables sealed, workload code executable.
    Sealed = 2,
    /// Component instantiated.
    Instantiated = 3,
    /// Runtime started, listening on the channel.
    Listening = 4,
}

impl BootPhase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [
        Self::UserMode,
        Self::Sealed,
        Self::Instantiated,
        Self::Listening,
    ];

    /// The phase with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| *phase as u32 == code)
    }
}

/// Why a guest ended itself, reported on [`PORT_EXIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GuestExit {
    /// Asked to stop.
    Shutdown = 0,
    /// The kernel panicked; the serial log says why.
    Panic = 1,
    /// A trap outside the workload; the serial log has the registers.
    Trap = 2,
    /// The boot information made no sense.
    BadBoot = 3,
}

impl GuestExit {
    /// The exit with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::Shutdown, Self::Panic, Self::Trap, Self::BadBoot]
            .into_iter()
            .find(|exit| *exit as u32 == code)
    }
}

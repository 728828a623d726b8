//! What a paused VM is, apart from its memory: the *state*; and its memory: the *pages*.
//!
//! A state is a magic number, a version and postcard. Its decoder is total: any bytes
//! give a state that is safe to restore or an error. The pages of a cold boot are its
//! memfd; those of a fork are the ones it wrote ([`pages`]), kept as their difference ([`diff`]).

pub(crate) mod diff;
pub mod pages;
pub(crate) mod scan;
pub mod vcpu;
pub mod working_set;

use crate::devices::Phases;
use crate::memory::{MemoryLayout, Ram};
use crate::mmio::{Registers, Transport};
use crate::vsock::{QUEUES, Vsock};
use crate::{Result, VmmError};
use pages::PageRange;
use serde::{Deserialize, Serialize};
use ukernel_abi::layout::MIN_MEMORY_MIB;
use vcpu::VcpuState;
use virtio_queue::{Queue, QueueState, QueueT};
use working_set::WorkingSet;

/// Largest encoded state, in bytes.
pub const MAX_STATE_BYTES: usize = 64 << 10;

const MAGIC: [u8; 4] = *b"UKVS";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 6;

/// A virtqueue's registers and positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedQueue {
    size: u16,
    ready: bool,
    next_avail: u16,
    next_used: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
}

/// A paused VM without its memory.
#[derive(Debug, Serialize, Deserialize)]
pub struct VmState {
    /// Sizes of RAM and image.
    pub layout: MemoryLayout,
    /// When the boot phases were reached.
    pub phases: Phases,
    pub(crate) vcpu: VcpuState,
    registers: Registers,
    queues: [SavedQueue; QUEUES],
    connections: u32,
}

impl VmState {
    /// The state of a VM without connection.
    pub(crate) fn new(
        layout: MemoryLayout,
        phases: Phases,
        vcpu: VcpuState,
        transport: &Transport,
    ) -> Self {
        Self {
            layout,
            phases,
            vcpu,
            registers: transport.registers,
            queues: std::array::from_fn(|index| save_queue(&transport.vsock.queues[index])),
            connections: transport.vsock.connections(),
        }
    }

    /// The device this state describes, its queues checked against `ram`.
    ///
    /// # Errors
    /// [`VmmError::BadState`].
    pub(crate) fn transport(&self, ram: &Ram) -> Result<Transport> {
        let mut vsock = Vsock::new(self.connections);
        for (queue, saved) in vsock.queues.iter_mut().zip(&self.queues) {
            *queue = restore_queue(saved, queue.max_size())?;
            if queue.ready() && !queue.is_valid(ram) {
                return Err(VmmError::BadState {
                    cause: "a queue's rings are not in RAM",
                });
            }
        }
        Ok(Transport {
            registers: self.registers,
            vsock,
        })
    }

    /// The state as bytes.
    ///
    /// # Errors
    /// [`VmmError::BadState`] if it is larger than [`MAX_STATE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let bytes = postcard::to_extend(self, bytes).map_err(|_| VmmError::BadState {
            cause: "it cannot be encoded",
        })?;
        if bytes.len() > MAX_STATE_BYTES {
            return Err(VmmError::BadState {
                cause: "it is too large",
            });
        }
        Ok(bytes)
    }

    /// Reads a state. What the processor makes of its registers is KVM's to check.
    ///
    /// # Errors
    /// [`VmmError::BadState`], [`VmmError::BadMemory`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let bad = |cause| VmmError::BadState { cause };
        if bytes.len() > MAX_STATE_BYTES {
            return Err(bad("it is too large"));
        }
        let (header, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or(bad("it is cut short"))?;
        if header[..4] != MAGIC {
            return Err(bad("it is not a VM state"));
        }
        if header[4..] != VERSION.to_le_bytes() {
            return Err(bad("it is of another version"));
        }
        let (state, rest) = postcard::take_from_bytes::<Self>(body)
            .map_err(|_| bad("its content makes no sense"))?;
        if !rest.is_empty() {
            return Err(bad("there are bytes behind it"));
        }
        state.layout.validated()?;
        state.vcpu.validated()?;
        Ok(state)
    }
}

/// Bytes that change with the form of states, pages and working sets: an empty state as it is
/// encoded now, and the version of pages. Templates and snapshots with other ones cannot be used.
#[must_use]
pub fn state_format() -> Vec<u8> {
    let empty = MemoryLayout::new(MIN_MEMORY_MIB, 0).and_then(|layout| {
        let transport = Transport::default();
        VmState::new(layout, Phases::default(), VcpuState::default(), &transport).encode()
    });
    let pages = WorkingSet::from_trial(vec![PageRange { start: 1, count: 2 }]);
    let pages = postcard::to_allocvec(&pages).unwrap_or_default();
    // An empty state can be encoded, as a test of this module says.
    let mut format = empty.unwrap_or_default();
    format.extend_from_slice(&diff::VERSION.to_le_bytes());
    format.extend_from_slice(&pages);
    format
}

fn save_queue(queue: &Queue) -> SavedQueue {
    SavedQueue {
        size: queue.size(),
        ready: queue.ready(),
        next_avail: queue.next_avail(),
        next_used: queue.next_used(),
        descriptors: queue.desc_table(),
        driver: queue.avail_ring(),
        device: queue.used_ring(),
    }
}

fn restore_queue(saved: &SavedQueue, max_size: u16) -> Result<Queue> {
    let state = QueueState {
        max_size,
        next_avail: saved.next_avail,
        next_used: saved.next_used,
        event_idx_enabled: false,
        size: saved.size,
        ready: saved.ready,
        desc_table: saved.descriptors,
        avail_ring: saved.driver,
        used_ring: saved.device,
    };
    Queue::try_from(state).map_err(|_| VmmError::BadState {
        cause: "a queue makes no sense",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::GuestAddress;

    fn state() -> VmState {
        let layout = MemoryLayout::new(256, 12345).expect("fits");
        let mut transport = Transport::default();
        transport.registers.status = 15;
        transport.vsock.queues[0].set_size(128);
        VmState::new(
            layout,
            [Some(1), None, Some(3), None],
            VcpuState::default(),
            &transport,
        )
    }

    #[test]
    fn survives_encoding() {
        let bytes = state().encode().expect("encodes");
        let again = VmState::decode(&bytes).expect("decodes");
        assert_eq!(again.encode().expect("encodes"), bytes);
        assert_eq!(again.layout, state().layout);
        let ram = Ram::from_ranges(&[(GuestAddress(0), 1 << 20)]).expect("RAM");
        let transport = again.transport(&ram).expect("restores");
        assert_eq!(transport.vsock.queues[0].size(), 128);
        assert_eq!(transport.registers.status, 15);
    }

    #[test]
    fn the_format_is_that_of_a_state() {
        let format = state_format();
        assert_eq!(format[..4], MAGIC);
        assert_eq!(format, state_format());
        let state = state().encode().expect("encodes");
        assert!(format.len() > state.len() / 2, "{}", format.len());
    }

    #[test]
    fn other_versions_and_leftovers_are_refused() {
        let good = state().encode().expect("encodes");
        let mut version = good.clone();
        version[4] ^= 1;
        let mut longer = good.clone();
        longer.push(0);
        for bytes in [&version, &longer, &good[..good.len() - 1], &[][..]] {
            assert!(matches!(
                VmState::decode(bytes),
                Err(VmmError::BadState { .. })
            ));
        }
    }

    proptest! {
        /// Total: damaged or invented states are decided, and what passes restores or fails.
        #[test]
        fn any_bytes_are_decided(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut in any::<prop::sample::Index>(),
            invented in any::<Vec<u8>>(),
        ) {
            let ram = Ram::from_ranges(&[(GuestAddress(0), 1 << 20)]).expect("RAM");
            let mut bytes = state().encode().expect("encodes");
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let mut header = bytes[..HEADER_BYTES].to_vec();
            header.extend_from_slice(&invented);
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())], &header] {
                if let Ok(state) = VmState::decode(bytes) {
                    let _ = state.transport(&ram);
                }
            }
        }
    }
}

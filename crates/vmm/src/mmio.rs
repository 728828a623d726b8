//! The virtio-mmio register block (virtio 1.2, section 4.2.2) in front of the vsock
//! device.

use crate::memory::Ram;
use crate::vsock::{QUEUE_SIZE, QUEUES, Vsock};
use virtio_queue::QueueT;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const DEVICE_ID_VSOCK: u32 = 19;
const VENDOR_ID: u32 = u32::from_le_bytes(*b"ukrn");

/// The only feature: a modern device (virtio 1.2, section 6, `VIRTIO_F_VERSION_1`).
const FEATURES: u64 = 1 << 32;

/// Register offsets.
mod register {
    pub const MAGIC: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SELECT: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SELECT: u64 = 0x024;
    pub const QUEUE_SELECT: u64 = 0x030;
    pub const QUEUE_SIZE_MAX: u64 = 0x034;
    pub const QUEUE_SIZE: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESCRIPTORS_LOW: u64 = 0x080;
    pub const QUEUE_DESCRIPTORS_HIGH: u64 = 0x084;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

/// Bits of the device status.
mod status {
    pub const ACKNOWLEDGE: u32 = 1;
    pub const DRIVER: u32 = 2;
    pub const DRIVER_OK: u32 = 4;
    pub const FEATURES_OK: u32 = 8;
    pub const FAILED: u32 = 128;
}

/// What a register write asks for beyond storing a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The driver has put something into a queue, or has just come up.
    Process,
    /// The rings of a queue are not in RAM.
    BadQueue,
}

/// Values of the registers that are not part of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Registers {
    /// Half of the device's features that is shown.
    pub device_features_select: u32,
    /// Half of the driver's features that is written.
    pub driver_features_select: u32,
    /// Features the driver accepted.
    pub driver_features: u64,
    /// Queue the queue registers mean.
    pub queue_select: u32,
    /// Device status.
    pub status: u32,
    /// Pending interrupt causes. No interrupt is ever raised.
    pub interrupt_status: u32,
}

/// The register block and the device behind it.
#[derive(Debug, Default)]
pub struct Transport {
    /// Plain registers.
    pub registers: Registers,
    /// The device.
    pub vsock: Vsock,
}

impl Transport {
    /// Whether the driver has finished its set-up.
    #[must_use]
    pub fn driver_ok(&self) -> bool {
        self.registers.status & (status::DRIVER_OK | status::FAILED) == status::DRIVER_OK
    }

    /// The guest reads `data.len()` bytes at `offset`.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= register::CONFIG {
            return read_config(&self.vsock.config(), offset - register::CONFIG, data);
        }
        let value = self.read_register(offset).to_le_bytes();
        match data.len() {
            4 => data.copy_from_slice(&value),
            // Registers are 32 bits wide (section 4.2.2.2); anything else reads as ones.
            _ => data.fill(0xff),
        }
    }

    fn read_register(&self, offset: u64) -> u32 {
        let registers = &self.registers;
        match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE_ID => DEVICE_ID_VSOCK,
            register::VENDOR_ID => VENDOR_ID,
            register::DEVICE_FEATURES => half(FEATURES, registers.device_features_select),
            register::QUEUE_SIZE_MAX if self.selected().is_some() => u32::from(QUEUE_SIZE),
            register::QUEUE_READY => self
                .selected()
                .map_or(0, |index| u32::from(self.vsock.queues[index].ready())),
            register::INTERRUPT_STATUS => registers.interrupt_status,
            register::STATUS => registers.status,
            register::CONFIG_GENERATION | register::QUEUE_SIZE_MAX => 0,
            _ => u32::MAX,
        }
    }

    /// The guest writes `data` at `offset`.
    pub fn write(&mut self, ram: &Ram, offset: u64, data: &[u8]) -> Effect {
        let Ok(bytes) = <[u8; 4]>::try_from(data) else {
            return Effect::None;
        };
        let value = u32::from_le_bytes(bytes);
        let registers = &mut self.registers;
        match offset {
            register::DEVICE_FEATURES_SELECT => registers.device_features_select = value,
            register::DRIVER_FEATURES_SELECT => registers.driver_features_select = value,
            register::DRIVER_FEATURES => set_half(
                &mut registers.driver_features,
                registers.driver_features_select,
                value,
            ),
            register::QUEUE_SELECT => registers.queue_select = value,
            register::INTERRUPT_ACK => registers.interrupt_status &= !value,
            register::QUEUE_NOTIFY => return Effect::Process,
            register::STATUS => return self.write_status(value),
            _ => return self.write_queue(ram, offset, value),
        }
        Effect::None
    }

    fn write_status(&mut self, value: u32) -> Effect {
        if value == 0 {
            self.registers = Registers::default();
            self.vsock.reset();
            return Effect::None;
        }
        let mut accepted = value;
        let needed = status::ACKNOWLEDGE | status::DRIVER;
        let features_fit = self.registers.driver_features == FEATURES;
        if value & status::FEATURES_OK != 0 && !(features_fit && value & needed == needed) {
            accepted &= !status::FEATURES_OK;
        }
        if accepted & status::FEATURES_OK == 0 {
            accepted &= !status::DRIVER_OK;
        }
        self.registers.status = accepted;
        if self.driver_ok() {
            Effect::Process
        } else {
            Effect::None
        }
    }

    fn write_queue(&mut self, ram: &Ram, offset: u64, value: u32) -> Effect {
        let Some(index) = self.selected() else {
            return Effect::None;
        };
        let queue = &mut self.vsock.queues[index];
        if offset == register::QUEUE_READY {
            queue.set_ready(value == 1);
            return if value == 1 && !queue.is_valid(ram) {
                Effect::BadQueue
            } else {
                Effect::None
            };
        }
        // A queue in use does not change (section 4.2.2.2).
        if queue.ready() {
            return Effect::None;
        }
        match offset {
            register::QUEUE_SIZE => queue.set_size(u16::try_from(value).unwrap_or(0)),
            register::QUEUE_DESCRIPTORS_LOW => queue.set_desc_table_address(Some(value), None),
            register::QUEUE_DESCRIPTORS_HIGH => queue.set_desc_table_address(None, Some(value)),
            register::QUEUE_DRIVER_LOW => queue.set_avail_ring_address(Some(value), None),
            register::QUEUE_DRIVER_HIGH => queue.set_avail_ring_address(None, Some(value)),
            register::QUEUE_DEVICE_LOW => queue.set_used_ring_address(Some(value), None),
            register::QUEUE_DEVICE_HIGH => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
        Effect::None
    }

    fn selected(&self) -> Option<usize> {
        usize::try_from(self.registers.queue_select)
            .ok()
            .filter(|index| *index < QUEUES)
    }
}

/// Half `select` of `value`; halves past the second are empty.
fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => (value & u64::from(u32::MAX)) as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_half(value: &mut u64, select: u32, half: u32) {
    match select {
        0 => *value = (*value & !u64::from(u32::MAX)) | u64::from(half),
        1 => *value = (*value & u64::from(u32::MAX)) | (u64::from(half) << 32),
        _ => {}
    }
}

fn read_config(config: &[u8], offset: u64, data: &mut [u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    for (i, byte) in data.iter_mut().enumerate() {
        *byte = start
            .checked_add(i)
            .and_then(|at| config.get(at))
            .copied()
            .unwrap_or(0xff);
    }
}

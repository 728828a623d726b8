//! The command line: what VMMs write is understood, anything else is decided.

use super::{first_device, is_embedded, tsc_khz};
use proptest::prelude::*;
use std::format;
use ukernel_abi::layout::{GUEST_CID, MAX_MEMORY_MIB, VSOCK_MMIO_BASE};

#[test]
fn what_vmms_write_is_understood() {
    let embedded = "ukernel.embedded ukernel.tsc_khz=2596094 virtio_mmio.device=4K@0xd0000000:5";
    assert!(is_embedded(embedded) && GUEST_CID > 2);
    assert_eq!(tsc_khz(embedded), Some(2_596_094));
    let device = first_device(embedded).expect("a device");
    assert_eq!(
        (device.base, device.bytes, device.interrupt),
        (VSOCK_MMIO_BASE, 4096, 5)
    );
    let firecracker = "ukernel.tsc_khz=2596094 pci=off virtio_mmio.device=4K@0xc0001000:5";
    assert!(!is_embedded(firecracker));
    assert_eq!(
        first_device(firecracker).expect("a device").base,
        0xc000_1000
    );
    let qemu = "ukernel.tsc_khz=2596094 virtio_mmio.device=512@0xfeb00e00:12";
    let device = first_device(qemu).expect("a device");
    assert_eq!(
        (device.base, device.bytes, device.interrupt),
        (0xfeb0_0e00, 512, 12)
    );
}

#[test]
fn devices_that_cannot_be_are_refused() {
    for device in [
        "4K@0x1000:5",
        "4K@0xfffffffffffff000:5",
        "4K@0xc0000001:5",
        "0K@0xc0000000:5",
        "4K@0xc0000000:24",
        "4K@0xc0000000",
        "K@0xc0000000:5",
        "99999999999999999999K@0xc0000000:5",
        "256@0xfeb00e00:12",
        "512@0xfeb00e01:12",
        "",
    ] {
        assert_eq!(
            first_device(&format!("virtio_mmio.device={device}")),
            None,
            "{device}"
        );
    }
    for khz in ["0", "-1", "99999999999999999999999", "1e6", ""] {
        assert_eq!(tsc_khz(&format!("ukernel.tsc_khz={khz}")), None, "{khz}");
    }
}

proptest! {
    /// Total, and what is accepted lies where devices are.
    #[test]
    fn any_line_is_decided(line in "(virtio_mmio.device=|ukernel.tsc_khz=|[ -~]){0,4}[0-9K@x:a-f ]{0,40}") {
        let _ = (is_embedded(&line), tsc_khz(&line));
        if let Some(device) = first_device(&line) {
            prop_assert!(device.base >= u64::from(MAX_MEMORY_MIB) << 20);
            prop_assert!(device.base + device.bytes <= 1 << 32 && device.interrupt < 24);
        }
    }
}

//! Memory that devices share with the kernel.
#![expect(unsafe_code, reason = "DMA")]

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use ukernel_abi::layout::PAGE_BYTES;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

pub(super) struct KernelHal;

// SAFETY: the heap and the kernel stack, where all buffers the driver shares live, are
// identity mapped and physically contiguous.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let memory = dma_layout(pages).and_then(|layout| {
            // SAFETY: the layout has a size above zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        });
        memory.map_or((0, NonNull::dangling()), |memory| {
            (memory.as_ptr() as PhysAddr, memory)
        })
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, pages: usize) -> i32 {
        let Some(layout) = dma_layout(pages) else {
            return -1;
        };
        // SAFETY: allocated by `dma_alloc` with the same layout.
        unsafe { dealloc(memory.as_ptr(), layout) };
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(physical as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

fn dma_layout(pages: usize) -> Option<Layout> {
    let bytes = pages
        .checked_mul(PAGE_BYTES as usize)
        .filter(|bytes| *bytes > 0)?;
    Layout::from_size_align(bytes, PAGE_BYTES as usize).ok()
}

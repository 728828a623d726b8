//! Guest memory: RAM, and the image at its top.
//!
//! ```text
//!   0 ......................................... image_start ........... size
//!   RAM: memfd, shared (cold) or private (fork) | image file, private, read-only to the guest
//! ```
//! Devices reach RAM only. The image is a mapping of its own, so that its page-cache pages
//! are shared by all VMs. [`crate::slots`] gives both to KVM.

use crate::{Result, VmmError};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags};
use std::fs::File;
use ukernel_abi::layout::{MAX_MEMORY_MIB, MIN_MEMORY_MIB, PAGE_BYTES};
use vm_memory::mmap::MmapRegion;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap,
};

/// Fewer pages in a row are not worth a mapping of their own, of which Linux allows 65,530.
const MIN_RENEWED_PAGES: u32 = 64;

/// RAM as the devices see it.
pub type Ram = GuestMemoryMmap<()>;

/// Where RAM ends and the image begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryLayout {
    mebibytes: u32,
    image_bytes: u64,
}

impl MemoryLayout {
    /// A guest with `mebibytes` MiB in all, of which the top holds an image of
    /// `image_bytes` bytes (0: none).
    ///
    /// # Errors
    /// [`VmmError::BadMemory`].
    pub fn new(mebibytes: u32, image_bytes: u64) -> Result<Self> {
        /// What the kernel needs below the image.
        const LEAST_RAM_BYTES: u64 = 16 << 20;
        let size = u64::from(mebibytes) << 20;
        let fits = image_bytes
            .checked_next_multiple_of(PAGE_BYTES)
            .and_then(|image| image.checked_add(LEAST_RAM_BYTES))
            .is_some_and(|least| least <= size);
        if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&mebibytes) || !fits {
            return Err(VmmError::BadMemory {
                mebibytes,
                image_bytes,
                min: MIN_MEMORY_MIB,
                max: MAX_MEMORY_MIB,
            });
        }
        Ok(Self {
            mebibytes,
            image_bytes,
        })
    }

    /// Checks a layout that came from outside.
    ///
    /// # Errors
    /// [`VmmError::BadMemory`].
    pub fn validated(self) -> Result<Self> {
        Self::new(self.mebibytes, self.image_bytes)
    }

    /// RAM and image together, in MiB.
    #[must_use]
    pub fn mebibytes(self) -> u32 {
        self.mebibytes
    }

    /// Size of the image, in bytes.
    #[must_use]
    pub fn image_bytes(self) -> u64 {
        self.image_bytes
    }

    /// First guest-physical address past RAM and image.
    #[must_use]
    pub fn end(self) -> u64 {
        u64::from(self.mebibytes) << 20
    }

    /// Size of RAM, in bytes, and the guest-physical address of the image.
    #[must_use]
    pub fn ram_bytes(self) -> u64 {
        self.end() - self.image_bytes.next_multiple_of(PAGE_BYTES)
    }

    /// Pages of RAM.
    #[must_use]
    pub fn ram_pages(self) -> u64 {
        self.ram_bytes() / PAGE_BYTES
    }
}

/// How RAM is backed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Writes go to the memfd: a cold boot, which may become a template.
    Shared,
    /// Writes stay with this VM: a fork of a template.
    Private,
}

/// The memory of one VM.
#[derive(Debug)]
pub struct GuestMemory {
    layout: MemoryLayout,
    ram: Ram,
    image: Option<MmapRegion<()>>,
}

/// Makes a memfd for the RAM of a cold boot.
///
/// # Errors
/// [`VmmError::Os`].
pub fn create_ram(layout: MemoryLayout) -> Result<File> {
    let fd = memfd_create(
        "ukernel-ram",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )
    .map_err(|error| VmmError::os("memfd_create", error))?;
    ftruncate(&fd, layout.ram_bytes()).map_err(|error| VmmError::os("ftruncate", error))?;
    Ok(fd.into())
}

impl GuestMemory {
    /// Maps RAM from `ram` and the image from `image`.
    ///
    /// # Errors
    /// [`VmmError::Memory`] if a file is shorter than the layout says or cannot be mapped.
    pub fn map(
        layout: MemoryLayout,
        ram: File,
        backing: Backing,
        image: Option<File>,
    ) -> Result<Self> {
        let sharing = match backing {
            Backing::Shared => libc::MAP_SHARED,
            Backing::Private => libc::MAP_PRIVATE,
        };
        let region = map_file(ram, layout.ram_bytes(), sharing)?;
        let region = GuestRegionMmap::new(region, GuestAddress(0))
            .ok_or_else(|| VmmError::memory("RAM does not fit the address space"))?;
        let ram = Ram::from_regions(vec![region]).map_err(VmmError::memory)?;
        let image = match image {
            Some(file) if layout.image_bytes > 0 => {
                Some(map_file(file, layout.image_bytes, libc::MAP_PRIVATE)?)
            }
            _ if layout.image_bytes == 0 => None,
            _ => {
                return Err(VmmError::memory("the layout has an image, none was given"));
            }
        };
        Ok(Self { layout, ram, image })
    }

    /// What lies where.
    #[must_use]
    pub fn layout(&self) -> MemoryLayout {
        self.layout
    }

    /// RAM, for the devices and the loader.
    #[must_use]
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// Takes the template's pages from under these pages of RAM, all of which are about to be
    /// written: Linux zeroes a new page for less than it copies one. For private RAM that no VM
    /// has yet. Where Linux will not, nothing changes.
    ///
    /// Large pages would be faster still, half of the time; when Linux has to make room for
    /// them first, which it does while we wait, they take five times as long.
    pub(crate) fn renew(&self, start: u32, count: u32) {
        let end = u64::from(start) + u64::from(count);
        if count < MIN_RENEWED_PAGES || end > self.layout.ram_pages() {
            return;
        }
        let page = PAGE_BYTES as usize;
        let address = self
            .ram_region()
            .as_ptr()
            .wrapping_add(start as usize * page);
        // SAFETY: the addresses lie in our mapping of RAM (just checked), which nobody refers to
        // but by volatile accesses through `self`; what replaces it can be read and written alike.
        let renewed = unsafe {
            rustix::mm::mmap_anonymous(
                address.cast(),
                count as usize * page,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
            )
        };
        // The pages are written either way.
        let _ = renewed;
    }

    /// Where this process has the image, if there is one.
    pub(crate) fn image_address(&self) -> Option<u64> {
        self.image.as_ref().map(|image| image.as_ptr() as u64)
    }

    /// The file RAM was mapped from.
    pub(crate) fn ram_file(&self) -> &File {
        self.ram_region()
            .file_offset()
            .expect("RAM was mapped from a file")
            .file()
    }

    /// The host mapping of RAM.
    pub(crate) fn ram_region(&self) -> &GuestRegionMmap<()> {
        self.ram
            .iter()
            .next()
            .expect("RAM was built from exactly one region")
    }
}

fn map_file(file: File, bytes: u64, sharing: i32) -> Result<MmapRegion<()>> {
    // Not `File::metadata`: that is `statx`, which takes paths, and the jail denies it.
    let status = rustix::fs::fstat(&file).map_err(|error| VmmError::os("fstat", error))?;
    let length = u64::try_from(status.st_size).unwrap_or(0);
    if length < bytes {
        let cause = format!("file of {length} bytes where {bytes} are needed");
        return Err(VmmError::memory(cause));
    }
    let bytes = usize::try_from(bytes).map_err(VmmError::memory)?;
    MmapRegion::build(
        Some(FileOffset::new(file, 0)),
        bytes,
        libc::PROT_READ | libc::PROT_WRITE,
        sharing | libc::MAP_NORESERVE,
    )
    .map_err(VmmError::memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_lies_page_aligned_at_the_top() {
        let layout = MemoryLayout::new(MIN_MEMORY_MIB, PAGE_BYTES * 3 + 1).expect("fits");
        assert_eq!(
            layout.ram_bytes(),
            (u64::from(MIN_MEMORY_MIB) << 20) - 4 * PAGE_BYTES
        );
        assert_eq!(layout.end(), u64::from(MIN_MEMORY_MIB) << 20);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (mebibytes, image) in [
            (MIN_MEMORY_MIB - 1, 0),
            (3073, 0),
            (MIN_MEMORY_MIB, 177 << 20),
            (MIN_MEMORY_MIB, u64::MAX),
        ] {
            assert!(
                MemoryLayout::new(mebibytes, image).is_err(),
                "{mebibytes} {image}"
            );
        }
    }

    #[test]
    fn a_file_shorter_than_ram_is_refused() {
        let layout = MemoryLayout::new(MIN_MEMORY_MIB, 0).expect("fits");
        let ram = create_ram(layout).expect("memfd");
        ram.set_len(PAGE_BYTES).expect("truncate");
        assert!(GuestMemory::map(layout, ram, Backing::Shared, None).is_err());
    }
}

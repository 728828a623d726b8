//! The file tree of this VM.

use crate::local::Local;
use crate::{clock, mem};
use ukernel_kernel_core::Surroundings;
pub(crate) use ukernel_kernel_core::files::{FileError, Kind, NodeId, Status, Tree};

/// The kernel's clock and memory.
struct Machine;

impl Surroundings for Machine {
    fn wall_ns(&self) -> u64 {
        clock::wall_ns()
    }

    fn spare_reserve(&self, is_spared: bool) {
        mem::spare_reserve(is_spared);
    }
}

/// The tree.
pub(crate) static TREE: Local<Tree> = Local::new(Tree::empty(&Machine));

//! Differences between the memory of a machine and its template's, in files: for who runs VMs
//! in another way and keeps what they changed in the same form.
//!
//! Memory is a file of whole pages; what was written is known as ranges of them.

pub use crate::snapshot::diff::{apply_at, apply_to_file as apply, write_from_file as write};
pub use crate::snapshot::pages::{PageMap, PageRange, union};

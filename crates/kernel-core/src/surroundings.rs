//! What this crate needs of the machine it runs on.

/// The clock and the memory behind what is kept here.
pub trait Surroundings: Sync {
    /// Nanoseconds since 1970-01-01 UTC.
    fn wall_ns(&self) -> u64;

    /// While this is `true`, allocations fail instead of taking the kernel's own reserve.
    fn spare_reserve(&self, is_spared: bool);
}

/// Runs `allocate`, which must bear that there is no memory.
pub(crate) fn sparing<R>(surroundings: &dyn Surroundings, allocate: impl FnOnce() -> R) -> R {
    surroundings.spare_reserve(true);
    let result = allocate();
    surroundings.spare_reserve(false);
    result
}

/// A host with memory enough, whose clock stands still.
#[cfg(test)]
pub(crate) struct Calm;

#[cfg(test)]
impl Surroundings for Calm {
    fn wall_ns(&self) -> u64 {
        1
    }

    fn spare_reserve(&self, _: bool) {}
}

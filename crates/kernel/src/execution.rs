//! Which execution something belongs to.

use crate::local::Local;

/// An execution. The host's number alone does not name it: numbers begin anew with every
/// connection, and tasks may outlive the execution that started them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Execution {
    /// Never the same twice in one VM.
    serial: u64,
    /// What the host calls it.
    pub(crate) id: u32,
}

static NEXT: Local<u64> = Local::new(1);

impl Execution {
    /// Before there was any.
    pub(crate) const NONE: Self = Self { serial: 0, id: 0 };

    /// The one that begins now.
    pub(crate) fn begin(id: u32) -> Self {
        let mut next = NEXT.get();
        *next += 1;
        Self {
            serial: *next - 1,
            id,
        }
    }
}

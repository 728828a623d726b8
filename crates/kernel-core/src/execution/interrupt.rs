//! The host's wish that an execution ends, latched until the program has met it.
//!
//! Two things race: the host's message, and the words the VMM sets in a program that computes.
//!
//! ```text
//!            message                 program meets it
//!   NONE ─────────────> WANTED ────────────────────────> NONE (said to the host)
//!    │ reached from outside first               ^
//!    └──────────> MET EARLY ───── message ──────┘
//! ```

/// How far an interrupt has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Interrupt {
    #[default]
    None,
    Wanted,
    MetEarly,
}

impl Interrupt {
    /// The host's message. Whether the program has met it already.
    pub(super) fn want(&mut self) -> bool {
        let was_met = *self == Self::MetEarly;
        *self = if was_met { Self::None } else { Self::Wanted };
        was_met
    }

    pub(super) fn is_wanted(self) -> bool {
        self == Self::Wanted
    }

    /// The program meets it. Whether the host's message was there.
    pub(super) fn take(&mut self, is_reached: bool) -> bool {
        let was_wanted = *self == Self::Wanted;
        *self = if is_reached && !was_wanted {
            Self::MetEarly
        } else {
            Self::None
        };
        was_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupt;

    #[test]
    fn an_interrupt_waits_for_its_program() {
        let mut interrupt = Interrupt::default();
        assert!(!interrupt.want(), "nobody has met it");
        assert!(interrupt.is_wanted());
        assert!(interrupt.take(false));
        assert!(!interrupt.is_wanted() && !interrupt.take(false), "once");
    }

    #[test]
    fn one_that_came_from_outside_first_is_one_interrupt() {
        let mut interrupt = Interrupt::default();
        assert!(!interrupt.take(true), "the message is on its way");
        assert!(interrupt.want(), "the host is told at once");
        assert!(!interrupt.is_wanted(), "and the program is not ended twice");
        assert!(!interrupt.want());
        assert!(interrupt.take(true));
    }
}

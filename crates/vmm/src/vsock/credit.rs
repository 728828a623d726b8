//! Credit: how many bytes each side may send before the other has made room
//! (virtio 1.2, section 5.10.6.3). All counters are modulo 2^32.

use std::num::Wrapping;

/// Breaches of the credit rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// More data than the guest had credit for.
    #[error("vsock data of {length} bytes with {free} bytes of credit left")]
    Overrun {
        /// What it sent.
        length: u32,
        /// What it was allowed to send.
        free: u32,
    },
    /// It acknowledged bytes that were never sent.
    #[error("vsock credit for bytes that were never sent")]
    Unsent,
}

/// What may still be sent to the guest.
#[derive(Debug, Default)]
pub struct ToGuest {
    buffer: u32,
    forwarded: Wrapping<u32>,
    sent: Wrapping<u32>,
    asked: bool,
}

impl ToGuest {
    /// Bytes the guest can take.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.buffer.saturating_sub((self.sent - self.forwarded).0)
    }

    /// `length` bytes were sent.
    pub fn sent(&mut self, length: u32) {
        self.sent += length;
    }

    /// The guest says how large its buffer is and how much it took out so far.
    ///
    /// # Errors
    /// [`CreditError::Unsent`] if that is more than it was ever sent.
    pub fn told(&mut self, buffer: u32, forwarded: u32) -> Result<(), CreditError> {
        let in_flight = self.sent - self.forwarded;
        if self.sent - Wrapping(forwarded) > in_flight {
            return Err(CreditError::Unsent);
        }
        self.forwarded = Wrapping(forwarded);
        self.buffer = buffer;
        if self.free() > 0 {
            self.asked = false;
        }
        Ok(())
    }

    /// Whether the guest has no room and was not asked about it yet.
    #[must_use]
    pub fn should_ask(&self) -> bool {
        self.free() == 0 && !self.asked
    }

    /// The guest was asked for room.
    pub fn asked(&mut self) {
        self.asked = true;
    }
}

/// What the guest may still send: a buffer of fixed size, drained by the host.
#[derive(Debug)]
pub struct FromGuest {
    buffer: u32,
    received: Wrapping<u32>,
    forwarded: Wrapping<u32>,
    told: Wrapping<u32>,
    requested: bool,
}

impl FromGuest {
    /// An empty buffer of `buffer` bytes.
    #[must_use]
    pub fn new(buffer: u32) -> Self {
        Self {
            buffer,
            received: Wrapping(0),
            forwarded: Wrapping(0),
            told: Wrapping(0),
            requested: false,
        }
    }

    /// `length` bytes came.
    ///
    /// # Errors
    /// [`CreditError::Overrun`] if there was no room for them.
    pub fn received(&mut self, length: usize) -> Result<(), CreditError> {
        let free = self
            .buffer
            .saturating_sub((self.received - self.forwarded).0);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if length > free {
            return Err(CreditError::Overrun { length, free });
        }
        self.received += length;
        Ok(())
    }

    /// The host took `length` bytes of what was received.
    pub fn forwarded(&mut self, length: usize) {
        // Never more than was received, a u32.
        #[expect(clippy::cast_possible_truncation)]
        let length = length as u32;
        self.forwarded += length;
    }

    /// The guest wants to know.
    pub fn requested(&mut self) {
        self.requested = true;
    }

    /// Whether the guest should be told of room without other reason for a packet.
    #[must_use]
    pub fn update_due(&self) -> bool {
        self.requested || (self.forwarded - self.told).0 >= self.buffer / 2
    }

    /// The fields of a packet sent now, which tells the guest.
    pub fn tell(&mut self) -> (u32, u32) {
        self.told = self.forwarded;
        self.requested = false;
        (self.buffer, self.forwarded.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is in flight never exceeds the guest's buffer, whatever honest or
        /// dishonest order the counters come in.
        #[test]
        fn never_more_in_flight_than_the_guest_can_take(
            steps in proptest::collection::vec((any::<bool>(), 0u32..200, 0u32..1000), 1..100),
        ) {
            let mut credit = ToGuest::default();
            let (mut sent, mut taken, mut largest) = (0u32, 0u32, 0u32);
            for (send, amount, buffer) in steps {
                if send {
                    let amount = amount.min(credit.free());
                    credit.sent(amount);
                    sent += amount;
                } else if taken + amount <= sent {
                    taken += amount;
                    largest = largest.max(buffer);
                    prop_assert!(credit.told(buffer, taken).is_ok());
                } else {
                    prop_assert_eq!(credit.told(buffer, taken + amount), Err(CreditError::Unsent));
                }
                prop_assert!(sent - taken <= largest);
            }
        }

        /// The guest cannot make the host buffer more than the buffer.
        #[test]
        fn never_more_buffered_than_the_buffer(
            steps in proptest::collection::vec((any::<bool>(), 0usize..400), 1..100),
        ) {
            let mut credit = FromGuest::new(1000);
            let mut buffered = 0;
            for (receive, amount) in steps {
                if receive {
                    let fits = buffered + amount <= 1000;
                    prop_assert_eq!(credit.received(amount).is_ok(), fits);
                    buffered += if fits { amount } else { 0 };
                } else {
                    let amount = amount.min(buffered);
                    credit.forwarded(amount);
                    buffered -= amount;
                }
                prop_assert!(buffered <= 1000);
            }
        }
    }
}

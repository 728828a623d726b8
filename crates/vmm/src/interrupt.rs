//! Reaching what computes, by an interrupt or an alarm: does to guest memory what the guest's kernel
//! has listed.

use crate::memory::Ram;
use crate::{Result, VmmError};
use ukernel_abi::interrupt::{TABLE_BYTES, decode};
use vm_memory::{Bytes, GuestAddress};

/// Writes what the table at `address` says. Whether there was anything: a guest whose runtime
/// cannot be reached lists nothing. The guest must stand still.
///
/// # Errors
/// [`VmmError::Memory`] if the table is none or points outside the guest's memory.
pub fn apply(ram: &Ram, address: u64) -> Result<bool> {
    let memory = |cause: String| VmmError::Memory { cause };
    let outside = |error| memory(format!("the signal table: {error}"));
    let mut table = [0; TABLE_BYTES];
    ram.read_slice(&mut table, GuestAddress(address))
        .map_err(outside)?;
    let entries =
        decode(&table).ok_or_else(|| memory("the signal table makes no sense".to_owned()))?;
    let mut any = false;
    for entry in entries {
        let place = GuestAddress(entry.address);
        let word: u32 = ram.read_obj(place).map_err(outside)?;
        ram.write_obj((word & entry.keep) | entry.set, place)
            .map_err(outside)?;
        any = true;
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ukernel_abi::interrupt::{Entry, INTERRUPT_TABLE, encode};

    const RAM_BYTES: usize = 8 << 20;

    fn ram() -> Ram {
        Ram::from_ranges(&[(GuestAddress(0), RAM_BYTES)]).expect("memory")
    }

    #[test]
    fn words_are_changed_as_listed() {
        let ram = ram();
        assert!(
            !apply(&ram, INTERRUPT_TABLE).expect("an empty table"),
            "nothing is listed"
        );
        let entries = [
            Entry {
                address: 0x1000,
                keep: u32::MAX,
                set: 0b100,
            },
            Entry {
                address: 0x2000,
                keep: 0,
                set: 7,
            },
        ];
        ram.write_slice(&encode(&entries), GuestAddress(INTERRUPT_TABLE))
            .expect("the table");
        ram.write_obj(0b1u32, GuestAddress(0x1000)).expect("a word");
        ram.write_obj(99u32, GuestAddress(0x2000)).expect("a word");
        assert!(apply(&ram, INTERRUPT_TABLE).expect("a table"));
        assert_eq!(
            ram.read_obj::<u32>(GuestAddress(0x1000)).expect("a word"),
            0b101
        );
        assert_eq!(
            ram.read_obj::<u32>(GuestAddress(0x2000)).expect("a word"),
            7
        );
    }

    #[test]
    fn a_table_that_points_outside_is_an_error() {
        let ram = ram();
        for address in [RAM_BYTES as u64, !3, 1 << 40] {
            let entry = Entry {
                address,
                keep: 0,
                set: 1,
            };
            ram.write_slice(&encode(&[entry]), GuestAddress(INTERRUPT_TABLE))
                .expect("the table");
            assert!(apply(&ram, INTERRUPT_TABLE).is_err(), "{address:#x}");
        }
    }

    proptest! {
        /// Any table is followed or refused, whatever a guest writes there.
        #[test]
        fn any_table_is_decided(bytes in proptest::collection::vec(any::<u8>(), TABLE_BYTES)) {
            let ram = ram();
            ram.write_slice(&bytes, GuestAddress(INTERRUPT_TABLE)).expect("the table");
            let _ = apply(&ram, INTERRUPT_TABLE);
        }
    }
}

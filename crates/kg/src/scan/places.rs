//! Where in a text a term may begin, 64 bytes at a time.
//!
//! A branch for every word of a text is one the processor guesses wrong. So this says for a whole
//! block, without branches, at which bytes a term may begin.

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 64;

/// A byte that is an ASCII letter or digit.
const WORD: u8 = 1;
/// A byte some term begins with.
const BEGINS: u8 = 2;

/// What each byte may be.
pub(super) struct Places([u8; 256]);

impl Places {
    pub(super) fn of<'a>(terms: impl Iterator<Item = &'a String>) -> Self {
        let mut classes = [0; 256];
        for byte in (0..=u8::MAX).filter(u8::is_ascii_alphanumeric) {
            classes[usize::from(byte)] |= WORD;
        }
        for first in terms.filter_map(|term| term.bytes().next()) {
            classes[usize::from(first)] |= BEGINS;
            classes[usize::from(first.to_ascii_uppercase())] |= BEGINS;
        }
        Self(classes)
    }

    /// At which bytes of a block a term may begin, as bits; and whether its last byte is a letter
    /// or digit. `within_word` says that of the byte before.
    #[inline]
    pub(super) fn of_block(&self, block: &[u8], within_word: bool) -> (u64, bool) {
        let (mut words, mut begins) = (0, 0);
        for (byte, index) in block.iter().zip(0..) {
            let class = u64::from(self.0[usize::from(*byte)]);
            words |= (class & u64::from(WORD)) << index;
            begins |= (class >> 1) << index;
        }
        let behind_words = words << 1 | u64::from(within_word);
        let ends_within = block.len() == BLOCK_BYTES && words >> (BLOCK_BYTES - 1) == 1;
        (begins & !(words & behind_words), ends_within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_begin_where_words_do() {
        let places = Places::of(["ab".to_owned(), "+b".to_owned(), "é".to_owned()].iter());
        assert_eq!(
            places.of_block(b"ab Ab aab x+ ++", false).0,
            0b110_1000_0100_1001
        );
        assert_eq!(places.of_block(b"ab", true), (0, false));
        assert_eq!(places.of_block("éa".as_bytes(), false).0, 0b101);
        let long = [b'a'; BLOCK_BYTES];
        assert_eq!(places.of_block(&long, false), (1, true));
    }
}

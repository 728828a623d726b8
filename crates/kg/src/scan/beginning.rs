//! How a word begins: a quick no for most words of a text.
//!
//! The beginning of a word is its first eight ASCII letters and digits, in lower case, or fewer if
//! something else stands among them. A term and each place where it stands have the same one:
//! what follows a short term there is no letter, or the term would not end where a word may end.

/// Fewest bits: 16 KiB, which stay in the first-level cache.
const LEAST_BITS: usize = 1 << 17;

/// Most bits: 2 MiB.
const MOST_BITS: usize = 1 << 24;

/// Bits for each term, so that few words but the terms' own have a bit set.
const BITS_PER_TERM: usize = 16;

/// How many of a word's characters count.
const LETTERS: usize = 8;

/// The beginnings of all terms, and perhaps of some other words.
pub(super) struct Beginnings {
    bits: Vec<u64>,
    /// By how much a hash is shifted to give the number of a bit.
    shift: u32,
}

impl Beginnings {
    pub(super) fn of<'a>(terms: impl ExactSizeIterator<Item = &'a String>) -> Self {
        let bits = (terms.len().saturating_mul(BITS_PER_TERM)).clamp(LEAST_BITS, MOST_BITS);
        let bits = bits.next_power_of_two();
        let mut beginnings = Self {
            bits: vec![0; bits / 64],
            shift: u64::BITS - bits.trailing_zeros(),
        };
        for term in terms {
            let bit = beginnings.bit(term.as_bytes());
            beginnings.bits[bit / 64] |= 1 << (bit % 64);
        }
        beginnings
    }

    /// Whether a term may begin a text. A no is certain.
    #[inline]
    pub(super) fn may_begin(&self, text: &[u8]) -> bool {
        let bit = self.bit(text);
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Which bit stands for the beginning of this text.
    #[inline]
    fn bit(&self, text: &[u8]) -> usize {
        // Multiplicative hashing: the upper bits of the product depend on all of the beginning.
        (beginning(text).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}

/// The beginning of a text, a byte for each letter.
#[inline]
fn beginning(text: &[u8]) -> u64 {
    let mut letters = [0; LETTERS];
    if let Some(first) = text.first_chunk::<LETTERS>() {
        letters = *first;
    } else {
        letters[..text.len()].copy_from_slice(text);
    }
    let mut others = 0u64;
    for (byte, place) in letters.iter().zip(0..) {
        others |= u64::from(!byte.is_ascii_alphanumeric()) << (8 * place);
    }
    let letters = u64::from_le_bytes(letters) | 0x2020_2020_2020_2020;
    // Everything from the first other byte on is cut off.
    letters & (others & others.wrapping_neg()).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_begins_where_it_stands() {
        let terms = [
            "api",
            "c++",
            ".net",
            "réseau",
            "reactor core",
            "x_y z",
            "k8s",
        ];
        let beginnings = Beginnings::of(terms.map(str::to_owned).iter());
        for text in [
            "API", "api.x", "c++", "C++x", ".NET", "réseau", "Reactor", "x_", "K8S ",
        ] {
            assert!(beginnings.may_begin(text.as_bytes()), "{text}");
        }
        for text in ["apis", "other", "reac", "k8", "networks"] {
            assert!(!beginnings.may_begin(text.as_bytes()), "{text}");
        }
    }
}

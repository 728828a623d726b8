//! How a word begins: a quick no for most words of a text.
//!
//! The beginning of a word is its first four ASCII letters and digits, in lower case, or fewer if
//! something else stands among them. A term and each place where it stands have the same one:
//! what follows a short term there is no letter, or the term would not end where a word may end.

/// Beginnings are kept as one bit of this many: 16 KiB, which stay in the first-level cache.
const BITS: usize = 1 << 17;

/// How many of a word's characters count.
const LETTERS: usize = 4;

/// The beginnings of all terms, and perhaps of some other words.
pub(super) struct Beginnings(Vec<u64>);

impl Beginnings {
    pub(super) fn of(terms: &[String]) -> Self {
        let mut bits = vec![0; BITS / 64];
        for term in terms {
            let bit = bit(term.as_bytes());
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Self(bits)
    }

    /// Whether a term may begin a text. A no is certain.
    #[inline]
    pub(super) fn may_begin(&self, text: &[u8]) -> bool {
        let bit = bit(text);
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }
}

/// Which bit stands for the beginning of this text.
#[inline]
fn bit(text: &[u8]) -> usize {
    let mut letters = [0; LETTERS];
    if let Some(first) = text.first_chunk::<LETTERS>() {
        letters = *first;
    } else {
        letters[..text.len()].copy_from_slice(text);
    }
    let mut beginning = 0u32;
    let mut within_word = true;
    for byte in letters {
        within_word &= byte.is_ascii_alphanumeric();
        let letter = if within_word { byte | 0x20 } else { 0 };
        beginning = beginning << 8 | u32::from(letter);
    }
    // Multiplicative hashing: the upper bits of the product depend on all of the beginning.
    (beginning.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BITS.trailing_zeros())) as usize
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
        let beginnings = Beginnings::of(&terms.map(str::to_owned));
        for text in [
            "API", "api.x", "c++", "C++x", ".NET", "réseau", "Reactor", "x_", "K8S ",
        ] {
            assert!(beginnings.may_begin(text.as_bytes()), "{text}");
        }
        for text in ["apis", "other", "reac", "k8"] {
            let may = beginnings.may_begin(text.as_bytes());
            assert_eq!(may, text == "reac", "{text}");
        }
    }
}

//! What an execution shows beside what it prints: pictures, pages, data.
//!
//! In the guest that is `display(object)`, and what a last value says of itself. Each is one call to
//! the host: the media type, a newline, the bytes.

use crate::environment::{CallResult, Part};

/// Name of the call.
pub(super) const DISPLAY: &str = "display";

/// Most parts of one execution, and their bytes together.
const MAX_PARTS: usize = 16;
const MAX_BYTES: usize = 8 << 20;

/// Whether bytes are of a kind.
type IsOne = fn(&[u8]) -> bool;

/// What may be shown, and how it is known for that.
const KINDS: [(&str, IsOne); 8] = [
    ("image/png", |bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", |bytes| bytes.starts_with(b"\xff\xd8\xff")),
    ("image/svg+xml", is_text),
    ("text/html", is_text),
    ("text/markdown", is_text),
    ("text/latex", is_text),
    ("text/plain", is_text),
    ("application/json", |bytes| {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    }),
];

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// What one execution has shown so far.
#[derive(Debug, Default)]
pub(super) struct Shown {
    parts: Vec<Part>,
    bytes: usize,
}

impl Shown {
    /// Takes what is shown by a call, or says why it is not taken.
    pub(super) fn take(&mut self, payload: &[u8]) -> CallResult {
        let newline = payload.iter().position(|byte| *byte == b'\n');
        let (kind, bytes) = newline
            .map(|at| (&payload[..at], &payload[at + 1..]))
            .ok_or("what is shown has no media type")?;
        let (media_type, is_one) = KINDS
            .iter()
            .find(|(name, _)| name.as_bytes() == kind)
            .ok_or_else(|| {
                let names = KINDS.map(|(name, _)| name);
                format!("what is shown is one of {}", names.join(", "))
            })?;
        if !is_one(bytes) {
            return Err(format!("that is no {media_type}"));
        }
        if self.parts.len() == MAX_PARTS || self.bytes + bytes.len() > MAX_BYTES {
            return Err(format!(
                "one execution shows at most {MAX_PARTS} parts, of {} MiB together",
                MAX_BYTES >> 20
            ));
        }
        self.bytes += bytes.len();
        self.parts.push(Part {
            media_type: (*media_type).to_owned(),
            bytes: bytes.to_vec(),
        });
        Ok(Vec::new())
    }

    pub(super) fn finish(self) -> Vec<Part> {
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PNG: &[u8] = b"image/png\n\x89PNG\r\n\x1a\nrest";

    #[test]
    fn what_is_shown_is_what_it_says() {
        let mut shown = Shown::default();
        for good in [
            PNG,
            b"text/html\n<b>\n</b>",
            b"application/json\n{\"a\":[1]}",
            b"text/plain\n",
        ] {
            shown.take(good).expect("taken");
        }
        for bad in [
            &b""[..],
            b"image/png",
            b"image/png\nGIF89a",
            b"image/gif\nGIF89a",
            b"text/html\n\xff",
            b"application/json\n{",
            b"application/json\n1 2",
        ] {
            assert!(shown.take(bad).is_err(), "{bad:?}");
        }
        let parts = shown.finish();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[1].media_type, "text/html");
        assert_eq!(parts[1].bytes, b"<b>\n</b>");
    }

    #[test]
    fn there_are_bounds() {
        let mut shown = Shown::default();
        for _ in 0..MAX_PARTS {
            shown.take(PNG).expect("taken");
        }
        assert!(shown.take(PNG).is_err());
        let mut shown = Shown::default();
        let large = [b"text/plain\n", &vec![b'a'; MAX_BYTES][..]].concat();
        shown.take(&large).expect("taken");
        assert!(shown.take(PNG).is_err());
    }

    proptest! {
        #[test]
        fn any_payload_is_decided(payload: Vec<u8>) {
            let mut shown = Shown::default();
            let taken = shown.take(&payload).is_ok();
            prop_assert_eq!(shown.finish().len(), usize::from(taken));
        }
    }
}

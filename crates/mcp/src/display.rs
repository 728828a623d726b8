//! Images that code shows: `display(png)` in the REPL is a host call, and its bytes come back as image
//! content of the call.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::ContentBlock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terraphim_rlm::{SessionId, Tool, ToolCall};

/// Name of the host call.
pub(crate) const DISPLAY: &str = "display";

/// Most images of one execution, and their bytes together.
const MAX_IMAGES: usize = 16;
const MAX_BYTES: usize = 8 << 20;

/// The kinds that are taken: how the bytes begin, and what they are.
const KINDS: [(&[u8], &str); 2] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
];

struct Image {
    kind: &'static str,
    bytes: Vec<u8>,
}

/// Images that were shown and not fetched yet. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Display(Arc<Mutex<HashMap<SessionId, Vec<Image>>>>);

impl Display {
    fn shown(&self) -> MutexGuard<'_, HashMap<SessionId, Vec<Image>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a session has shown since this was last called.
    pub(crate) fn take(&self, session: SessionId) -> Vec<ContentBlock> {
        let images = self.shown().remove(&session).unwrap_or_default();
        images
            .into_iter()
            .map(|image| ContentBlock::image(STANDARD.encode(image.bytes), image.kind))
            .collect()
    }

    fn show(&self, session: SessionId, bytes: Vec<u8>) -> Result<(), String> {
        let kind = KINDS
            .iter()
            .find(|(begin, _)| bytes.starts_with(begin))
            .map(|(_, kind)| *kind)
            .ok_or("only PNG and JPEG images are shown")?;
        let mut shown = self.shown();
        let images = shown.entry(session).or_default();
        let length: usize = images.iter().map(|image| image.bytes.len()).sum();
        if images.len() == MAX_IMAGES || length + bytes.len() > MAX_BYTES {
            return Err(format!(
                "one execution shows at most {MAX_IMAGES} images, of {} MiB together",
                MAX_BYTES >> 20
            ));
        }
        images.push(Image { kind, bytes });
        Ok(())
    }
}

#[async_trait]
impl Tool for Display {
    async fn answer(&self, call: ToolCall) -> Result<Vec<u8>, String> {
        self.show(call.session, call.payload)?;
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_of_their_session_and_bounded() {
        let display = Display::default();
        let id = || -> SessionId { uuid::Uuid::new_v4().to_string().parse().expect("an id") };
        let (one, other) = (id(), id());
        let png = b"\x89PNG\r\n\x1a\nrest".to_vec();
        display.show(one, png.clone()).expect("shown");
        assert!(display.show(one, b"GIF89a".to_vec()).is_err());
        assert!(display.show(one, Vec::new()).is_err());
        assert!(display.take(other).is_empty());
        assert_eq!(display.take(one).len(), 1);
        assert!(display.take(one).is_empty());
        for _ in 0..MAX_IMAGES {
            display.show(one, png.clone()).expect("shown");
        }
        assert!(display.show(one, png).is_err());
    }
}

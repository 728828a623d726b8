//! Named message channels between the tasks of one VM.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_abi::message::MAX_CHUNK_BYTES;

/// Messages that may wait in one channel.
const MAX_WAITING: usize = 64;

/// Channels there may be at once.
const MAX_CHANNELS: usize = 64;

/// Longest name of a channel, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Why a channel cannot do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcError {
    /// Nobody has this handle.
    NotFound,
    /// A name that cannot be one.
    Invalid,
    /// Too many channels, too many messages, or too long a message.
    Limit,
}

struct Channel {
    name: String,
    handles: u32,
    messages: VecDeque<Vec<u8>>,
}

/// The channels of a VM.
pub struct Channels {
    /// By handle number, which is never used again.
    channels: BTreeMap<u32, Channel>,
    next: u32,
}

impl Channels {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            channels: BTreeMap::new(),
            next: 1,
        }
    }

    /// Whether a receive would give something: a message, or the news that there is no channel.
    #[must_use]
    pub fn is_ready(&self, handle: u32) -> bool {
        self.channels
            .get(&handle)
            .is_none_or(|channel| !channel.messages.is_empty())
    }

    /// Makes a channel of this name, or joins the one there is; its handle.
    ///
    /// # Errors
    /// [`IpcError::Invalid`], [`IpcError::Limit`].
    pub fn create(&mut self, name: String) -> Result<u32, IpcError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(IpcError::Invalid);
        }
        let mut all = self.channels.iter_mut();
        if let Some((handle, channel)) = all.find(|(_, channel)| channel.name == name) {
            channel.handles += 1;
            return Ok(*handle);
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(IpcError::Limit);
        }
        let handle = self.next;
        self.next = handle.checked_add(1).ok_or(IpcError::Limit)?;
        let channel = Channel {
            name,
            handles: 1,
            messages: VecDeque::new(),
        };
        self.channels.insert(handle, channel);
        Ok(handle)
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`IpcError::Limit`], [`IpcError::NotFound`].
    pub fn send(&mut self, handle: u32, message: Vec<u8>) -> Result<(), IpcError> {
        if message.len() > MAX_CHUNK_BYTES {
            return Err(IpcError::Limit);
        }
        let channel = self.channels.get_mut(&handle).ok_or(IpcError::NotFound)?;
        if channel.messages.len() >= MAX_WAITING {
            return Err(IpcError::Limit);
        }
        channel.messages.push_back(message);
        Ok(())
    }

    /// Takes the oldest message, `None` if nothing waits.
    ///
    /// # Errors
    /// [`IpcError::NotFound`].
    pub fn recv(&mut self, handle: u32) -> Result<Option<Vec<u8>>, IpcError> {
        let channel = self.channels.get_mut(&handle).ok_or(IpcError::NotFound)?;
        Ok(channel.messages.pop_front())
    }

    /// Gives a handle back; with the last one the channel and its messages go.
    pub fn close(&mut self, handle: u32) {
        if let Some(channel) = self.channels.get_mut(&handle) {
            channel.handles -= 1;
            if channel.handles == 0 {
                self.channels.remove(&handle);
            }
        }
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;
    use std::vec;

    #[test]
    fn a_name_is_one_channel_until_nobody_has_it() {
        let mut channels = Channels::new();
        let handle = channels.create("a".to_string()).expect("a channel");
        assert_eq!(channels.create("a".to_string()), Ok(handle));
        channels.send(handle, vec![1]).expect("room");
        channels.close(handle);
        assert_eq!(channels.recv(handle), Ok(Some(vec![1])));
        assert_eq!(channels.recv(handle), Ok(None));
        channels.close(handle);
        channels.close(handle);
        assert_eq!(channels.recv(handle), Err(IpcError::NotFound));
        assert!(channels.is_ready(handle), "the end is news");
        assert_ne!(
            channels.create("a".to_string()),
            Ok(handle),
            "never used again"
        );
    }

    proptest! {
        /// Bounded, whatever is asked.
        #[test]
        fn any_use_is_bounded(steps in proptest::collection::vec((0u8..3, 0u32..100), 0..300)) {
            let mut channels = Channels::new();
            for (what, number) in steps {
                match what {
                    0 => drop(channels.create(format!("{number}"))),
                    1 => drop(channels.send(number, vec![0; 10])),
                    _ => channels.close(number),
                }
                prop_assert!(channels.channels.len() <= MAX_CHANNELS);
                let waiting = channels.channels.values().map(|channel| channel.messages.len());
                prop_assert!(waiting.max().unwrap_or(0) <= MAX_WAITING);
            }
        }
    }
}

//! The types of `wasi:filesystem`, to the last field and case, because a component's types must
//! match.

use super::clocks::Datetime;
use crate::clock;
use crate::files::{Kind, Status};
use alloc::string::String;
use wasmtime::component::{ComponentType, Lift, Lower, flags};

flags! {
    DescriptorFlags {
        #[component(name = "read")]
        const READ;
        #[component(name = "write")]
        const WRITE;
        #[component(name = "file-integrity-sync")]
        const FILE_INTEGRITY_SYNC;
        #[component(name = "data-integrity-sync")]
        const DATA_INTEGRITY_SYNC;
        #[component(name = "requested-write-sync")]
        const REQUESTED_WRITE_SYNC;
        #[component(name = "mutate-directory")]
        const MUTATE_DIRECTORY;
    }
}

flags! {
    PathFlags {
        #[component(name = "symlink-follow")]
        const FOLLOW;
    }
}

flags! {
    OpenFlags {
        #[component(name = "create")]
        const CREATE;
        #[component(name = "directory")]
        const DIRECTORY;
        #[component(name = "exclusive")]
        const EXCLUSIVE;
        #[component(name = "truncate")]
        const TRUNCATE;
    }
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the tree has three kinds, WASI eight")]
pub(super) enum DescriptorType {
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "block-device")]
    BlockDevice,
    #[component(name = "character-device")]
    CharacterDevice,
    #[component(name = "directory")]
    Directory,
    #[component(name = "fifo")]
    Fifo,
    #[component(name = "symbolic-link")]
    SymbolicLink,
    #[component(name = "regular-file")]
    RegularFile,
    #[component(name = "socket")]
    Socket,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct Stat {
    #[component(name = "type")]
    kind: DescriptorType,
    #[component(name = "link-count")]
    links: u64,
    size: u64,
    #[component(name = "data-access-timestamp")]
    accessed: Option<Datetime>,
    #[component(name = "data-modification-timestamp")]
    modified: Option<Datetime>,
    #[component(name = "status-change-timestamp")]
    changed: Option<Datetime>,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct DirectoryEntry {
    #[component(name = "type")]
    pub(super) kind: DescriptorType,
    pub(super) name: String,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct MetadataHash {
    pub(super) lower: u64,
    pub(super) upper: u64,
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum NewTimestamp {
    #[component(name = "no-change")]
    NoChange,
    #[component(name = "now")]
    Now,
    #[component(name = "timestamp")]
    Timestamp(Datetime),
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by the component")]
pub(super) enum Advice {
    #[component(name = "normal")]
    Normal,
    #[component(name = "sequential")]
    Sequential,
    #[component(name = "random")]
    Random,
    #[component(name = "will-need")]
    WillNeed,
    #[component(name = "dont-need")]
    DontNeed,
    #[component(name = "no-reuse")]
    NoReuse,
}

impl From<Kind> for DescriptorType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::RegularFile,
            Kind::Directory => Self::Directory,
            Kind::Link => Self::SymbolicLink,
        }
    }
}

impl From<Status> for Stat {
    fn from(status: Status) -> Self {
        let modified = Some(Datetime::from_ns(status.modified_ns));
        Self {
            kind: status.kind.into(),
            links: status.names,
            size: status.bytes,
            accessed: Some(Datetime::from_ns(status.accessed_ns)),
            modified,
            changed: modified,
        }
    }
}

impl NewTimestamp {
    pub(super) fn to_ns(self) -> Option<u64> {
        match self {
            Self::NoChange => None,
            Self::Now => Some(clock::wall_ns()),
            Self::Timestamp(at) => Some(at.to_ns()),
        }
    }
}

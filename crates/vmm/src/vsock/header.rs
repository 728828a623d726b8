//! The header of a vsock packet, as values (virtio 1.2, section 5.10.6).

use virtio_vsock::packet::VsockPacket;
use vm_memory::bitmap::BitmapSlice;

/// What a packet is for (virtio 1.2, section 5.10.6, `virtio_vsock_op`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Opens a connection.
    Request = 1,
    /// Accepts one.
    Response = 2,
    /// Refuses, ends or does not know one.
    Reset = 3,
    /// Says what the sender will not do any more.
    Shutdown = 4,
    /// Carries data.
    Data = 5,
    /// Tells how much the sender can take.
    CreditUpdate = 6,
    /// Asks for a credit update.
    CreditRequest = 7,
}

impl Operation {
    /// The operation with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        [
            Self::Request,
            Self::Response,
            Self::Reset,
            Self::Shutdown,
            Self::Data,
            Self::CreditUpdate,
            Self::CreditRequest,
        ]
        .into_iter()
        .find(|operation| *operation as u16 == code)
    }
}

/// Packet type of a stream, the only one offered.
pub const TYPE_STREAM: u16 = 1;

/// Flags of a shutdown: the sender neither receives nor sends any more.
pub const SHUTDOWN_BOTH: u32 = 3;

/// Header of a packet, without the context ids, which never vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Port of the sender.
    pub source_port: u32,
    /// Port of the receiver.
    pub destination_port: u32,
    /// What the packet is for.
    pub operation: Operation,
    /// Details of a shutdown.
    pub flags: u32,
    /// Bytes the sender can buffer for this connection.
    pub buffer_bytes: u32,
    /// Bytes the sender has taken out of that buffer so far, modulo 2^32.
    pub forwarded: u32,
}

/// The context ids, type or operation of a packet make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not from the guest's context id.
    #[error("vsock packet from context id {0}")]
    Source(u64),
    /// Not to the host's context id.
    #[error("vsock packet to context id {0}")]
    Destination(u64),
    /// Not a stream.
    #[error("vsock packet of type {0}")]
    Type(u16),
    /// Not an operation.
    #[error("vsock packet with operation {0}")]
    Operation(u16),
}

/// Reads the header of a packet the guest sent.
///
/// # Errors
/// [`HeaderError`].
pub fn read<B: BitmapSlice>(packet: &VsockPacket<'_, B>) -> Result<Header, HeaderError> {
    use ukernel_abi::layout::{GUEST_CID, HOST_CID};
    if packet.src_cid() != GUEST_CID {
        return Err(HeaderError::Source(packet.src_cid()));
    }
    if packet.dst_cid() != HOST_CID {
        return Err(HeaderError::Destination(packet.dst_cid()));
    }
    if packet.type_() != TYPE_STREAM {
        return Err(HeaderError::Type(packet.type_()));
    }
    let operation = Operation::from_code(packet.op()).ok_or(HeaderError::Operation(packet.op()))?;
    Ok(Header {
        source_port: packet.src_port(),
        destination_port: packet.dst_port(),
        operation,
        flags: packet.flags(),
        buffer_bytes: packet.buf_alloc(),
        forwarded: packet.fwd_cnt(),
    })
}

/// Writes the header of a packet to the guest with `length` bytes of data.
pub fn write<B: BitmapSlice>(packet: &mut VsockPacket<'_, B>, header: Header, length: u32) {
    use ukernel_abi::layout::{GUEST_CID, HOST_CID};
    packet
        .set_src_cid(HOST_CID)
        .set_dst_cid(GUEST_CID)
        .set_src_port(header.source_port)
        .set_dst_port(header.destination_port)
        .set_len(length)
        .set_type(TYPE_STREAM)
        .set_op(header.operation as u16)
        .set_flags(header.flags)
        .set_buf_alloc(header.buffer_bytes)
        .set_fwd_cnt(header.forwarded);
}

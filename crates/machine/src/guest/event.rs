//! What an execution says.

use crate::calls::HostCall;
use tokio::sync::mpsc;
use ukernel_abi::message::{LogLevel, Outcome, Signal, SpilledOutput, Stream, TraceRecord};

/// Something an execution said.
#[derive(Debug)]
pub enum Event {
    /// It wrote output.
    Output(Stream, Vec<u8>),
    /// It logged.
    Log(LogLevel, String),
    /// It traced, at this moment of its monotonic clock, nanoseconds.
    Trace(u64, TraceRecord),
    /// It asks for something and waits for [`Answers::answer`].
    Call(HostCall),
    /// A signal has reached it; `false`: its guest knows no such signal.
    Signalled(Signal, bool),
    /// It has ended. Nothing follows.
    Ended {
        /// How.
        outcome: Outcome,
        /// Output too long to be handed on.
        spilled: Vec<SpilledOutput>,
    },
}

/// How an execution ended, and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Output too long to be handed on.
    pub spilled: Vec<SpilledOutput>,
}

/// What an execution says, each with what it takes of the window, in bytes.
pub(super) type Said = mpsc::UnboundedReceiver<(Event, u64)>;

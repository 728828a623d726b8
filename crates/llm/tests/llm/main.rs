//! The crate as its callers meet it. Servers are real ones on loopback that the tests start.

mod failures;
mod limits;
mod recordings;
mod replays;
mod replies;
mod secrets;
mod support;

//! Host calls of one execution.

use crate::environment::{HostCall, HostCalls};
use std::sync::Arc;
use tokio::task::JoinSet;
use ukernel_machine::guest::Answers;

/// Has calls answered while the execution is followed. What is under way when this is dropped is
/// ended: nobody waits for it.
pub(super) struct Caller {
    calls: Option<Arc<dyn HostCalls>>,
    answers: Answers,
    under_way: JoinSet<()>,
}

impl Caller {
    pub(super) fn new(calls: Option<Arc<dyn HostCalls>>, answers: Answers) -> Self {
        Self {
            calls,
            answers,
            under_way: JoinSet::new(),
        }
    }

    /// Begins to answer a call.
    pub(super) fn take(&mut self, call: HostCall) {
        while self.under_way.try_join_next().is_some() {}
        let answers = self.answers.clone();
        let calls = self.calls.clone();
        self.under_way.spawn(async move {
            let number = call.number;
            let answer = match calls {
                Some(calls) => calls.answer(call).await,
                None => Err("nobody answers host calls of this execution".to_owned()),
            };
            // Fails where the connection has ended: then nobody waits.
            let _ = answers.answer(number, answer).await;
        });
    }

    /// Ends what is under way, and waits until it is gone.
    pub(super) async fn end(mut self) {
        self.under_way.shutdown().await;
    }
}

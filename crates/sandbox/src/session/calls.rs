//! Host calls of one execution.

use crate::environment::{HostCall, HostCalls};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use ukernel_machine::MachineError;
use ukernel_machine::calls::Answers;

/// Has calls answered while the execution is followed.
pub(super) struct Caller {
    calls: Option<Arc<dyn HostCalls>>,
    answers: Arc<Answers>,
    under_way: JoinSet<()>,
}

impl Caller {
    pub(super) fn new(calls: Option<Arc<dyn HostCalls>>) -> Result<Self, MachineError> {
        Ok(Self {
            calls,
            answers: Arc::new(Answers::new()?),
            under_way: JoinSet::new(),
        })
    }

    pub(super) fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.answers)
    }

    /// Ends what is under way, and waits until it is gone. Only on a thread that may block.
    pub(super) fn end(mut self) {
        Handle::current().block_on(self.under_way.shutdown());
    }

    /// Begins to answer a call. Only on a thread of the runtime.
    pub(super) fn take(&mut self, call: HostCall) {
        while self.under_way.try_join_next().is_some() {}
        let answers = self.answers();
        let Some(calls) = self.calls.clone() else {
            let reason = "nobody answers host calls of this execution";
            answers.push(call.number, Err(reason.to_owned()));
            return;
        };
        let answering = async move {
            let number = call.number;
            let answer = calls.answer(call).await;
            answers.push(number, answer);
        };
        self.under_way.spawn_on(answering, &Handle::current());
    }
}

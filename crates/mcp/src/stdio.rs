//! The protocol on standard input and output. rmcp answers one of two requests with the same id and
//! drops the other; here the second is refused, so that nobody waits for ever.

use rmcp::ErrorData;
use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{Stdin, Stdout};

/// Longest line, in bytes: code of 16 MiB, escaped. A longer one is passed over.
const MAX_LINE_BYTES: usize = 24 << 20;

/// Most requests of one client that are under way. Its next ones are refused.
const MAX_PENDING: usize = 256;

/// Standard input and output, with the ids that are under way.
pub(crate) struct Stdio {
    inner: AsyncRwTransport<RoleServer, Stdin, Stdout>,
    pending: Pending,
}

#[derive(Clone, Default)]
struct Pending(Arc<Mutex<HashSet<RequestId>>>);

impl Pending {
    fn ids(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a request; why not, if it cannot be.
    fn enter(&self, id: &RequestId) -> Result<(), ErrorData> {
        let mut ids = self.ids();
        if ids.len() >= MAX_PENDING {
            let message = format!("{MAX_PENDING} requests are under way; wait for one of them");
            return Err(ErrorData::invalid_request(message, None));
        }
        if !ids.insert(id.clone()) {
            let message = format!("a request with the id {id} is under way");
            return Err(ErrorData::invalid_request(message, None));
        }
        Ok(())
    }
}

impl Stdio {
    pub(crate) fn new() -> Self {
        let inner = AsyncRwTransport::new_server(tokio::io::stdin(), tokio::io::stdout());
        Self {
            inner: inner.with_max_line_length(MAX_LINE_BYTES),
            pending: Pending::default(),
        }
    }
}

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let answered = match &item {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        if let Some(id) = answered {
            self.pending.ids().remove(id);
        }
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let message = self.inner.receive().await?;
            match &message {
                JsonRpcMessage::Request(request) => {
                    if let Err(error) = self.pending.enter(&request.id) {
                        let refused = JsonRpcMessage::error(error, Some(request.id.clone()));
                        // In a task of its own: this future is dropped whenever there is something
                        // else to do. A client that does not read is found out by the next line.
                        tokio::spawn(self.inner.send(refused));
                        continue;
                    }
                }
                JsonRpcMessage::Notification(notification) => {
                    use rmcp::model::ClientNotification::CancelledNotification;
                    // What is cancelled gets no answer.
                    if let CancelledNotification(cancelled) = &notification.notification
                        && let Some(id) = &cancelled.params.request_id
                    {
                        self.pending.ids().remove(id);
                    }
                }
                _ => {}
            }
            return Some(message);
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_under_way_once() {
        let pending = Pending::default();
        let id = RequestId::Number(1);
        pending.enter(&id).expect("entered");
        assert!(pending.enter(&id).is_err());
        pending.ids().remove(&id);
        pending.enter(&id).expect("again");
        for number in 2..=MAX_PENDING {
            let id = RequestId::Number(i64::try_from(number).expect("small"));
            pending.enter(&id).expect("entered");
        }
        assert!(pending.enter(&RequestId::Number(0)).is_err());
    }
}

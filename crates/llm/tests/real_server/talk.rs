//! Short ways to ask a server.

use super::install::Installed;
use super::server::{LONG, Options, Server};
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    Failure, GenericLlmClient, LlmConfig, Message, ProviderClient, ProviderConfig, Reply, Request,
    Result, RetryPolicy,
};

/// What the server calls its model.
pub const MODEL: &str = "chains";

/// What the behaviours stand on.
pub struct Talk {
    /// The server they share.
    pub server: Server,
    installed: Installed,
    runtime: Runtime,
}

impl Talk {
    pub fn new(installed: Installed, server: Server) -> Self {
        Self {
            server,
            installed,
            runtime: Runtime::new().expect("a runtime"),
        }
    }

    /// A server of one's own.
    pub fn other_server(&self, options: &Options) -> Server {
        Server::start(&self.installed, options)
    }

    /// Runs to the end, which comes.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(LONG, future).await };
        self.runtime.block_on(limited).expect("in time")
    }

    /// A client of the shared server.
    pub fn client(&self) -> ProviderClient {
        client_of(config_at(&self.server, None))
    }

    /// Asks the shared server.
    pub fn ask(&self, request: &Request) -> Reply {
        let client = self.client();
        self.run(complete(&client, request)).expect("a reply")
    }
}

/// A configuration in which a server is the provider `local`.
pub fn config_at(server: &Server, key: Option<&str>) -> LlmConfig {
    let provider = ProviderConfig {
        base_url: Some(format!("{}/v1", server.address)),
        key: key.map(|key| key.parse().expect("a key")),
    };
    LlmConfig {
        providers: [("local".to_owned(), provider)].into(),
        retry: RetryPolicy {
            max_attempts: 3,
            base_wait_ms: 10,
            ..RetryPolicy::default()
        },
        ..LlmConfig::default()
    }
}

pub fn client_of(config: LlmConfig) -> ProviderClient {
    ProviderClient::new(config).expect("a client")
}

/// Asks the model to go on from a text.
pub fn say(text: &str) -> Request {
    say_to("local/chains", text)
}

/// Asks a model of any provider to go on from a text.
pub fn say_to(model: &str, text: &str) -> Request {
    let model = model.parse().expect("a name");
    Request::new(model, vec![Message::user(text)])
}

/// Asks for so many ticks of a clock that would tick without end.
pub fn ticks(count: u32) -> Request {
    Request {
        max_tokens: Some(count),
        ..say("tick")
    }
}

/// What the clock says in so many tokens.
pub fn ticking(count: usize) -> String {
    [" tock", " tick"].into_iter().cycle().take(count).collect()
}

pub async fn complete(client: &ProviderClient, request: &Request) -> Result<Reply> {
    client.complete(request, &CancellationToken::new()).await
}

/// The failure of a call that must not have a reply.
pub async fn failure(client: &ProviderClient, request: &Request) -> Failure {
    failure_of(complete(client, request).await)
}

pub fn failure_of(outcome: Result<Reply>) -> Failure {
    let error = outcome.expect_err("no reply");
    error.failure().expect("a failed call").clone()
}

/// A reply that has begun, on a task of its own.
pub struct Begun {
    pub cancel: CancellationToken,
    pub call: JoinHandle<Result<Reply>>,
    // Held, so that the listener is there to the end.
    pieces: mpsc::UnboundedReceiver<String>,
}

impl Begun {
    /// Begins a reply without end, and waits for its first words.
    pub async fn with(config: LlmConfig) -> Self {
        let (listener, mut heard) = mpsc::channel(16);
        let (pass_on, pieces) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let client = client_of(config);
        let call = tokio::spawn(async move { client.stream(&say("tick"), listener, &token).await });
        tokio::spawn(async move {
            while let Some(piece) = heard.recv().await {
                let _ = pass_on.send(piece);
            }
        });
        let mut begun = Self {
            cancel,
            call,
            pieces,
        };
        begun.pieces.recv().await.expect("a piece");
        begun
    }

    /// How it ends, within a time.
    pub async fn end(self, limit: Duration) -> Failure {
        let outcome = tokio::time::timeout(limit, self.call).await;
        failure_of(outcome.expect("an end in time").expect("no panic"))
    }
}

//! Tools of other MCP servers, for code in a session: `tools.NAME.function(...)` in the REPL is the
//! host call `mcp.NAME`. One tool call of a model drives as many of these as its program makes.
//!
//! A server is started, or reached, at the first call, and again after it went away. What it sends is
//! bounded, and so is how long a call may take and how many a session may make.

use async_trait::async_trait;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation,
    JsonObject, Tool as ServerTool,
};
use rmcp::service::{Peer, RoleClient, RunningService, ServiceError, ServiceExt};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::sync::{Arc, Mutex as BlockingMutex, MutexGuard, PoisonError};
use std::time::Duration;
use terraphim_rlm::{Result, RlmError, SessionId, TerraphimRlm, Tool, ToolCall, UpstreamServer};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long a server may take to start and to say what it is.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer of a server, in bytes; a host call carries 16 MiB.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Most tools of a server.
const MAX_TOOLS: usize = 2000;

/// What a started server has of this process's environment.
const INHERITED: [&str; 3] = ["HOME", "LANG", "PATH"];

/// Marks a value that is read from this process's environment.
const FROM_ENVIRONMENT: &str = "env:";

/// The servers of a configuration. Clones share their connections, which end with the last.
#[derive(Clone, Default)]
pub struct Upstream {
    servers: Vec<Arc<Server>>,
}

struct Server {
    name: String,
    config: UpstreamServer,
    /// Its whole environment, if it is started.
    environment: BTreeMap<String, String>,
    token: Option<String>,
    connection: Mutex<Option<RunningService<RoleClient, ClientConfig>>>,
    used: BlockingMutex<Used>,
}

/// What was asked of a server.
#[derive(Default)]
struct Used {
    by_session: HashMap<SessionId, u64>,
    calls: u64,
    failed: u64,
}

/// What code asks.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Call { tool: String, arguments: JsonObject },
    List { list: bool },
}

impl Upstream {
    /// The servers of a configuration. `variable` reads the environment.
    ///
    /// # Errors
    /// [`RlmError::Config`] if a variable that is named is not set.
    pub fn new(
        servers: &BTreeMap<String, UpstreamServer>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let read = |server: &str, name: &str| {
            variable(name)
                .ok_or_else(|| RlmError::config(format!("mcp_servers.{server}: {name} is not set")))
        };
        let mut made = Vec::new();
        for (name, config) in servers {
            let mut environment: BTreeMap<String, String> = INHERITED
                .into_iter()
                .filter_map(|inherited| Some((inherited.to_owned(), variable(inherited)?)))
                .collect();
            for (key, value) in &config.env {
                let value = match value.strip_prefix(FROM_ENVIRONMENT) {
                    Some(from) => read(name, from)?,
                    None => value.clone(),
                };
                environment.insert(key.clone(), value);
            }
            let token = config.token_variable.as_deref();
            made.push(Arc::new(Server {
                name: name.clone(),
                config: config.clone(),
                environment,
                token: token.map(|from| read(name, from)).transpose()?,
                connection: Mutex::default(),
                used: BlockingMutex::default(),
            }));
        }
        Ok(Self { servers: made })
    }

    /// Lets code in every session of this runtime call the tools.
    ///
    /// # Errors
    /// [`RlmError::Config`] if there are such calls already.
    pub fn attach(&self, rlm: &TerraphimRlm) -> Result<()> {
        for server in &self.servers {
            let tool = Arc::new(Door(Arc::clone(server)));
            rlm.add_tool(&format!("mcp.{}", server.name), tool)?;
        }
        Ok(())
    }

    /// What was asked of each server since the start: its name, calls, and those that failed.
    pub(crate) fn used(&self) -> Vec<(String, u64, u64)> {
        let used = self.servers.iter().map(|server| {
            let used = server.used();
            (server.name.clone(), used.calls, used.failed)
        });
        used.collect()
    }

    /// Ends every connection, and the servers that were started.
    pub async fn stop(&self) {
        for server in &self.servers {
            server.hang_up().await;
        }
    }
}

/// A server as a host call.
struct Door(Arc<Server>);

#[async_trait]
impl Tool for Door {
    async fn answer(&self, call: ToolCall) -> std::result::Result<Vec<u8>, String> {
        let server = &self.0;
        let asked: Asked = serde_json::from_slice(&call.payload)
            .map_err(|error| format!("the call makes no sense: {error}"))?;
        let answer = server.within_limits(call, asked).await;
        if answer.is_err() {
            server.used().failed += 1;
        }
        answer
    }
}

impl Server {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn within_limits(
        &self,
        call: ToolCall,
        asked: Asked,
    ) -> std::result::Result<Vec<u8>, String> {
        let limit = self.config.timeout();
        let answered = timeout(limit, self.answer(call.session, asked));
        let answer = tokio::select! {
            answer = answered => answer
                .map_err(|_| format!("{} did not answer within {limit:?}", self.name))??,
            () = call.cancel.cancelled() => return Err("cancelled".to_owned()),
        };
        if answer.len() > MAX_ANSWER_BYTES {
            return Err(format!(
                "{} answered with {} bytes; at most {MAX_ANSWER_BYTES} are taken",
                self.name,
                answer.len()
            ));
        }
        Ok(answer)
    }

    async fn answer(
        &self,
        session: SessionId,
        asked: Asked,
    ) -> std::result::Result<Vec<u8>, String> {
        match asked {
            Asked::List { list: true } => {
                let peer = self.peer().await?;
                let listed = peer.list_all_tools().await;
                let tools = match listed {
                    Ok(tools) => tools,
                    Err(error) => return Err(self.failed(&error).await),
                };
                let allowed = tools.into_iter().filter(|tool| self.allows(&tool.name));
                let shown: Vec<_> = allowed.take(MAX_TOOLS).map(|tool| shown(&tool)).collect();
                to_bytes(&json!({"tools": shown}))
            }
            Asked::List { list: false } => Err("the call makes no sense: list what?".to_owned()),
            Asked::Call { tool, arguments } => {
                if !self.allows(&tool) {
                    let name: String = tool.escape_debug().take(80).collect();
                    return Err(format!(
                        "the configuration does not allow {}.{name}",
                        self.name
                    ));
                }
                self.count(session)?;
                tracing::info!("session {session} calls {}.{tool}", self.name);
                let peer = self.peer().await?;
                let params = CallToolRequestParams::new(tool).with_arguments(arguments);
                match peer.call_tool_once(params).await {
                    Ok(CallToolResponse::Complete(result)) => to_bytes(&result),
                    Ok(_) => Err(format!(
                        "{} wants more than an answer: input of a person, or time as a task",
                        self.name
                    )),
                    Err(error) => Err(self.failed(&error).await),
                }
            }
        }
    }

    fn allows(&self, tool: &str) -> bool {
        let allow = self.config.allow.as_ref();
        allow.is_none_or(|allow| allow.iter().any(|name| name == tool))
    }

    fn count(&self, session: SessionId) -> std::result::Result<(), String> {
        let mut used = self.used();
        used.calls += 1;
        let count = used.by_session.entry(session).or_default();
        if *count >= self.config.max_calls {
            return Err(format!(
                "this session has made {count} calls of {}, and may make no more",
                self.name
            ));
        }
        *count += 1;
        Ok(())
    }

    /// The connection, made if there is none.
    async fn peer(&self) -> std::result::Result<Peer<RoleClient>, String> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref()
            && !open.is_transport_closed()
        {
            return Ok(open.peer().clone());
        }
        let connected = timeout(CONNECT_PATIENCE, self.connect()).await;
        let open = connected
            .map_err(|_| format!("{} did not begin within {CONNECT_PATIENCE:?}", self.name))??;
        let peer = open.peer().clone();
        *connection = Some(open);
        Ok(peer)
    }

    async fn connect(
        &self,
    ) -> std::result::Result<RunningService<RoleClient, ClientConfig>, String> {
        let this = ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("ukernel", env!("CARGO_PKG_VERSION")),
        );
        let failed = |error: String| format!("{} cannot be used: {error}", self.name);
        match (&self.config.command, &self.config.url) {
            (Some(command), _) => {
                let mut process = Command::new(command);
                process
                    .args(&self.config.args)
                    .env_clear()
                    .envs(&self.environment)
                    .kill_on_drop(true);
                // What it logs is nobody's here.
                let (transport, _) = TokioChildProcess::builder(process)
                    .stderr(Stdio::null())
                    .spawn()
                    .map_err(|error| failed(format!("{command}: {error}")))?;
                let served = this.serve(transport).await;
                served.map_err(|error| failed(error.to_string()))
            }
            (None, Some(url)) => {
                let client = ukernel_llm::http_client(CONNECT_PATIENCE, None)
                    .map_err(|error| failed(error.to_string()))?;
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.clone());
                config.auth_header.clone_from(&self.token);
                config.max_sse_event_size = MAX_ANSWER_BYTES;
                config.max_json_response_size = MAX_ANSWER_BYTES;
                let transport = StreamableHttpClientTransport::with_client(client, config);
                let served = this.serve(transport).await;
                served.map_err(|error| failed(error.to_string()))
            }
            (None, None) => Err(failed("it has neither a command nor a url".to_owned())),
        }
    }

    /// An error in words. A connection that is of no more use is closed: the next call makes another.
    async fn failed(&self, error: &ServiceError) -> String {
        match error {
            ServiceError::McpError(error) => format!("{}: {}", self.name, error.message),
            ServiceError::TransportClosed | ServiceError::TransportSend(_) => {
                self.hang_up().await;
                format!("{} went away: {error}", self.name)
            }
            other => format!("{}: {other}", self.name),
        }
    }

    async fn hang_up(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            // It ends one way or the other.
            let _ = connection.cancel().await;
        }
    }
}

/// What code is shown of a tool.
fn shown(tool: &ServerTool) -> serde_json::Value {
    json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": *tool.input_schema,
    })
}

fn to_bytes(value: &impl serde::Serialize) -> std::result::Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

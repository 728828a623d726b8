//! What the protocol asks of a server.

use crate::approval::Call;
use crate::args::{self, Args, BashArgs, CodeArgs, QueryArgs, StatusArgs};
use crate::caller::Caller;
use crate::calls::{self, ConnectionSession, Desk, Shared};
use crate::options::{Open, Options};
use crate::replies::{Answered, Executed, Failure, Reply, Snapshots, Stands, Variables};
use crate::running::{Parts, Waited, cancelled, failed, query_parts, query_work, undecided, wait};
use crate::sampling::{ClientModel, NAME};
use crate::tasks::{Ended, Kind, Standing, Task, detailed, protocol_task};
use crate::{resources, tools};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, CreateTaskResult,
    GetTaskParams, GetTaskResult, Implementation, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a client that can follow tasks waits for code before it gets one.
const TASK_PATIENCE: Duration = Duration::from_secs(2);

/// A server. Clones are the same; each connection has one of [`Self::connected`].
#[derive(Clone)]
pub struct McpServer {
    shared: Arc<Shared>,
    tools: Arc<Vec<Tool>>,
    caller: Caller,
    connection: Arc<Connection>,
}

/// A connection of the revisions that have such. Its session ends with it.
struct Connection {
    session: ConnectionSession,
    shared: Arc<Shared>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let session = self.session.try_lock().ok().and_then(|mut own| own.take());
        // Without a runtime everything ends anyway.
        if let (Some(handle), Ok(runtime)) = (session, tokio::runtime::Handle::try_current()) {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { shared.end(&handle).await });
        }
    }
}

impl McpServer {
    /// A server whose runtime is opened by `open` when it is first needed.
    ///
    /// # Errors
    /// If the folder of the tasks cannot be made or read.
    pub fn new(open: Open, options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(open, options)?);
        Ok(Self {
            connection: Arc::new(Connection {
                session: Arc::new(Mutex::new(None)),
                shared: Arc::clone(&shared),
            }),
            shared,
            tools: Arc::new(tools::tools()),
            caller: Caller::local(),
        })
    }

    /// The same server for another connection.
    #[must_use]
    pub fn connected(&self) -> Self {
        Self {
            connection: Arc::new(Connection {
                session: Arc::new(Mutex::new(None)),
                shared: Arc::clone(&self.shared),
            }),
            ..self.clone()
        }
    }

    /// Opens the runtime now, so that the first call does not wait for it. A failure is told to the
    /// calls.
    pub fn warm_up(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Err(error) = shared.rlm().await {
                tracing::warn!("the runtime is not opened: {error}");
            }
        });
    }

    /// Serves one client over this process's standard streams, until it closes them.
    ///
    /// # Errors
    /// If the client does not begin as the protocol says.
    pub async fn serve_stdio(self) -> io::Result<()> {
        use rmcp::ServiceExt;
        let shared = Arc::clone(&self.shared);
        let served = async {
            let service = self.serve(crate::stdio::Stdio::new()).await;
            let service = service.map_err(io::Error::other)?;
            service.waiting().await.map_err(io::Error::other)?;
            Ok(())
        };
        let ended = served.await;
        shared.stop().await;
        ended
    }

    /// Cancels what runs and ends every session.
    pub async fn stop(&self) {
        self.shared.stop().await;
    }

    fn desk(&self, context: &RequestContext<RoleServer>) -> Desk {
        let capabilities = context.client_capabilities().unwrap_or_default();
        let is_legacy = context
            .protocol_version()
            .is_none_or(|version| version.as_str() < ProtocolVersion::V_2026_07_28.as_str());
        let caller = context
            .extensions
            .get::<http::request::Parts>()
            .and_then(|parts| parts.extensions.get::<Caller>())
            .unwrap_or(&self.caller);
        let offers_model = is_legacy && capabilities.sampling.is_some();
        let is_asked = offers_model && !self.shared.options.has_model;
        let model = NAME.parse().ok().filter(|_| is_asked).map(|name| {
            let client = ClientModel::new(context.peer.clone());
            (name, Arc::new(client) as Arc<_>)
        });
        Desk {
            shared: Arc::clone(&self.shared),
            caller: caller.clone(),
            connection: is_legacy.then(|| Arc::clone(&self.connection.session)),
            can_ask: !is_legacy && capabilities.elicitation.is_some(),
            model,
            traceparent: context
                .meta
                .get_traceparent()
                .filter(|trace| is_traceparent(trace))
                .map(str::to_owned),
        }
    }

    /// A call that runs as a task.
    async fn run(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        parts: Parts,
    ) -> Result<CallToolResponse, ErrorData> {
        let desk = self.desk(context);
        let arguments = request.arguments.unwrap_or_default();
        let call = Call {
            caller: &desk.caller,
            tool: &request.name,
            arguments: &arguments,
        };
        let mut session = None;
        if let Some(state) = &request.request_state {
            let Some(asked) = self.shared.seal.open(state, &call) else {
                return Ok(parts
                    .failed(Failure::arguments("this requestState is none of this call"))
                    .into());
            };
            let responses = request.input_responses.unwrap_or_default();
            let Some(decided) = asked.decide(&responses) else {
                return Ok(parts.failed(undecided(&asked.terms)).into());
            };
            if let Err(failure) = desk.follow(&asked.session, &decided).await {
                return Ok(parts.failed(failure).into());
            }
            session = Some(asked.session);
        }
        let kind = Kind {
            tool: request.name.to_string(),
            again: parts.again.clone(),
        };
        let Some(task) = self.shared.tasks.begin(&desk.caller, kind) else {
            let failure = Failure::new(
                terraphim_rlm::ErrorCode::SANDBOX,
                "too many of your calls run. hint: wait for one, or cancel one with rlm_status",
            );
            return Ok(parts.failed(failure).into());
        };
        if let Some(session) = &session {
            task.runs_in(session);
        }
        let work = (parts.work)(desk.clone());
        tokio::spawn(calls::carry_out(Arc::clone(&task), work));
        let follows_tasks = context
            .client_capabilities()
            .is_some_and(|capabilities| capabilities.supports_tasks());
        let patience = match parts.times.wait() {
            Some(wait) => wait,
            None if follows_tasks && parts.is_long => Duration::ZERO,
            None if follows_tasks => TASK_PATIENCE,
            None => self.shared.options.patience,
        };
        let waited = wait(&task, patience, Some(context)).await;
        match waited {
            Waited::Ended(record) => {
                self.shared.tasks.forget(&task);
                Ok(match record.standing {
                    Standing::Ended(Ended::Completed(value)) => read(value)?.into(),
                    _ => parts.failed(cancelled()).into(),
                })
            }
            Waited::Asks(asked) => {
                // The client calls again with the answer: this task is of no more use.
                task.cancel.cancel();
                self.shared.tasks.forget(&task);
                let question = self.shared.seal.ask(&asked, &call);
                Ok(match question {
                    Some(question) => question.into(),
                    None => parts.failed(undecided(&asked.terms)).into(),
                })
            }
            Waited::Gone => {
                task.cancel.cancel();
                self.shared.tasks.forget(&task);
                Ok(parts.failed(cancelled()).into())
            }
            Waited::Working => {
                if let Err(error) = task.keep() {
                    task.cancel.cancel();
                    self.shared.tasks.forget(&task);
                    let message =
                        format!("the call was cancelled: its task cannot be kept: {error}");
                    let failure = Failure::new(terraphim_rlm::ErrorCode::INTERNAL, message);
                    return Ok(parts.failed(failure).into());
                }
                let record = task.record();
                if follows_tasks {
                    return Ok(CreateTaskResult::new(protocol_task(&record)).into());
                }
                Ok((parts.working)(&record).into())
            }
        }
    }

    async fn status(
        &self,
        args: StatusArgs,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        let desk = self.desk(context);
        let Some(id) = &args.task else {
            let overview = desk.overview(&args).await;
            return overview.unwrap_or_else(Reply::failed).result(Vec::new());
        };
        let Some(mut task) = self.shared.tasks.find(&desk.caller, id) else {
            return failed::<Stands>(Desk::no_task(id));
        };
        if args.cancel {
            task.cancel.cancel();
        }
        if args.resume {
            match self.resume(&task, &desk) {
                Some(again) => task = again,
                None => {
                    return failed::<Stands>(Failure::arguments("this task cannot be resumed"));
                }
            }
        }
        let patience = match (args.times().wait(), args.cancel) {
            (Some(wait), _) => wait,
            // Until what runs has heeded it.
            (None, true) => TASK_PATIENCE,
            (None, false) => Duration::ZERO,
        };
        wait(&task, patience, Some(context)).await;
        let record = task.record();
        let mut told = Desk::stands(&record).result(Vec::new());
        if let Standing::Ended(Ended::Completed(value)) = record.standing
            && let Ok(mut own) = read(value)
        {
            // What a model would have read, images too.
            told.content.append(&mut own.content);
        }
        told
    }

    /// Asks a lost query again.
    fn resume(&self, task: &Arc<Task>, desk: &Desk) -> Option<Arc<Task>> {
        let arguments = task.record().kind.again?;
        let args: QueryArgs = serde_json::from_value(arguments).ok()?;
        let again = self.shared.tasks.resume(task)?;
        let work = query_work(args)(desk.clone());
        tokio::spawn(calls::carry_out(Arc::clone(&again), work));
        Some(again)
    }

    fn task(
        &self,
        id: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<(Arc<Task>, Desk), ErrorData> {
        let desk = self.desk(context);
        match self.shared.tasks.find(&desk.caller, id) {
            Some(task) => Ok((task, desk)),
            None => {
                let failure = Desk::no_task(id);
                Err(ErrorData::invalid_params(failure.message, None))
            }
        }
    }
}

fn read(value: Value) -> Result<CallToolResult, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// Version, trace id, parent id and flags, in lower-case hexadecimal (W3C Trace Context, section 3.2).
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = [2, 32, 16, 2];
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| {
            let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            part.len() == length && part.bytes().all(is_hex)
        })
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_tasks()
            .build();
        let this = Implementation::new("ukernel", env!("CARGO_PKG_VERSION")).with_title("ukernel");
        ServerConfig::new(capabilities)
            .with_server_info(this)
            .with_instructions(tools::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items((*self.tools).clone()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let given = request.arguments.clone().unwrap_or_default();
        match &*request.name {
            tools::CODE => match args::read::<CodeArgs>(&given) {
                Ok(args) => self.run(request, &context, args.into()).await,
                Err(failure) => Ok(failed::<Executed>(failure).into()),
            },
            tools::BASH => match args::read::<BashArgs>(&given) {
                Ok(args) => self.run(request, &context, args.into()).await,
                Err(failure) => Ok(failed::<Executed>(failure).into()),
            },
            tools::QUERY => match args::read::<QueryArgs>(&given) {
                Ok(args) => self.run(request, &context, query_parts(args, &given)).await,
                Err(failure) => Ok(failed::<Answered>(failure).into()),
            },
            tools::CONTEXT => match args::read(&given) {
                Ok(args) => {
                    let reply = self.desk(&context).context(args).await;
                    Ok(reply
                        .unwrap_or_else(Reply::failed)
                        .result(Vec::new())
                        .into())
                }
                Err(failure) => Ok(failed::<Variables>(failure).into()),
            },
            tools::SNAPSHOT => match args::read(&given) {
                Ok(args) => {
                    let reply = self.desk(&context).snapshot(args).await;
                    Ok(reply
                        .unwrap_or_else(Reply::failed)
                        .result(Vec::new())
                        .into())
                }
                Err(failure) => Ok(failed::<Snapshots>(failure).into()),
            },
            tools::STATUS => match args::read(&given) {
                Ok(args) => Ok(self.status(args, &context).await.into()),
                Err(failure) => Ok(failed::<Stands>(failure).into()),
            },
            other => {
                let shown: String = other.escape_debug().take(80).collect();
                Err(ErrorData::invalid_params(
                    format!("there is no tool `{shown}`"),
                    None,
                ))
            }
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let (task, _) = self.task(&request.task_id, &context)?;
        Ok(GetTaskResult::new(detailed(&task.record())?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (task, desk) = self.task(&request.task_id, &context)?;
        let Standing::InputRequired(asked) = task.record().standing else {
            // Answers that come twice change nothing.
            return Ok(());
        };
        match asked.decide(&request.input_responses) {
            Some(decided) => {
                let followed = desk.follow(&asked.session, &decided).await;
                followed.map_err(|failure| ErrorData::invalid_params(failure.message, None))?;
                task.go_on();
            }
            None => task.cancel.cancel(),
        }
        Ok(())
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let (task, _) = self.task(&request.task_id, &context)?;
        task.cancel.cancel();
        Ok(())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(self.desk(&context).resources())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(self.desk(&context).read(&request.uri).await?.into())
    }
}

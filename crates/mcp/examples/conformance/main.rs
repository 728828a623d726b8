//! What the protocol's conformance tests need of a server, over the real transport of this crate. Run by
//! `tests/mcp/conformance`; ends when standard input does.
//!
//! Fixed answers are data (`fixed.json`); `input` asks for more first, `tasks` takes longer.

#![expect(deprecated, reason = "logging and sampling are of older revisions")]

mod input;
mod tasks;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities,
    CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, GetTaskParams, GetTaskResult, Implementation, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, Prompt, PromptArgument,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, RequestStateCodec,
    Resource, ResourceTemplate, ResultType, ServerCapabilities, ServerConfig, SubscriptionFilter,
    Tool, UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext, SubscriptionSink};
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use terraphim_mcp_server::{HttpOptions, HttpServer};
use tokio::io::AsyncReadExt;

/// One grey pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";

/// Tools that do something, beside those of `fixed.json`, `input` and `tasks`.
const ACTIVE: [&str; 12] = [
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_sampling",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_reconnection",
    "test_custom_header",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
    "test_missing_capability",
    "test_logging_tool",
];

type Answer<T> = Result<T, ErrorData>;

/// The server under test.
#[derive(Clone)]
struct Fixture {
    fixed: Arc<Value>,
    codec: RequestStateCodec,
    tasks: TaskManager,
    listening: Arc<Mutex<HashMap<u64, SubscriptionSink>>>,
    next: Arc<AtomicU64>,
}

impl Fixture {
    fn new() -> Self {
        let text = include_str!("fixed.json").replace("@png", PNG);
        Self {
            fixed: Arc::new(serde_json::from_str(&text).expect("our own file")),
            codec: RequestStateCodec::try_new(*b"a key of thirty-two bytes or more")
                .expect("long enough"),
            tasks: TaskManager::new(),
            listening: Arc::default(),
            next: Arc::default(),
        }
    }

    fn tool(&self, name: &str) -> Tool {
        let schema = self.fixed["schemas"][name].as_object();
        let none = || JsonObject::from_iter([("type".to_owned(), json!("object"))]);
        Tool::new(
            name.to_owned(),
            format!("Fixture: {name}"),
            schema.cloned().unwrap_or_else(none),
        )
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let fixed = self.fixed["tools"].as_object().into_iter().flatten();
        fixed
            .map(|(name, _)| name.as_str())
            .chain(ACTIVE)
            .chain(input::TOOLS)
            .chain(tasks::TOOLS)
    }

    fn listening(&self) -> Vec<SubscriptionSink> {
        let listening = self.listening.lock();
        let listening = listening.unwrap_or_else(PoisonError::into_inner);
        listening.values().cloned().collect()
    }

    async fn act(
        &self,
        name: &str,
        arguments: &JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Answer<CallToolResult> {
        let word = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or("?");
        Ok(match name {
            "test_tool_with_logging" => {
                for message in ["started", "works", "completed"] {
                    input::log(context, message).await;
                }
                said("logged")
            }
            "test_logging_tool" => {
                if context.meta.log_level().is_some() {
                    input::log(context, "asked for").await;
                }
                said("done")
            }
            "test_tool_with_progress" => {
                for progress in [0.0, 50.0, 100.0] {
                    if let Some(token) = context.meta.get_progress_token() {
                        let told = ProgressNotificationParam::new(token, progress);
                        let _ = context.peer.notify_progress(told.with_total(100.0)).await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                said("done")
            }
            "test_sampling" => input::sample(context, word("prompt")).await,
            "test_elicitation" => {
                input::elicit(context, word("message"), &self.fixed["forms"][name]).await
            }
            "test_elicitation_sep1034_defaults" | "test_elicitation_sep1330_enums" => {
                input::elicit(context, "Choose", &self.fixed["forms"][name]).await
            }
            "test_reconnection" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                said("done")
            }
            "test_custom_header" => said(word("value")),
            "test_trigger_tool_change" => {
                for sink in self.listening() {
                    let _ = sink.notify_tool_list_changed().await;
                }
                said("told")
            }
            "test_trigger_prompt_change" => {
                for sink in self.listening() {
                    let _ = sink.notify_prompt_list_changed().await;
                }
                said("told")
            }
            "test_missing_capability" => {
                let declared = context.meta.client_capabilities().unwrap_or_default();
                if declared.sampling.is_none() {
                    let needed = ClientCapabilities::builder().enable_sampling().build();
                    return Err(ErrorData::missing_required_client_capability(needed));
                }
                said("declared")
            }
            _ => {
                return Err(ErrorData::invalid_params(
                    format!("there is no tool {name}"),
                    None,
                ));
            }
        })
    }
}

fn said(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Answer<T> {
    serde_json::from_value(value.clone())
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("fixture", "1"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Answer<ListToolsResult> {
        let tools = self.names().map(|name| self.tool(name)).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.names()
            .any(|known| known == name)
            .then(|| self.tool(name))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Answer<CallToolResponse> {
        let name = request.name.to_string();
        if input::TOOLS.contains(&name.as_str()) {
            return input::call(&self.codec, &request, &context);
        }
        if tasks::TOOLS.contains(&name.as_str()) {
            return tasks::call(&self.tasks, &request, &context).await;
        }
        if let Some(fixed) = self.fixed["tools"].get(&name) {
            let mut result: CallToolResult = read(fixed)?;
            result.result_type = Some(ResultType::COMPLETE);
            return Ok(result.into());
        }
        let arguments = request.arguments.unwrap_or_default();
        Ok(self.act(&name, &arguments, &context).await?.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Answer<ListResourcesResult> {
        let fixed = self.fixed["resources"].as_object().into_iter().flatten();
        let resources = fixed.map(|(uri, _)| Resource::new(uri.clone(), uri.clone()));
        Ok(ListResourcesResult::with_all_items(resources.collect()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Answer<ListResourceTemplatesResult> {
        let template = ResourceTemplate::new("test://template/{id}/data", "by id");
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<ReadResourceResponse> {
        let uri = request.uri;
        let by_id = uri
            .strip_prefix("test://template/")
            .and_then(|rest| rest.strip_suffix("/data"));
        let content = match (self.fixed["resources"].get(&uri), by_id) {
            (Some(fixed), _) => fixed.clone(),
            (None, Some(id)) => {
                let text =
                    json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                json!({"uri": uri, "mimeType": "application/json", "text": text.to_string()})
            }
            (None, None) => {
                let data = Some(json!({"uri": uri}));
                return Err(ErrorData::resource_not_found(
                    "there is no such resource",
                    data,
                ));
            }
        };
        Ok(ReadResourceResult::new(vec![read(&content)?]).into())
    }

    async fn subscribe(
        &self,
        _: rmcp::model::SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<()> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: rmcp::model::UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<()> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Answer<ListPromptsResult> {
        let fixed = self.fixed["prompts"].as_object().into_iter().flatten();
        let names = fixed.map(|(name, _)| name.clone());
        let prompts = names.chain([input::PROMPT.to_owned()]).map(|name| {
            let arguments: &[(&str, bool)] = match name.as_str() {
                "test_prompt_with_arguments" => &[("arg1", true), ("arg2", false)],
                "test_prompt_with_embedded_resource" => &[("resourceUri", true)],
                _ => &[],
            };
            let arguments: Vec<_> = arguments
                .iter()
                .map(|(name, is_required)| PromptArgument::new(*name).with_required(*is_required))
                .collect();
            Prompt::new(
                name,
                Some("A fixture"),
                (!arguments.is_empty()).then_some(arguments),
            )
        });
        Ok(ListPromptsResult::with_all_items(prompts.collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<GetPromptResponse> {
        if request.name == input::PROMPT {
            return input::prompt(&request);
        }
        let Some(fixed) = self.fixed["prompts"].get(&request.name) else {
            return Err(ErrorData::invalid_params("there is no such prompt", None));
        };
        let mut text = fixed.to_string();
        for (name, value) in request.arguments.unwrap_or_default() {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            text = text.replace(&format!("@{name}"), &value);
        }
        let messages: Value = serde_json::from_str(&text)
            .map_err(|error| ErrorData::invalid_params(error.to_string(), None))?;
        Ok(GetPromptResult::new(read(&messages)?).into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<CompleteResult> {
        let values = CompletionInfo::new(vec!["paris".to_owned(), "park".to_owned()]);
        let values = values.map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(values))
    }

    async fn set_level(
        &self,
        _: rmcp::model::SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<()> {
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        asked: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(asked.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Answer<()> {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let lock = || {
            self.listening
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        lock().insert(key, context.sink().clone());
        context.cancelled().await;
        lock().remove(&key);
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<GetTaskResult> {
        Ok(GetTaskResult::new(self.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<()> {
        let responses = request.input_responses;
        self.tasks.update_task(&request.task_id, responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Answer<()> {
        self.tasks.cancel_task(&request.task_id)
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let fixture = Fixture::new();
    let options = HttpOptions {
        address: ([127, 0, 0, 1], 0).into(),
        tokens: None,
        hosts: Vec::new(),
        origins: Vec::new(),
    };
    let served = HttpServer::start(move || fixture.clone(), options).await?;
    println!("http://{}/mcp", served.address());
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    served.stop().await;
    Ok(())
}

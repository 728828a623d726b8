//! Tools that run as tasks, with the library's own table of tasks: what is under test is the protocol.

use crate::input::{question, requests, response};
use crate::{Answer, said};
use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
    CreateTaskResult, InputRequest, InputRequiredResult,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::task_manager::{TaskExit, TaskManager, TaskOptions};
use serde_json::Value;
use std::time::Duration;

pub const TOOLS: [&str; 7] = [
    "greet",
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
];

/// Those that are refused to a client that does not know tasks.
const TASKS_ONLY: [&str; 4] = [
    "failing_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
];

fn one(field: &str) -> Answer<InputRequest> {
    let mut asked = requests([("it", question(field))])?;
    asked
        .remove("it")
        .ok_or_else(|| ErrorData::internal_error("there is no question", None))
}

pub async fn call(
    tasks: &TaskManager,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Answer<CallToolResponse> {
    let knows_tasks = context
        .client_capabilities()
        .is_some_and(|capabilities| capabilities.supports_tasks());
    let name = &*request.name;
    if TASKS_ONLY.contains(&name) && !knows_tasks {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    let arguments = request.arguments.clone().unwrap_or_default();
    let options = TaskOptions::default();
    let task = match name {
        "greet" => {
            let who = arguments.get("name").and_then(Value::as_str);
            return Ok(said(&format!("Hello, {}!", who.unwrap_or("you"))).into());
        }
        "slow_compute" => {
            let seconds = arguments.get("seconds").and_then(Value::as_f64);
            let time = Duration::from_secs_f64(seconds.unwrap_or(1.0).clamp(0.0, 60.0));
            if !knows_tasks {
                tokio::time::sleep(time).await;
                return Ok(said("computed").into());
            }
            tasks.spawn(options, move |task| {
                Box::pin(async move {
                    tokio::select! {
                        () = tokio::time::sleep(time) => Ok(said("computed")),
                        () = task.cancelled() => Err(TaskExit::Cancelled),
                    }
                })
            })
        }
        "failing_job" => tasks.spawn(options, |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(CallToolResult::error(vec![ContentBlock::text("failed")]))
            })
        }),
        "protocol_error_job" => {
            let error = || ErrorData::internal_error("failed as the protocol has it", None);
            if !knows_tasks {
                return Err(error());
            }
            tasks.spawn(options, move |_| {
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Err(TaskExit::Error(error()))
                })
            })
        }
        "confirm_delete" => {
            let asked = one("confirm")?;
            tasks.spawn(options, move |task| {
                Box::pin(async move {
                    let answer = task.request_input("confirm", asked).await?;
                    Ok(said(&format!("confirmed: {}", answer["content"])))
                })
            })
        }
        "multi_input" => {
            let (first, second) = (one("value")?, one("value")?);
            tasks.spawn(options, move |task| {
                Box::pin(async move {
                    let first = task.request_input("input-a", first);
                    let second = task.request_input("input-b", second);
                    let (first, second) = tokio::join!(first, second);
                    let (first, second) = (first?, second?);
                    Ok(said(&format!("{} {}", first["content"], second["content"])))
                })
            })
        }
        _ => match response(request.input_responses.as_ref(), "user_name") {
            None => {
                let asked = requests([("user_name", question("name"))])?;
                return Ok(InputRequiredResult::from_input_requests(asked).into());
            }
            Some(answer) => {
                let text = format!(
                    "Hello, {}!",
                    answer["content"]["name"].as_str().unwrap_or("you")
                );
                tasks.spawn(options, move |_| {
                    Box::pin(async move {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        Ok(said(&text))
                    })
                })
            }
        },
    };
    Ok(CreateTaskResult::new(task).into())
}

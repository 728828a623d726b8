//! Tools that ask the client first: on older revisions by requests of the server, on the latest by
//! `input_required` and a second call.
#![expect(
    deprecated,
    reason = "sampling, roots and logging are of older revisions"
)]

use crate::{Answer, said};
use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientResult,
    CreateMessageRequestParams, ElicitRequest, ElicitRequestParams, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, InputRequests, InputRequiredResult, InputResponses,
    LoggingLevel, LoggingMessageNotificationParam, PromptMessage, RequestStateCodec, Role,
    SamplingMessage, ServerRequest,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

/// The tools of revision 2026-07-28 that need input.
pub const TOOLS: [&str; 9] = [
    "test_streaming_elicitation",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_tampered_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_capabilities",
];

/// The prompt that needs input.
pub const PROMPT: &str = "test_input_required_result_prompt";

pub async fn log(context: &RequestContext<RoleServer>, message: &str) {
    let level = context.meta.log_level().unwrap_or(LoggingLevel::Info);
    let note = LoggingMessageNotificationParam::new(level, json!(message));
    // A client that does not listen is no failure.
    let _ = context.peer.notify_logging_message(note).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}

pub async fn sample(context: &RequestContext<RoleServer>, prompt: &str) -> CallToolResult {
    let params = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    match context.peer.create_message(params).await {
        Ok(result) => said(&format!("LLM response: {:?}", result.message.content)),
        Err(error) => said(&format!("refused: {error}")),
    }
}

pub async fn elicit(
    context: &RequestContext<RoleServer>,
    message: &str,
    form: &Value,
) -> CallToolResult {
    let Ok(requested_schema) = serde_json::from_value(form.clone()) else {
        return said("the form is none");
    };
    let params = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.to_owned(),
        requested_schema,
    };
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(params));
    match context.peer.send_request(request).await {
        Ok(ClientResult::ElicitResult(result)) => {
            let action = json!(result.action);
            let action = action.as_str().unwrap_or_default();
            let content = json!(result.content);
            said(&format!(
                "User response: action={action}, content={content}"
            ))
        }
        other => said(&format!("refused: {other:?}")),
    }
}

/// A question as it goes into `inputRequests`.
pub fn question(field: &str) -> Value {
    json!({"method": "elicitation/create", "params": {
        "mode": "form",
        "message": "A value, please",
        "requestedSchema": {"type": "object", "properties": {field: {"type": "string"}}, "required": [field]},
    }})
}

fn sampling() -> Value {
    json!({"method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "What is the capital of France?"}}],
        "maxTokens": 100,
    }})
}

fn roots() -> Value {
    json!({"method": "roots/list"})
}

/// Questions by their keys.
pub fn requests<const N: usize>(asked: [(&str, Value); N]) -> Answer<InputRequests> {
    let asked: Value = asked
        .into_iter()
        .map(|(key, request)| (key.to_owned(), request))
        .collect();
    serde_json::from_value(asked)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A response that is one: anything but an object is asked for again.
pub fn response<'a>(responses: Option<&'a InputResponses>, key: &str) -> Option<&'a Value> {
    responses?.get(key).filter(|response| response.is_object())
}

pub fn call(
    codec: &RequestStateCodec,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Answer<CallToolResponse> {
    let given = request.input_responses.as_ref();
    let ask = |requests| Ok(InputRequiredResult::from_input_requests(requests).into());
    let once = |key: &str, asked: Value| match response(given, key) {
        Some(response) => Ok(said(&format!("Received: {response}")).into()),
        None => ask(requests([(key, asked)])?),
    };
    let state: Option<Value> = match &request.request_state {
        None => None,
        // What went through a client's hands is not believed.
        Some(sealed) => Some(codec.open_json(sealed).map_err(|_| {
            ErrorData::invalid_params("this requestState is not one that was given", None)
        })?),
    };
    let sealed = |state: Value, requests| {
        let state = codec.seal_json(&state);
        let state = state.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(InputRequiredResult::new(Some(requests), Some(state)).into())
    };
    match &*request.name {
        "test_streaming_elicitation" => ask(requests([("value", question("value"))])?),
        "test_input_required_result_elicitation" => once("user_name", question("name")),
        "test_input_required_result_sampling" => once("capital_question", sampling()),
        "test_input_required_result_list_roots" => once("client_roots", roots()),
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => match state {
            Some(_) => Ok(said("state-ok").into()),
            None => sealed(json!(1), requests([("confirm", question("ok"))])?),
        },
        "test_input_required_result_multiple_inputs" => {
            let keys = ["user_name", "greeting", "client_roots"];
            if state.is_some() && keys.iter().all(|key| response(given, key).is_some()) {
                return Ok(said("all received").into());
            }
            let asked = [question("name"), sampling(), roots()];
            let [name, greeting, folders] = asked;
            let asked = [(keys[0], name), (keys[1], greeting), (keys[2], folders)];
            sealed(json!(1), requests(asked)?)
        }
        "test_input_required_result_multi_round" => {
            match state.and_then(|round| round.as_u64()).unwrap_or(0) {
                0 => sealed(json!(1), requests([("step1", question("name"))])?),
                1 => sealed(json!(2), requests([("step2", question("color"))])?),
                _ => Ok(said("complete").into()),
            }
        }
        _ => {
            if given.is_some() {
                return Ok(said("complete").into());
            }
            let declared = context.meta.client_capabilities().unwrap_or_default();
            let mut asked = InputRequests::new();
            if declared.elicitation.is_some() {
                asked.extend(requests([("user_name", question("name"))])?);
            }
            if declared.sampling.is_some() {
                asked.extend(requests([("greeting", sampling())])?);
            }
            if declared.roots.is_some() {
                asked.extend(requests([("client_roots", roots())])?);
            }
            if asked.is_empty() {
                return Ok(said("nothing can be asked").into());
            }
            ask(asked)
        }
    }
}

pub fn prompt(request: &GetPromptRequestParams) -> Answer<GetPromptResponse> {
    match response(request.input_responses.as_ref(), "user_context") {
        Some(response) => {
            let text = format!("Context: {}", response["content"]["context"]);
            let message = PromptMessage::new_text(Role::User, text);
            Ok(GetPromptResult::new(vec![message]).into())
        }
        None => {
            let asked = requests([("user_context", question("context"))])?;
            Ok(InputRequiredResult::from_input_requests(asked).into())
        }
    }
}

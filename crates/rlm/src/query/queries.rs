//! Queries of running code: flat ones to a model, recursive ones to nodes of their own.

use super::asking::{NoReply, prompt_bytes, recorded};
use super::bridge::CUT_OFF;
use super::{Asker, Node, answer};
use crate::RlmError;
use crate::context::Context;
use crate::error::Problem;
use crate::exact::Exact;
use crate::schema::Schema;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use ukernel_budget::Spent;
use ukernel_budget::{Amount, Slice};
use ukernel_llm::{FinishReason, Message, Reply as ModelReply, Request};
use ukernel_sandbox::environment::CallResult;
use ukernel_sandbox::session::Create;
use ukernel_sandbox::{Environment, Environments};
use ukernel_trajectory::Event;

/// Tokens with which a node can do anything at all.
const LEAST_TOKENS: u64 = 2_000;

/// `query_llm`, `query_llm_batched`.
#[derive(Deserialize)]
pub(super) struct Flat {
    pub(super) prompts: Vec<String>,
    schema: Option<Value>,
}

/// `rlm_query`, `rlm_query_batched`.
#[derive(Deserialize)]
pub(super) struct Recursive {
    pub(super) queries: Vec<Query>,
    schema: Option<Value>,
    budget_tokens: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Query {
    prompt: String,
    context: Option<String>,
}

/// What a query came to.
#[derive(Debug, Serialize)]
pub(super) struct Reply {
    pub(super) value: Exact,
    /// What cut it off, if it is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<&'static str>,
}

/// What became of one query.
type Item = Result<Reply, String>;

fn answer_of(items: Vec<Item>) -> CallResult {
    /// One of them, as the guest reads it.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Told {
        Reply(Reply),
        Failed { error: String },
    }
    #[derive(Serialize)]
    struct Answer {
        results: Vec<Told>,
    }
    let told = |item| match item {
        Ok(reply) => Told::Reply(reply),
        Err(error) => Told::Failed { error },
    };
    let results = items.into_iter().map(told).collect();
    serde_json::to_vec(&Answer { results }).map_err(|error| error.to_string())
}

fn compile(schema: Option<Value>) -> Result<Option<Schema>, String> {
    let schema = schema.map(Schema::new).transpose();
    schema.map_err(|error| error.to_string())
}

fn check_count(asker: &Asker, count: usize) -> Result<(), String> {
    let most = asker.run.config.max_batch;
    if count > most {
        return Err(format!("{count} queries at once, and there may be {most}"));
    }
    Ok(())
}

impl Flat {
    /// Asks for all of them, side by side, and answers in their order.
    pub(super) async fn answer(self, asker: &Asker, call: u32) -> CallResult {
        check_count(asker, self.prompts.len())?;
        let schema = compile(self.schema)?;
        let schema = schema.as_ref();
        let asking = self.prompts.into_iter().enumerate();
        let asking = asking.map(|(item, prompt)| async move {
            let item = u32::try_from(item).unwrap_or(u32::MAX);
            flat(asker, call, item, prompt, schema).await
        });
        let items = stream::iter(asking)
            .buffered(asker.run.config.max_parallel_calls)
            .collect()
            .await;
        answer_of(items)
    }
}

/// One flat query; with a schema, a reply that does not fit is asked for once more.
pub(super) async fn flat(
    asker: &Asker,
    call: u32,
    item: u32,
    prompt: String,
    schema: Option<&Schema>,
) -> Item {
    let config = &asker.run.config;
    let mut request = Request::new(asker.run.sub_model.clone(), vec![Message::user(prompt)]);
    request.max_tokens = Some(config.max_sub_reply_tokens);
    request.temperature = config.temperature;
    if let Some(schema) = schema {
        request.json_schema = Some(schema.document().clone());
        if let Some(message) = request.messages.last_mut() {
            message.text.push_str(&format!(
                "\n\nReply with JSON that follows this schema, and nothing else:\n{}",
                schema.document()
            ));
        }
    }
    let reply = query(asker, call, item, &request).await?;
    let Some(schema) = schema else {
        return Ok(Reply {
            value: Exact::from(reply.text.as_str()),
            cut: cut_by(reply.finish),
        });
    };
    let reason = match fitting(schema, &reply) {
        Ok(reply) => return Ok(reply),
        Err(reason) => reason,
    };
    request.messages.push(Message::assistant(reply.text));
    request.messages.push(Message::user(format!(
        "That does not fit the schema: {reason}. Reply with JSON that does, and nothing else."
    )));
    let reply = query(asker, call, item, &request).await?;
    fitting(schema, &reply).map_err(|reason| format!("the reply does not fit the schema: {reason}"))
}

/// What cut off a reply that ended like this.
pub(super) fn cut_by(finish: FinishReason) -> Option<&'static str> {
    match finish {
        FinishReason::Length => Some("cut off at its limit of tokens"),
        FinishReason::Filtered => Some("refused or filtered by the provider"),
        FinishReason::Stop | FinishReason::Other => None,
    }
}

/// The value of a reply. One that was cut off may look like another value than it would have been.
fn fitting(schema: &Schema, reply: &ModelReply) -> Item {
    if let Some(why) = cut_by(reply.finish) {
        return Err(format!("it was {why}"));
    }
    let value = schema.read(&reply.text)?;
    Ok(Reply { value, cut: None })
}

/// Asks once, and writes it down.
async fn query(
    asker: &Asker,
    call: u32,
    item: u32,
    request: &Request,
) -> Result<ModelReply, String> {
    let mut open = OpenQuery {
        asker,
        call,
        item,
        is_open: true,
    };
    let asked = asker.ask(request, 1).await;
    open.is_open = false;
    let trajectory = &asker.run.trajectory;
    match asked {
        Ok(reply) => {
            let prompt = request.messages.iter().map(|message| message.text.as_str());
            trajectory.add(
                asker.id,
                Event::QueryReplied {
                    call,
                    item,
                    prompt_bytes: prompt_bytes(request),
                    prompt: Some(prompt.collect::<Vec<_>>().join("\n\n")),
                    reply: recorded(request, &reply),
                },
            );
            Ok(reply)
        }
        Err(error) => Err(failed(asker, call, item, &error)),
    }
}

/// A query until it is answered. One that nobody waits for any more is written down too.
struct OpenQuery<'a> {
    asker: &'a Asker,
    call: u32,
    item: u32,
    is_open: bool,
}

impl Drop for OpenQuery<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let event = Event::QueryFailed {
                call: self.call,
                item: self.item,
                error: CUT_OFF.to_owned(),
                failed: None,
            };
            self.asker.run.trajectory.add(self.asker.id, event);
        }
    }
}

fn failed(asker: &Asker, call: u32, item: u32, error: &NoReply) -> String {
    let text = error.to_string();
    asker.run.trajectory.add(
        asker.id,
        Event::QueryFailed {
            call,
            item,
            error: text.clone(),
            failed: error.failed_call(),
        },
    );
    text
}

impl Recursive {
    /// Has nodes of their own answer all of them, side by side, each with a slice of this node's
    /// budget.
    pub(super) async fn answer(self, asker: &Asker, call: u32) -> CallResult {
        let count = self.queries.len();
        check_count(asker, count)?;
        let schema = compile(self.schema)?;
        let depth = asker.depth + 1;
        let limit = asker.run.config.max_recursion_depth;
        if depth > limit {
            return Err(RlmError::RecursionLimitExceeded { depth, limit }.to_string());
        }
        let (slices, lack) = asker.ledger.slices(count, self.budget_tokens, LEAST_TOKENS);
        let fitting = slices.len();
        let lack = lack.map(|exceeded| {
            format!("{exceeded}: of {count} nodes there is enough for {fitting}, and this is not one of them")
        });
        let lack = lack.as_deref().unwrap_or_default();
        let slices = slices
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let answering = self.queries.into_iter().zip(slices).enumerate();
        let answering = answering.map(|(item, (query, slice))| {
            let schema = schema.clone();
            let item = u32::try_from(item).unwrap_or(u32::MAX);
            async move {
                let answered = match slice {
                    Some(slice) => child(asker, (call, item), query, schema, slice)
                        .await
                        .map(|value| Reply { value, cut: None })
                        .map_err(|error| error.to_string()),
                    None => Err(lack.to_owned()),
                };
                answered.inspect_err(|error| {
                    asker.run.trajectory.add(
                        asker.id,
                        Event::QueryFailed {
                            call,
                            item,
                            error: error.clone(),
                            failed: None,
                        },
                    );
                })
            }
        });
        let items = stream::iter(answering)
            .buffered(asker.run.config.max_parallel_calls)
            .collect()
            .await;
        answer_of(items)
    }
}

/// A node for one query. Its session ends with it, also if nobody waits for it any more.
async fn child(
    parent: &Asker,
    call: (u32, u32),
    query: Query,
    schema: Option<Schema>,
    slice: Slice,
) -> Result<Exact, RlmError> {
    let run = &parent.run;
    let create = Create {
        name: None,
        owner: run.owner,
        guest: run.config.guest,
        image: run.config.image.clone(),
    };
    let session = run
        .environments
        .create(create)
        .await
        .map_err(|reason| RlmError::VmAllocationFailed { reason })?;
    let ends = EndOfSession(Arc::clone(&session), Arc::clone(&run.environments));
    // The node itself counts as one query of its slice.
    let itself = slice.ledger().reserve_now(Amount {
        sub_calls: 1,
        ..Amount::default()
    });
    let itself = itself.map_err(|error| RlmError::internal(Problem::of(error)))?;
    itself.settle(&Spent {
        sub_calls: 1,
        ..Spent::default()
    });
    let context = match query.context {
        Some(text) => Context::text("context", text),
        None => Context::default(),
    };
    let asker = Asker {
        id: run.next_node(),
        depth: parent.depth + 1,
        run: Arc::clone(run),
        ledger: slice.ledger().clone(),
        session,
        token: ukernel_sandbox::environment::new_token(),
        cancel: parent.cancel.child_token(),
    };
    let attempts = Arc::default();
    let node = Arc::new(Node::new(asker, query.prompt, context, schema, attempts));
    let _cancel = node.cancel.clone().drop_guard();
    let answered = Box::pin(answer(&node, Some((parent.id, call)))).await;
    drop(ends);
    drop(slice);
    let answered = answered?;
    let value = answered.value.filter(|_| node.schema.is_some());
    Ok(value.unwrap_or_else(|| match answered.partial {
        Some(why) => Exact::from(format!("[partial answer: {why}] {}", answered.text).as_str()),
        None => Exact::from(answered.text.as_str()),
    }))
}

/// Destroys a session when it is dropped: its VM at once, the rest behind.
struct EndOfSession(Arc<dyn Environment>, Arc<dyn Environments>);

impl Drop for EndOfSession {
    fn drop(&mut self) {
        self.0.token().cancel();
        let (session, environments) = (Arc::clone(&self.0), Arc::clone(&self.1));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // A folder that cannot be removed now goes with the runtime's own.
                let _ = environments.destroy(session.as_ref()).await;
            });
        }
    }
}

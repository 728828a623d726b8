//! Unknown terms that a person approves or rejects: MCP's `input_required` (revision 2026-07-28).
//!
//! The client answers by calling the tool again, with the answers and the state it was given. The state
//! is signed, and bound to its caller and to the call, so that nobody can approve what was not asked.

use crate::caller::Caller;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitationSchema, InputRequest, InputRequests,
    InputRequiredResult, InputResponses, JsonObject, RequestStateCodec, SealOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Key of the one question in `inputRequests`.
const TERMS: &str = "terms";

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Handle of the session that the terms were met in.
    pub(crate) session: String,
    pub(crate) terms: Vec<String>,
    /// The command around the first of them.
    pub(crate) context: String,
}

/// What the person decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decided {
    pub(crate) approved: Vec<String>,
    pub(crate) rejected: Vec<String>,
}

impl Asked {
    /// The question, as a form with a choice for each term.
    pub(crate) fn requests(&self) -> Result<InputRequests, serde_json::Error> {
        let mut properties = JsonObject::new();
        for (number, term) in self.terms.iter().enumerate() {
            let field = json!({
                "type": "string",
                "title": term,
                "description": format!("May commands speak of `{term}`?"),
                "enum": ["approve", "reject"],
            });
            properties.insert(field_name(number), field);
        }
        let required: Vec<String> = (0..self.terms.len()).map(field_name).collect();
        let schema = json!({"type": "object", "properties": properties, "required": required});
        let requested_schema: ElicitationSchema = serde_json::from_value(schema)?;
        let request = ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: format!(
                "A command speaks of terms that the thesaurus does not know. The command: {}",
                self.context
            ),
            requested_schema,
        });
        Ok(InputRequests::from([(
            TERMS.to_owned(),
            InputRequest::Elicitation(request),
        )]))
    }

    /// What the answers decide; `None` if the person did not want to decide. A term without an answer,
    /// and every term of a form that was declined, is rejected.
    pub(crate) fn decide(&self, responses: &InputResponses) -> Option<Decided> {
        let response = responses.get(TERMS)?;
        let content = match response["action"].as_str() {
            Some("accept") => &response["content"],
            Some("decline") => &Value::Null,
            _ => return None,
        };
        let mut decided = Decided::default();
        for (number, term) in self.terms.iter().enumerate() {
            if content[field_name(number)] == "approve" {
                decided.approved.push(term.clone());
            } else {
                decided.rejected.push(term.clone());
            }
        }
        Some(decided)
    }
}

fn field_name(number: usize) -> String {
    format!("term_{}", number + 1)
}

/// Signs what goes through a client's hands.
pub(crate) struct Seal(Option<RequestStateCodec>);

/// Whose call a state belongs to.
pub(crate) struct Call<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) tool: &'a str,
    pub(crate) arguments: &'a JsonObject,
}

impl Call<'_> {
    fn bytes(&self) -> Vec<u8> {
        // Plain structures always become JSON.
        serde_json::to_vec(&(self.caller, self.tool, self.arguments)).unwrap_or_default()
    }
}

impl Seal {
    /// With a key of this process: a state does not outlive the session it is about.
    pub(crate) fn new() -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("terraphim_mcp_server 2026 state v1");
        // Each has 122 random bits.
        for _ in 0..3 {
            hasher.update(uuid::Uuid::new_v4().as_bytes());
        }
        // The key is 32 bytes long, as it has to be.
        let key = hasher.finalize().as_bytes().to_vec();
        Self(RequestStateCodec::try_new(key).ok())
    }

    /// The question, for a client to answer.
    pub(crate) fn ask(&self, asked: &Asked, call: &Call) -> Option<InputRequiredResult> {
        let context = call.bytes();
        let options = SealOptions::new().associated_data(&context).ttl(PATIENCE);
        let state = self.0.as_ref()?.seal_json_with(asked, &options).ok()?;
        Some(InputRequiredResult::new(
            Some(asked.requests().ok()?),
            Some(state),
        ))
    }

    /// What was asked in this call; `None` if it was not, or too long ago.
    pub(crate) fn open(&self, state: &str, call: &Call) -> Option<Asked> {
        self.0.as_ref()?.open_json_with(state, &call.bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            session: "s_1".to_owned(),
            terms: vec!["plutonium".to_owned(), "cats".to_owned()],
            context: "x = 1".to_owned(),
        }
    }

    fn responses(value: Value) -> InputResponses {
        InputResponses::from([(TERMS.to_owned(), value)])
    }

    #[test]
    fn terms_are_approved_one_by_one() {
        let accepted =
            json!({"action": "accept", "content": {"term_1": "reject", "term_2": "approve"}});
        let decided = asked().decide(&responses(accepted)).expect("decided");
        assert_eq!(decided.approved, ["cats"]);
        assert_eq!(decided.rejected, ["plutonium"]);
        let declined = asked().decide(&responses(json!({"action": "decline"})));
        assert!(declined.expect("decided").approved.is_empty());
        for no_answer in [json!({"action": "cancel"}), json!(7), json!(null)] {
            assert_eq!(asked().decide(&responses(no_answer)), None);
        }
        assert_eq!(asked().decide(&InputResponses::new()), None);
        let odd = json!({"action": "accept", "content": {"term_1": true, "term_3": "approve"}});
        let decided = asked().decide(&responses(odd)).expect("decided");
        assert!(decided.approved.is_empty(), "{decided:?}");
    }

    #[test]
    fn a_state_is_worth_something_to_its_call_only() {
        let seal = Seal::new();
        let (own, other) = (Caller::of_token("a"), Caller::of_token("b"));
        let arguments = JsonObject::from_iter([("code".to_owned(), json!("x"))]);
        let call = |caller, tool, arguments| Call {
            caller,
            tool,
            arguments,
        };
        let sealed = seal
            .ask(&asked(), &call(&own, "rlm_code", &arguments))
            .expect("sealed");
        let state = sealed.request_state.expect("a state");
        let opened = seal.open(&state, &call(&own, "rlm_code", &arguments));
        assert_eq!(opened, Some(asked()));
        let none = JsonObject::new();
        for call in [
            call(&other, "rlm_code", &arguments),
            call(&own, "rlm_bash", &arguments),
            call(&own, "rlm_code", &none),
        ] {
            assert_eq!(seal.open(&state, &call), None);
        }
        let call = call(&own, "rlm_code", &arguments);
        assert_eq!(Seal::new().open(&state, &call), None, "another process");
        for forged in ["", "x", &state[1..], &format!("{state}x")] {
            assert_eq!(seal.open(forged, &call), None);
        }
    }
}

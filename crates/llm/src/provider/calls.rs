//! Tool calls that a provider hands out beside the text. They become text as models write them where no
//! provider takes them out, so that they are recorded, replayed and read as everything else.
//!
//! The library's own collecting is not used: its memory follows the index a provider names.

use genai::chat::ToolCall;
use serde_json::{Value, json};

/// The calls of one reply, in their order.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<ToolCall>);

impl Calls {
    /// Takes in a piece of a call. Some providers send a name and then arguments without one, others
    /// everything from the beginning again under the same id, others the name with each piece, others whole calls.
    pub(super) fn add(&mut self, piece: ToolCall) {
        let Some(last) = self.0.last_mut() else {
            self.0.push(piece);
            return;
        };
        if !piece.fn_name.is_empty() && piece.call_id != last.call_id {
            self.0.push(piece);
            return;
        }
        let is_named = !piece.fn_name.is_empty();
        match (&mut last.fn_arguments, piece.fn_arguments) {
            (Value::String(all), Value::String(more))
                if !(is_named && more.starts_with(all.as_str())) =>
            {
                all.push_str(&more);
            }
            (all, more) => *all = more,
        }
    }

    /// Bytes of all of them, nearly.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|call| call.size() as u64).sum()
    }

    /// The calls as a model would write them; empty if there are none.
    pub(super) fn text(&self) -> String {
        let one = |call: &ToolCall| {
            let call = json!({"name": call.fn_name, "arguments": call.fn_arguments}).to_string();
            // No code in it may look like the closing tag.
            format!("\n<tool_call>{}</tool_call>\n", call.replace("</", "<\\/"))
        };
        self.0.iter().map(one).collect()
    }
}

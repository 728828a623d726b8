//! Tool calls between `<tool_call>` and `</tool_call>`.

use super::answers::is_quoted;
use super::fences::Fences;

const OPENING: &str = "<tool_call>";
const CLOSING_STEM: &str = "tool_call>";

/// Where a line opens a tool call, as the place past the tag.
///
/// A tag inside a sentence opens one only if JSON follows it.
pub(super) fn opening_in(line: &str) -> Option<usize> {
    if is_quoted(line) {
        return None;
    }
    line.match_indices(OPENING).find_map(|(at, tag)| {
        let inside = at + tag.len();
        let before = &line[..at];
        let begins_line = before.trim().is_empty();
        let json_follows = line[inside..].trim_start().starts_with(['{', '[']);
        (begins_line || (json_follows && !before.ends_with('`'))).then_some(inside)
    })
}

/// A tagged text and where the text after it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tagged<'a> {
    pub(super) body: &'a str,
    pub(super) end: usize,
}

/// The text between the tags, from just past the opening one.
///
/// Models forget the closing tag: then the next opening one or the end counts.
pub(super) fn tagged(text: &str, from: usize) -> Tagged<'_> {
    let rest = &text[from..];
    let mut searched = 0;
    while let Some(offset) = rest[searched..].find(CLOSING_STEM) {
        let stem = searched + offset;
        let past = stem + CLOSING_STEM.len();
        if let Some(body) = rest[..stem].strip_suffix("</") {
            return Tagged {
                body: unfenced(body),
                end: from + past,
            };
        }
        if let Some(body) = rest[..stem].strip_suffix('<') {
            return Tagged {
                body: unfenced(body),
                end: from + body.len(),
            };
        }
        searched = past;
    }
    Tagged {
        body: unfenced(rest),
        end: text.len(),
    }
}

/// The body of the block that a text consists of, or the text itself.
fn unfenced(body: &str) -> &str {
    let body = body.trim();
    Fences::new(body)
        .block_at(0)
        .map_or(body, |block| block.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_opens_a_call_at_a_lines_beginning_or_before_json() {
        for line in [
            "<tool_call>",
            "  <tool_call> x",
            "Sure: <tool_call>{\"a\"",
            "`x` <tool_call> [",
        ] {
            assert!(opening_in(line).is_some(), "{line}");
        }
        for line in [
            "I use <tool_call> tags",
            "> <tool_call>{",
            "`<tool_call>{}`",
            "</tool_call>",
        ] {
            assert_eq!(opening_in(line), None, "{line}");
        }
    }

    #[test]
    fn a_call_ends_at_its_closing_tag_or_the_next_opening_one() {
        let cases = [
            ("{1}</tool_call> x", "{1}", " x"),
            ("\n{1}\n<tool_call>{2}", "{1}", "<tool_call>{2}"),
            ("\n{1}\n", "{1}", ""),
            ("\n```json\n{1}\n```\n</tool_call>", "{1}", ""),
            ("{my_tool_call>}</tool_call>", "{my_tool_call>}", ""),
        ];
        for (text, body, rest) in cases {
            let tagged = tagged(text, 0);
            assert_eq!((tagged.body, &text[tagged.end..]), (body, rest), "{text}");
        }
    }
}

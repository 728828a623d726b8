//! A single fence line, and lines in general.

/// The shortest fence.
const MIN_FENCE: usize = 3;

/// How much deeper than the opening fence the closing one may be indented.
const MAX_CLOSING_INDENT: usize = 3;

/// The line that opens a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'a> {
    pub(super) marker: u8,
    length: usize,
    pub(super) indent: usize,
    pub(super) info: &'a str,
}

/// Reads a line as a block's opening fence.
pub(super) fn opening(line: &str) -> Option<Opening<'_>> {
    let content = after_list_marker(line.trim_start());
    let marker = *content.as_bytes().first()?;
    if !matches!(marker, b'`' | b'~') {
        return None;
    }
    let length = run_length(content, marker);
    let info = content[length..].trim();
    // ```x``` on one line is inline code, and ~~~x~~~ is struck out.
    if length < MIN_FENCE || info.contains(char::from(marker)) {
        return None;
    }
    let indent = line.len() - content.len();
    Some(Opening {
        marker,
        length,
        indent,
        info,
    })
}

impl Opening<'_> {
    /// Whether the line closes the block.
    pub(super) fn is_closed_by(&self, line: &str) -> bool {
        let content = line.trim_start();
        let length = run_length(content, self.marker);
        let indent = line.len() - content.len();
        length >= self.length
            && indent <= self.indent + MAX_CLOSING_INDENT
            && content[length..].trim_end().is_empty()
    }

    /// Whether the line opens a labelled block with a fence that this one's
    /// closing fence would close as well.
    pub(super) fn is_repeated_by(&self, line: &str) -> bool {
        opening(line).is_some_and(|inner| {
            inner.marker == self.marker && inner.length >= self.length && !inner.info.is_empty()
        })
    }
}

/// The text after a list marker such as `- ` or `2. `, or the text itself.
fn after_list_marker(content: &str) -> &str {
    let digits = content.bytes().take_while(u8::is_ascii_digit).count();
    let marker = match digits {
        0 => content.strip_prefix(['-', '*', '+']),
        1..=9 => content[digits..].strip_prefix(['.', ')']),
        _ => None,
    };
    match marker {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => content,
    }
}

fn run_length(text: &str, marker: u8) -> usize {
    text.bytes().take_while(|&byte| byte == marker).count()
}

/// The line that begins at a place, without its line end.
pub(super) fn line_at(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    rest.find('\n').map_or(rest, |end| &rest[..end])
}

/// Where the line after this one begins; the text's end if there is none.
pub(super) fn next_line(text: &str, at: usize, line: &str) -> usize {
    (at + line.len() + 1).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_of_any_length_and_either_character_open_a_block() {
        for line in [
            "```",
            "~~~",
            "`````python",
            "   ~~~~ py",
            "      ```py",
            "- ```py",
            "2. ```",
        ] {
            assert!(opening(line).is_some(), "{line}");
        }
        for line in [
            "``py",
            "```py print(1)```",
            "> ```py",
            "text ```",
            "-```",
            "~ ~ ~",
            "~~~no~~~",
            "",
        ] {
            assert!(opening(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_fence_is_closed_by_one_of_its_kind() {
        let opening = opening("  ~~~~ python").expect("as the test wants");
        for line in ["~~~~", "  ~~~~~  ", "     ~~~~"] {
            assert!(opening.is_closed_by(line), "{line}");
        }
        for line in ["~~~", "````", "~~~~ x", "      ~~~~", ""] {
            assert!(!opening.is_closed_by(line), "{line}");
        }
        assert!(opening.is_repeated_by("~~~~bash"));
        assert!(!opening.is_repeated_by("~~~bash"));
    }

    #[test]
    fn lines_follow_one_another_to_the_end() {
        let text = "ab\n\nc";
        assert_eq!(line_at(text, 0), "ab");
        assert_eq!(next_line(text, 0, "ab"), 3);
        assert_eq!(line_at(text, 3), "");
        assert_eq!(next_line(text, 4, "c"), text.len());
    }
}

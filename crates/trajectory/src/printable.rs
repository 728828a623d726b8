//! Texts of a trajectory, made harmless. Models, guests and strangers wrote them: a terminal must
//! not obey them, and a reader must see what is there, in the order in which it is there.

/// The beginning of a text on one line: at most so many columns, the ellipsis included. White
/// space is a single space, a new line is `⏎`.
pub(crate) fn excerpt(text: &str, columns: usize) -> String {
    let mut short = String::new();
    let mut used = 0;
    let mut gap = "";
    // Characters without width must not make a line endless.
    for (index, char) in text.trim().chars().enumerate() {
        if char.is_whitespace() && !is_hidden(char) {
            gap = if char == '\n' || gap == " ⏎ " {
                " ⏎ "
            } else {
                " "
            };
            continue;
        }
        let shown = format!("{gap}{}", Visible(char));
        let width = columns_of(&shown);
        if used + width > columns || index > columns.saturating_mul(4) {
            // Room for the ellipsis is made only now: a text that fits has none.
            while columns > 0 && columns_of(&short) + 1 > columns {
                short.pop();
            }
            short.truncate(short.trim_end().len());
            short.push('…');
            return short;
        }
        short.push_str(&shown);
        used += width;
        gap = "";
    }
    short
}

/// A text whose lines are kept, and tabs as four spaces: what a terminal may show.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| {
        let mut clean = String::with_capacity(line.len());
        for char in line.chars() {
            match char {
                '\t' => clean.push_str("    "),
                char => push_visible(&mut clean, char),
            }
        }
        clean
    })
}

/// Adds a character, or what stands for it if it cannot be seen.
pub(crate) fn push_visible(out: &mut String, char: char) {
    use std::fmt::Write;
    if is_hidden(char) {
        // Writing to a String does not fail.
        let _ = write!(out, "{}", Visible(char));
    } else {
        out.push(char);
    }
}

/// Columns of a terminal that a text takes. Good enough to cut lines; no terminal agrees with
/// another on the rest.
pub(crate) fn columns_of(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// The longest beginning of a text that has at most so many bytes.
pub(crate) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What control characters are called, in their order. There are pictures of them too, but few
/// fonts have those.
const CONTROLS: [&str; 32] = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR",
    "SO", "SI", "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC",
    "FS", "GS", "RS", "US",
];

struct Visible(char);

impl std::fmt::Display for Visible {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            char if is_hidden(char) && CONTROLS.len() > char as usize => {
                write!(out, "‹{}›", CONTROLS[char as usize])
            }
            char if is_hidden(char) => write!(out, "‹U+{:04X}›", u32::from(char)),
            char => write!(out, "{char}"),
        }
    }
}

/// What a terminal would obey, what changes the order of a line, and what cannot be seen. Joiners
/// are not among it: emoji and some scripts need them.
fn is_hidden(char: char) -> bool {
    let is_kept = matches!(char, '\n' | '\t');
    let is_invisible = matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    (char.is_control() && !is_kept) || is_invisible
}

fn width_of(char: char) -> usize {
    match char {
        '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}' => 0,
        '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 2,
        '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' => 2,
        '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_sequence_is_shown_and_not_sent() {
        assert_eq!(excerpt("\x1b[2Jgone\x07", 80), "‹ESC›[2Jgone‹BEL›");
        let shown: Vec<_> = lines("a\x1b]0;title\x07\n\tb\r\n\u{9b}31m").collect();
        assert_eq!(shown, ["a‹ESC›]0;title‹BEL›", "    b", "‹U+009B›31m"]);
    }

    #[test]
    fn a_text_that_runs_backwards_is_told() {
        assert_eq!(excerpt("user\u{202e}nimda", 80), "user‹U+202E›nimda");
        assert_eq!(excerpt("\u{e0041}\u{200b}", 80), "‹U+E0041›‹U+200B›");
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("  a\n\n  b   c\n", 80), "a ⏎ b c");
        assert_eq!(excerpt("abcdef", 6), "abcdef");
        assert_eq!(excerpt("abcdefg", 6), "abcde…");
        assert_eq!(excerpt("漢字漢字", 5), "漢字…");
        assert_eq!(excerpt("a bcdef", 3), "a…");
    }

    #[test]
    fn a_beginning_ends_at_a_character() {
        assert_eq!(beginning("aéé", 2), "a");
        assert_eq!(beginning("aéé", 9), "aéé");
    }

    proptest! {
        #[test]
        fn no_excerpt_is_wider_than_asked(text: String, columns in 1_usize..40) {
            let short = excerpt(&text, columns);
            prop_assert!(columns_of(&short) <= columns, "{short:?}");
            prop_assert!(!short.chars().any(char::is_control));
        }

        #[test]
        fn nothing_a_terminal_obeys_is_left(text: String) {
            for line in lines(&text) {
                prop_assert!(!line.chars().any(is_hidden), "{line:?}");
            }
        }
    }
}

//! What is written into a page. Markup is only what stands in this source, which the types see to:
//! all else is escaped on its way.

use crate::figures::bytes;
use crate::printable::{beginning, excerpt, push_visible};
use std::fmt::Write;

/// Most rows of a page: steps, commands, calls, queries and nodes.
const MAX_ROWS: usize = 20_000;

pub(super) struct Page {
    html: String,
    cap: usize,
    rows: usize,
}

impl Page {
    /// A page that has at most `cap` bytes of each text.
    pub(super) fn new(cap: usize) -> Self {
        Self {
            html: String::new(),
            cap,
            rows: 0,
        }
    }

    pub(super) fn finish(self) -> String {
        self.html
    }

    /// Markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.html.push_str(markup);
        self
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for char in text.chars() {
            match char {
                '&' => self.html.push_str("&amp;"),
                '<' => self.html.push_str("&lt;"),
                '>' => self.html.push_str("&gt;"),
                '"' => self.html.push_str("&quot;"),
                '\'' => self.html.push_str("&#39;"),
                char => push_visible(&mut self.html, char),
            }
        }
        self
    }

    /// The beginning of a text, on one line.
    pub(super) fn excerpt(&mut self, text: &str, columns: usize) -> &mut Self {
        self.text(&excerpt(text, columns))
    }

    /// An element with nothing but text in it.
    pub(super) fn element(&mut self, tag: &'static str, class: &'static str, text: &str) {
        self.raw("<").raw(tag).raw(" class=\"").raw(class);
        self.raw("\">").text(text).raw("</").raw(tag).raw(">\n");
    }

    /// A text with all its lines, as far as the cap goes.
    pub(super) fn whole(&mut self, class: &'static str, text: &str) {
        let shown = beginning(text, self.cap);
        // A browser leaves out a new line at the beginning.
        self.raw("<pre class=\"").raw(class).raw("\">\n");
        self.text(shown.trim_end_matches('\n')).raw("</pre>\n");
        if shown.len() < text.len() {
            let rest = bytes((text.len() - shown.len()) as u64);
            self.element("p", "more", &format!("… and {rest} more, not on this page"));
        }
    }

    /// A text that can be folded away.
    pub(super) fn folded(&mut self, label: &str, class: &'static str, text: &str, is_open: bool) {
        self.open(if is_open { "fold open" } else { "fold" }, is_open);
        self.text(label).raw("</summary>\n");
        self.whole(class, text);
        self.raw("</details>\n");
    }

    /// Begins something that can be folded away; its summary comes next.
    pub(super) fn open(&mut self, class: &'static str, is_open: bool) -> &mut Self {
        self.raw("<details class=\"").raw(class);
        self.raw(if is_open {
            "\" open><summary>"
        } else {
            "\"><summary>"
        })
    }

    /// Where something lies within a whole, as a style: both from 0 to 1.
    pub(super) fn place(&mut self, from: f64, until: f64) -> &mut Self {
        let bounded = |value: f64| {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(0.0, 1.0) * 100.0
            }
        };
        let (left, right) = (bounded(from), bounded(until));
        let width = (right - left).max(0.0);
        // Writing to a String does not fail.
        let _ = write!(self.html, " style=\"left:{left:.2}%;width:{width:.2}%\"");
        self
    }

    /// Takes a row. The first time that there is none left, the page says so.
    pub(super) fn take_row(&mut self) -> bool {
        self.rows += 1;
        if self.rows == MAX_ROWS + 1 {
            self.element("p", "note", "… and more. This page is full.");
        }
        self.rows <= MAX_ROWS
    }
}

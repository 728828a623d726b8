//! Draws lines and the branches before them.

use super::Style;
use super::item::{Item, Paint, Piece};
use crate::printable::{columns_of, excerpt, lines};

/// Most bytes of a drawing. What is nested deep and has many lines would take more memory than
/// there is.
const MAX_BYTES: usize = 256 << 20;
/// Most columns of branches: what is nested deeper is not drawn deeper.
const MAX_BRANCH_COLUMNS: usize = 48;
/// Fewest columns for which the rest of a line is worth filling.
const MIN_EXCERPT_COLUMNS: usize = 12;
/// Columns of a line without a limit that an excerpt may take.
const WIDE: usize = 400;

pub(super) struct Drawing {
    style: Style,
    out: String,
    branches: String,
    is_full: bool,
}

impl Drawing {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            out: String::new(),
            branches: String::new(),
            is_full: false,
        }
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    pub(super) fn finish(mut self) -> String {
        if self.is_full {
            self.out.push_str("… the rest is too long to be shown\n");
        }
        self.out
    }

    /// A line of pieces, cut at the width.
    pub(super) fn line(&mut self, pieces: &[Piece]) {
        self.start("", pieces);
        self.out.push('\n');
    }

    /// A text as one paragraph, its lines broken at the width.
    pub(super) fn paragraph(&mut self, paint: Paint, mark: &str, text: &str) {
        let width = match self.style.width {
            0 => usize::MAX,
            width => width
                .saturating_sub(columns_of(mark))
                .max(MIN_EXCERPT_COLUMNS),
        };
        let text = excerpt(text, WIDE);
        let (mut line, mut mark) = (String::new(), mark);
        for word in text.split(' ') {
            if !line.is_empty() && columns_of(&line) + 1 + columns_of(word) > width {
                self.line(&[(paint, format!("{mark}{line}"))]);
                (line, mark) = (String::new(), "  ");
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        self.line(&[(paint, format!("{mark}{line}"))]);
    }

    /// A text with all its lines; those after the first `most` are only counted.
    pub(super) fn block(&mut self, text: &str, most: usize) {
        let mut rest = 0;
        for (index, line) in lines(text).enumerate() {
            if index < most {
                self.raw_line("  ", &line);
            } else {
                rest += 1;
            }
        }
        if rest > 0 {
            let note = format!("  … {rest} more lines");
            self.line(&[(Paint::Faint, note)]);
        }
    }

    /// Items and all that is below them. The depth of a tree of nodes is bounded, and so is this.
    pub(super) fn tree(&mut self, items: &[Item<'_>]) {
        for (index, item) in items.iter().enumerate() {
            if self.is_full {
                return;
            }
            let is_last = index + 1 == items.len();
            let mut used = self.start(if is_last { "└─ " } else { "├─ " }, &item.line);
            if let Some((paint, text)) = item.excerpt {
                let width = if self.style.width == 0 {
                    used + WIDE
                } else {
                    self.style.width
                };
                used += 2;
                if width >= used + MIN_EXCERPT_COLUMNS {
                    self.out.push_str("  ");
                    self.paint(paint, &excerpt(text, width - used));
                }
            }
            self.out.push('\n');
            let kept = self.branches.len();
            self.deepen(if is_last { "   " } else { "│  " });
            self.texts(item);
            self.tree(&item.items);
            self.branches.truncate(kept);
        }
    }

    /// The whole texts of an item.
    fn texts(&mut self, item: &Item<'_>) {
        let kept = self.branches.len();
        self.deepen(if item.items.is_empty() {
            "   "
        } else {
            "│  "
        });
        for (label, text) in &item.texts {
            if !label.is_empty() {
                self.start("", &[(Paint::Faint, format!("{label}:"))]);
                self.out.push('\n');
            }
            for line in lines(text) {
                self.raw_line("  ", &line);
            }
        }
        self.branches.truncate(kept);
    }

    fn deepen(&mut self, branch: &str) {
        let most = match self.style.width {
            0 => MAX_BRANCH_COLUMNS,
            width => MAX_BRANCH_COLUMNS.min(width / 2),
        };
        if columns_of(&self.branches) < most {
            self.branches.push_str(branch);
        }
    }

    /// A line that is harmless already, and not cut.
    fn raw_line(&mut self, indent: &str, line: &str) {
        if self.has_room() {
            let line = line.trim_end();
            if line.is_empty() {
                let branches = self.branches.trim_end().to_owned();
                self.paint(Paint::Faint, &branches);
            } else {
                self.start_branches("");
                self.out.push_str(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    /// The beginning of a line; says how many columns it takes.
    fn start(&mut self, branch: &str, pieces: &[Piece]) -> usize {
        if !self.has_room() {
            return 0;
        }
        let mut used = self.start_branches(branch);
        for (paint, text) in pieces {
            let room = match self.style.width {
                0 => usize::MAX / 8,
                width => width.saturating_sub(used),
            };
            if room == 0 {
                break;
            }
            // An excerpt has no white space around it, and pieces may end in some.
            let (before, after) = around(text);
            let shown = format!("{before}{}{after}", excerpt(text, room.max(1)));
            let shown = match columns_of(&shown) > room {
                true => excerpt(&shown, room),
                false => shown,
            };
            used += columns_of(&shown);
            self.paint(*paint, &shown);
        }
        used
    }

    fn start_branches(&mut self, branch: &str) -> usize {
        let branches = format!("{}{branch}", self.branches);
        self.paint(Paint::Faint, &branches);
        columns_of(&branches)
    }

    /// A text that is harmless already.
    fn paint(&mut self, paint: Paint, text: &str) {
        let sequence = paint.sequence();
        if !self.style.colour || sequence.is_empty() || text.is_empty() {
            self.out.push_str(text);
        } else {
            self.out.push_str(&format!("{sequence}{text}\x1b[0m"));
        }
    }

    fn has_room(&mut self) -> bool {
        self.is_full |= self.out.len() > MAX_BYTES;
        !self.is_full
    }
}

/// The spaces around a text.
fn around(text: &str) -> (&str, &str) {
    let inner = text.trim_matches(' ');
    if inner.is_empty() {
        return (text, "");
    }
    let before = text.len() - text.trim_start_matches(' ').len();
    (&text[..before], &text[before + inner.len()..])
}

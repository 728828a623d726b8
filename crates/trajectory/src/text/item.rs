//! What is drawn: lines with lines below them.

/// What a piece of a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Odd,
    Name,
}

impl Paint {
    /// The sequence that begins it; none if nothing has to begin.
    pub(super) fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Odd => "\x1b[33m",
            Self::Name => "\x1b[36m",
        }
    }
}

/// A piece of a line, not yet made harmless.
pub(super) type Piece = (Paint, String);

/// A line of the tree.
#[derive(Debug, Default)]
pub(super) struct Item<'run> {
    /// The line.
    pub(super) line: Vec<Piece>,
    /// What fills the rest of the line, as far as there is room.
    pub(super) excerpt: Option<(Paint, &'run str)>,
    /// Texts shown whole below the line, each with what it is if that is not said already.
    pub(super) texts: Vec<(String, &'run str)>,
    /// The lines below.
    pub(super) items: Vec<Item<'run>>,
}

impl<'run> Item<'run> {
    pub(super) fn new(paint: Paint, text: impl Into<String>) -> Self {
        Self {
            line: vec![(paint, text.into())],
            ..Self::default()
        }
    }

    /// Adds figures, with dots between.
    pub(super) fn figures(mut self, figures: impl IntoIterator<Item = String>) -> Self {
        for figure in figures {
            self.line.push((Paint::Faint, format!(" · {figure}")));
        }
        self
    }

    /// Adds something that stands out.
    pub(super) fn mark(mut self, paint: Paint, mark: impl AsRef<str>) -> Self {
        self.line.push((Paint::Faint, " · ".to_owned()));
        self.line.push((paint, mark.as_ref().to_owned()));
        self
    }

    /// Fills the rest of the line with the beginning of a text, or shows all of it below.
    pub(super) fn text(mut self, paint: Paint, label: &str, text: &'run str, full: bool) -> Self {
        if full && !text.trim().is_empty() {
            self.texts.push((label.to_owned(), text));
        } else if self.excerpt.is_none() {
            self.excerpt = Some((paint, text));
        }
        self
    }
}

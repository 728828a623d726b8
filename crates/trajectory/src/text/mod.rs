//! A run for a terminal: a header, the tree, and what came of it.
//!
//! Every text of the trajectory is made harmless on its way out; the only escape sequences are the
//! colours of here, and only if they are asked for.

mod draw;
mod frame;
mod item;
mod node;

use crate::tree::Run;
use draw::Drawing;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours.
    pub colour: bool,
    /// Columns of a line; 0 is no limit. Whole texts are as wide as they are.
    pub width: usize,
    /// Whether to show texts whole, and every query.
    pub full: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            colour: false,
            width: 100,
            full: false,
        }
    }
}

/// The run as lines, each with its end.
#[must_use]
pub fn show(run: &Run, style: Style) -> String {
    let mut drawing = Drawing::new(style);
    frame::header(run, &mut drawing);
    if let Some(root) = &run.root {
        drawing.tree(&node::steps(root, style.full));
        drawing.line(&[]);
    }
    frame::footer(run, &mut drawing);
    drawing.finish()
}

#[cfg(test)]
mod tests;

//! A run as one page that stands alone: no script, nothing from elsewhere, and a policy that lets a
//! browser do no more than that. Nested `<details>` are all that moves.

mod cap;
mod command;
mod node;
mod out;
mod overview;
mod style;

use crate::tree::Run;
use crate::words;
use out::Page;

/// The page.
#[must_use]
pub fn page(run: &Run) -> String {
    let cap = cap::of(run);
    let mut page = Page::new(cap);
    page.raw(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>",
    );
    page.excerpt(overview::title(run), 80);
    page.raw("</title>\n<style>\n").raw(style::STYLE);
    page.raw("</style>\n</head>\n<body>\n<main>\n");
    overview::header(run, &mut page);
    notes(run, cap, &mut page);
    overview::answer(run, &mut page);
    overview::totals(run, &mut page);
    overview::facts(run, &mut page);
    if let Some(root) = &run.root {
        page.raw("<section class=\"steps\">\n<h2>Steps</h2>\n");
        page.raw(
            "<p class=\"legend\"><i class=\"m\"></i> a model was asked <i class=\"c\"></i> \
             code ran, its calls included</p>\n",
        );
        node::body(root, true, &mut page);
        page.raw("</section>\n");
    }
    overview::footer(run, &mut page);
    page.raw("</main>\n</body>\n</html>\n");
    page.finish()
}

fn notes(run: &Run, cap: usize, page: &mut Page) {
    for note in words::notes(run) {
        page.element("p", "note", &note);
    }
    if cap < cap::LARGEST {
        let size = super::figures::bytes(cap as u64);
        let note = format!(
            "There is so much text that only the first {size} of each are on this page. In a \
             terminal, --full shows them whole."
        );
        page.element("p", "note", &note);
    }
}

#[cfg(test)]
mod tests;

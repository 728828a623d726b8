//! The client against a real server: llama.cpp's, with a tiny model whose words are known.
//!
//! Servers of `tests/llm` do what a test tells them, and so are only what we think of servers.
//! This one was written by others, computes, counts tokens, and gets into states of its own.
//!
//! ```text
//!   requirements.txt   the server, as a pinned wheel; fetched once, into cargo's target folder
//!   model.py           makes the model, whose words follow from its weights
//!   serve.py           serves it on a port of loopback, for as long as its standard input is open
//! ```
//!
//! Where the server cannot be had (no Python, no registry, no wheel for this host) the behaviours
//! are listed as ignored, with the reason.

mod endings;
mod install;
mod refusals;
mod replies;
mod server;
mod talk;

use install::Installed;
use libtest_mimic::{Arguments, Failed, Trial};
use server::{Options, Server};
use std::sync::Arc;
use talk::Talk;

type Behaviour = (&'static str, fn(&Talk));

fn behaviours() -> impl Iterator<Item = Behaviour> {
    [
        replies::BEHAVIOURS,
        refusals::BEHAVIOURS,
        endings::BEHAVIOURS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn main() {
    let mut arguments = Arguments::from_args();
    // They share a server, and some measure time.
    arguments.test_threads = Some(1);
    if arguments.list {
        let none = |(name, _)| Trial::test(name, || Ok(()));
        libtest_mimic::run(&arguments, behaviours().map(none).collect()).exit();
    }
    match Installed::find() {
        Ok(installed) => try_out(&arguments, installed),
        Err(why) => skip(&arguments, &why),
    }
}

fn try_out(arguments: &Arguments, installed: Installed) -> ! {
    let server = Server::start(&installed, &Options::default());
    let talk = Arc::new(Talk::new(installed, server));
    let trials = behaviours().map(|(name, behaviour)| {
        let talk = talk.clone();
        Trial::test(name, move || {
            behaviour(&talk);
            // What one behaviour leaves running would slow down the next one.
            talk.server.wait_until_idle().map_err(Failed::from)
        })
    });
    let conclusion = libtest_mimic::run(arguments, trials.collect());
    // To exit drops nothing, and the server is to be gone by then.
    drop(talk);
    conclusion.exit()
}

fn skip(arguments: &Arguments, why: &str) -> ! {
    eprintln!("SKIPPED: no real server: {why}");
    let trials = behaviours().map(|(name, _)| {
        let why = why.to_owned();
        Trial::test(name, move || Err(Failed::from(why))).with_ignored_flag(true)
    });
    let conclusion = libtest_mimic::run(arguments, trials.collect());
    let skipped = behaviours().count();
    eprintln!("SKIPPED: {skipped} of the tests above, which this host cannot run");
    conclusion.exit()
}

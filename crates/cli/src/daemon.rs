//! The daemon as commands use it: found, started, asked; and `ukernel serve`.

use crate::args::Serve;
use crate::cancel::Cancel;
use crate::engine;
use crate::failure::Failure;
use crate::home;
use crate::progress::Steps;
use serde_json::Value;
use std::io::{self, Write};
use std::process::Command;
use std::time::Duration;
use ukernel_daemon::protocol::Request;
use ukernel_daemon::{Client, DaemonError, Input, Place, Server};
use ukernel_image::ImageName;
use ukernel_sandbox::SandboxConfig;
use ukernel_sandbox::engine::{self as sandbox, LinuxTemplates, StoredTemplate};

/// How long a daemon that a command started stays without sessions and requests.
const IDLE_EXIT: Duration = Duration::from_secs(600);

/// Asks the daemon, which is started if nobody serves, for something with one answer.
pub fn ask(request: Request) -> Result<Value, Failure> {
    converse(
        request,
        &[],
        Box::new(io::empty()),
        None,
        &mut |_, _| Ok(()),
    )
}

/// Asks the daemon, which is started if nobody serves. It takes `input` piece by piece, `output`
/// gets pieces of output; on Ctrl-C what was asked for is interrupted.
pub fn converse(
    request: Request,
    body: &[u8],
    input: Input,
    cancel: Option<&Cancel>,
    output: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Value, Failure> {
    let client = connect()?;
    Ok(client.ask(request, body, input, cancel.map(Cancel::file), output)?)
}

fn place() -> Result<Place, Failure> {
    Ok(Place::new(&home::state()?)?)
}

/// The daemon, if one serves.
pub fn serving() -> Result<Option<Client>, Failure> {
    Ok(Client::connect(&place()?)?)
}

fn connect() -> Result<Client, Failure> {
    let place = place()?;
    if let Some(client) = Client::connect(&place)? {
        return Ok(client.of_our_version()?);
    }
    // What takes long, and what can fail, is better done where it is seen.
    let config = crate::settings::sandbox(None, None)?;
    drop(ukernel_template(&config)?);
    let program = std::env::current_exe().map_err(DaemonError::Start)?;
    let mut serve = Command::new(program);
    serve.args(["serve", "--on-demand"]);
    Ok(Client::start(&place, &mut serve)?.of_our_version()?)
}

/// Has what the Linux guest needs there, where it is seen how that goes on: it takes minutes the first time.
pub fn prepare_linux(image: Option<&ImageName>) -> Result<(), Failure> {
    let config = crate::settings::sandbox(None, None)?;
    Ok(linux_templates(&config)?.prepare(image, &Steps::new())?)
}

/// The template of the µkernel.
fn ukernel_template(config: &SandboxConfig) -> Result<StoredTemplate, Failure> {
    let options = engine::options(config.backend_preference.clone())?;
    let engine = sandbox::Engine::open(&options)?;
    Ok(engine.template(config.machine_mib(), &Steps::new())?)
}

/// The templates of Linux guests.
pub fn linux_templates(config: &SandboxConfig) -> Result<LinuxTemplates, Failure> {
    let options = engine::options(config.backend_preference.clone())?;
    Ok(LinuxTemplates::new(
        options,
        config.for_linux().machine_mib(),
    ))
}

/// `ukernel serve`
pub fn serve(args: &Serve) -> Result<u8, Failure> {
    let place = place()?;
    if args.stop {
        return stop(&place);
    }
    if args.status {
        return status(&place, args.json);
    }
    let server = match Server::take(place) {
        Err(DaemonError::Taken) if args.on_demand => return Ok(0),
        taken => taken?,
    };
    let config = crate::settings::sandbox(args.config.as_deref(), args.backend.as_deref())?;
    let ukernel = ukernel_template(&config)?;
    let linux = linux_templates(&config)?;
    let idle_exit = args.on_demand.then_some(IDLE_EXIT);
    server.run(ukernel, linux, config, idle_exit)?;
    Ok(0)
}

/// `ukernel serve --status`
fn status(place: &Place, is_json: bool) -> Result<u8, Failure> {
    let Some(client) = Client::connect(place)? else {
        return Err(Failure::workload(
            "no daemon serves",
            Some("`ukernel session` commands start it".to_owned()),
        ));
    };
    let input = Box::new(io::empty());
    let value = client.ask(Request::Status, &[], input, None, &mut |_, _| Ok(()))?;
    if is_json {
        crate::run::print_json(&value)?;
        return Ok(0);
    }
    let pool = value["pool"].as_object().into_iter().flatten();
    let lines = ["version", "process", "sessions", "lost"]
        .iter()
        .map(|name| (*name, &value[*name]))
        .chain(pool.map(|(name, number)| (name.as_str(), number)));
    for (name, number) in lines {
        let text = number.as_str().map_or(number.to_string(), str::to_owned);
        writeln!(io::stdout(), "{name:<20} {text}")
            .map_err(|error| Failure::workload(format!("writing output: {error}"), None))?;
    }
    Ok(0)
}

/// `ukernel serve --stop`
fn stop(place: &Place) -> Result<u8, Failure> {
    match Client::connect(place)? {
        Some(client) => client.stop()?,
        None => eprintln!("ukernel: no daemon serves"),
    }
    Ok(0)
}

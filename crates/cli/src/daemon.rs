//! The daemon as commands use it: found, started, asked; and `ukernel serve`.

use crate::args::Serve;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::home;
use std::io::{self, Write};
use std::process::Command;
use std::time::Duration;
use ukernel_daemon::protocol::Request;
use ukernel_daemon::{Answer, Client, DaemonError, Place, Server};

/// How long a daemon that a command started stays without sessions and requests.
const IDLE_EXIT: Duration = Duration::from_secs(600);

/// Asks the daemon, which is started if nobody serves. `output` gets pieces of output; on Ctrl-C
/// the execution is interrupted.
pub fn ask(
    request: Request,
    body: &[u8],
    cancel: Option<&Cancel>,
    output: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Answer, Failure> {
    let client = connect()?;
    Ok(client.ask(request, body, cancel.map(Cancel::file), output)?)
}

fn place() -> Result<Place, Failure> {
    Ok(Place::new(&home::state()?)?)
}

fn connect() -> Result<Client, Failure> {
    let place = place()?;
    if let Some(client) = Client::connect(&place) {
        return Ok(client);
    }
    // What takes long, and what can fail, is better done where it is seen.
    let config = crate::settings::sandbox(None, None)?;
    let engine = Engine::prefer(config.backend_preference.clone())?;
    drop(engine.template(config.machine_mib())?);
    let program = std::env::current_exe().map_err(DaemonError::Start)?;
    let mut serve = Command::new(program);
    serve.args(["serve", "--on-demand"]);
    Ok(Client::start(&place, &mut serve)?)
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
    let engine = Engine::prefer(config.backend_preference.clone())?;
    let template = engine.template(config.machine_mib())?;
    server.run(template, config, args.on_demand.then_some(IDLE_EXIT))?;
    Ok(0)
}

/// `ukernel serve --status`
fn status(place: &Place, is_json: bool) -> Result<u8, Failure> {
    let Some(client) = Client::connect(place) else {
        return Err(Failure::workload(
            "no daemon serves",
            Some("`ukernel session` commands start it".to_owned()),
        ));
    };
    let answer = client.ask(Request::Status, &[], None, &mut |_, _| Ok(()))?;
    let value = answer.value;
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
    match Client::connect(place) {
        Some(client) => client.stop()?,
        None => eprintln!("ukernel: no daemon serves"),
    }
    Ok(0)
}

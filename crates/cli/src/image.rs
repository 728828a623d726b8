//! `ukernel image`: images of the Linux guest.

use crate::args::{Image, ImageAdd, Json};
use crate::cancel::Cancel;
use crate::daemon::{linux_templates, serving};
use crate::failure::{Failure, INTERRUPTED};
use crate::progress::Steps;
use crate::run::print_json;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;
use ukernel_daemon::protocol::Request;
use ukernel_image::{
    Dockerfile, ImageName, MAX_DOCKERFILE_BYTES, MAX_LOCK_BYTES, Recipe, read_dockerfile,
};
use ukernel_sandbox::SandboxError;
use ukernel_sandbox::engine::LinuxTemplates;

/// `ukernel image ...`
pub fn image(command: &Image) -> Result<u8, Failure> {
    let templates = linux_templates(&crate::settings::sandbox(None, None)?)?;
    match command {
        Image::Add(add) => make(&templates, add),
        Image::List { output } => list(&templates, *output),
        Image::Remove { name, output } => remove(&templates, name, *output),
        Image::Lock { name, output } => lock(&templates, name, output.as_deref()),
    }
}

fn make(templates: &LinuxTemplates, add: &ImageAdd) -> Result<u8, Failure> {
    let Dockerfile {
        mut recipe,
        files,
        notes,
    } = match &add.dockerfile {
        Some(path) => {
            let text = read(path, MAX_DOCKERFILE_BYTES)?;
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            read_dockerfile(&text, folder.unwrap_or(Path::new(".")))?
        }
        None => Dockerfile::default(),
    };
    for note in notes {
        eprintln!("ukernel: {note}");
    }
    recipe.add_packages(add.packages.iter().map(String::as_str))?;
    recipe.add_pip(add.pip.iter().map(String::as_str))?;
    if let Some(path) = &add.lock {
        recipe.lock = Some(read(path, MAX_LOCK_BYTES)?);
    }
    let cancel = Cancel::install()?;
    let is_interrupted = cancel.token();
    std::thread::spawn(move || end_children(&cancel));
    let steps = Steps::new();
    let images = templates.images();
    let built = images.add(&add.name, recipe, files.as_deref(), &steps);
    let prepared = built
        .map_err(SandboxError::from)
        .and_then(|()| templates.prepare(Some(&add.name), &steps));
    if prepared.is_err() && is_interrupted.is_cancelled() {
        return Err(Failure::with_code(
            "interrupted: what was half made is removed",
            Some("the same command goes on".to_owned()),
            INTERRUPTED,
        ));
    }
    prepared?;
    say(add.output, &json!({ "name": add.name }), add.name.as_str())
}

/// How long the programs of a build may clean up before they are told again to end.
const CLEANING: Duration = Duration::from_secs(10);

/// Ends the programs of a build on a signal, and what they have started: mmdebstrap waits for that before it cleans up. The
/// build fails then, and removes what it has half made.
fn end_children(cancel: &Cancel) {
    let mut ears = [PollFd::from_borrowed_fd(cancel.file(), PollFlags::IN)];
    let _ = poll(&mut ears, None);
    loop {
        let mut all = children_of("self");
        let mut at = 0;
        while let Some(child) = all.get(at) {
            all.extend(children_of(&child.to_string()));
            at += 1;
        }
        for child in all.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(child, Signal::TERM);
        }
        std::thread::sleep(CLEANING);
    }
}

/// Processes a process has started, as proc(5) lists them.
fn children_of(process: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    let lines = tasks.into_iter().flatten().flatten();
    let lines = lines.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lines
        .flat_map(|line| {
            let ids = line.split_whitespace().filter_map(|id| id.parse().ok());
            ids.collect::<Vec<_>>()
        })
        .collect()
}

fn list(templates: &LinuxTemplates, output: Json) -> Result<u8, Failure> {
    let images = templates.images().list()?;
    if output.json {
        let shown = |(name, recipe): &(ImageName, Recipe)| {
            json!({
                "name": name,
                "packages": recipe.packages,
                "pip": recipe.pip,
                "has_files": recipe.files.is_some(),
                "is_locked": recipe.lock.is_some(),
            })
        };
        let images: Vec<Value> = images.iter().map(shown).collect();
        print_json(&json!({ "images": images }))?;
        return Ok(0);
    }
    if images.is_empty() {
        eprintln!(
            "no images but the guest's own; `ukernel image add NAME --packages ...` makes one"
        );
    }
    for (name, recipe) in images {
        let mut parts = [recipe.packages, recipe.pip].concat();
        parts.extend(recipe.files.map(|_| "files".to_owned()));
        parts.extend(recipe.lock.map(|_| "locked".to_owned()));
        print(&format!("{name:<24} {}\n", parts.join(" ")))?;
    }
    Ok(0)
}

fn remove(templates: &LinuxTemplates, name: &ImageName, output: Json) -> Result<u8, Failure> {
    if let Some(client) = serving()? {
        let all = client.ask(
            Request::List,
            &[],
            Box::new(io::empty()),
            None,
            &mut |_, _| Ok(()),
        )?;
        let sessions = all["sessions"].as_array().into_iter().flatten();
        let users: Vec<&str> = sessions
            .filter(|session| session["image"] == name.as_str())
            .filter_map(|session| session["name"].as_str().or(session["id"].as_str()))
            .collect();
        if !users.is_empty() {
            return Err(Failure::usage(
                format!("image {name} is that of sessions: {}", users.join(", ")),
                "`ukernel session destroy` ends them",
            ));
        }
    }
    templates.remove(name)?;
    say(output, &json!({ "removed": name }), "removed")
}

fn lock(
    templates: &LinuxTemplates,
    name: &ImageName,
    output: Option<&Path>,
) -> Result<u8, Failure> {
    let text = templates.images().lock(Some(name), &Steps::new())?;
    match output {
        Some(path) => std::fs::write(path, text).map_err(|error| {
            Failure::usage(format!("{}: {error}", path.display()), "write elsewhere")
        })?,
        None => print(&text)?,
    }
    Ok(0)
}

/// A text that is not too long.
fn read(path: &Path, max_bytes: usize) -> Result<String, Failure> {
    let mut text = String::new();
    let limit = max_bytes as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    let trouble = match read {
        Err(error) => error.to_string(),
        Ok(length) if length > max_bytes => "it is too long".to_owned(),
        Ok(_) => return Ok(text),
    };
    Err(Failure::usage(
        format!("{}: {trouble}", path.display()),
        "name a text file",
    ))
}

fn say(output: Json, value: &Value, text: &str) -> Result<u8, Failure> {
    if output.json {
        print_json(value)?;
    } else {
        print(&format!("{text}\n"))?;
    }
    Ok(0)
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::workload(format!("writing output: {error}"), None))
}

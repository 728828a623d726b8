//! What a Dockerfile asks for, as a recipe. Read by `parse-dockerfile`; judged here.
//!
//! ```text
//!   FROM                     Debian 12, Python 3.11 or `ukernel`: all stand for the guest's own image
//!   RUN                      apt-get install, pip install: lists of packages; nothing of it runs on the host
//!   COPY, WORKDIR, ENV       files, the folder programs start in, their environment
//!   CMD, EXPOSE, ...         noted: sessions have no main program and no ports
//!   anything else            an error that names its line
//! ```

mod files;
mod run;

use super::recipe::Recipe;
use crate::{ImageError, Result};
use files::Files;
use parse_dockerfile::{Command, EnvInstruction, Flag, Instruction};
use std::collections::BTreeMap;
use std::path::Path;

/// Most bytes of a Dockerfile.
pub const MAX_BYTES: usize = 1 << 20;

/// Images that are the guest's own here.
const BASES: [&str; 9] = [
    "ukernel",
    "debian:12",
    "debian:12-slim",
    "debian:bookworm",
    "debian:bookworm-slim",
    "python:3.11",
    "python:3.11-bookworm",
    "python:3.11-slim",
    "python:3.11-slim-bookworm",
];

/// Where programs of the guest find their search path at first.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a Dockerfile came to.
#[derive(Debug, Default)]
pub struct Dockerfile {
    /// Its packages.
    pub recipe: Recipe,
    /// Its files, a tar, if it has any.
    pub files: Option<Vec<u8>>,
    /// What of it has no meaning here, for the user.
    pub notes: Vec<String>,
}

/// Reads a Dockerfile; what it copies is below `folder`.
///
/// # Errors
/// [`ImageError::Dockerfile`] with the line; [`ImageError::BadPackage`].
pub fn read(text: &str, folder: &Path) -> Result<Dockerfile> {
    let mut reader = Reader {
        text,
        files: Files::new(folder),
        environment: BTreeMap::new(),
        workdir: None,
        result: Dockerfile::default(),
    };
    if text.len() > MAX_BYTES {
        return Err(reader.bad(0, "it is too long"));
    }
    let parsed = parse_dockerfile::parse(text).map_err(|error| ImageError::Dockerfile {
        line: error.line(),
        what: error.to_string(),
    })?;
    if let Some(escape) = parsed.parser_directives.escape
        && escape.value.value != '\\'
    {
        return Err(reader.bad(escape.span().start, "only `\\` escapes here"));
    }
    for (at, instruction) in parsed.instructions.iter().enumerate() {
        reader.instruction(instruction, at == 0)?;
    }
    reader.end()
}

struct Reader<'a> {
    text: &'a str,
    files: Files<'a>,
    environment: BTreeMap<String, String>,
    workdir: Option<String>,
    result: Dockerfile,
}

impl Reader<'_> {
    /// The error of what begins at this byte.
    fn bad(&self, at: usize, what: impl Into<String>) -> ImageError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        ImageError::Dockerfile {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            what: what.into(),
        }
    }

    /// The same, of an error that knows no line.
    fn at(&self, at: usize) -> impl Fn(ImageError) -> ImageError {
        move |error| match error {
            ImageError::DiskFull { .. } => error,
            error => self.bad(at, error.to_string()),
        }
    }

    fn refuse_options(&self, options: &[Flag<'_>]) -> Result<()> {
        options.first().map_or(Ok(()), |option| {
            let what = format!("the option --{} is not supported", option.name.value);
            Err(self.bad(option.span().start, what))
        })
    }

    fn instruction(&mut self, instruction: &Instruction<'_>, is_first: bool) -> Result<()> {
        let unsupported = |name: &str, span: &parse_dockerfile::Span, instead: &str| {
            Err(self.bad(span.start, format!("{name} is not supported: {instead}")))
        };
        match instruction {
            Instruction::From(from) => {
                let at = from.from.span.start;
                self.refuse_options(&from.options)?;
                if !is_first {
                    return Err(self.bad(at, "only one FROM is supported, and it comes first"));
                }
                let image = from.image.value.as_ref();
                if !BASES.contains(&image) {
                    let known = BASES.join(", ");
                    let image: String = image.escape_debug().take(80).collect();
                    return Err(self.bad(
                        at,
                        format!("FROM {image}: images here begin with one of {known}"),
                    ));
                }
            }
            Instruction::Run(run) => {
                let at = run.run.span.start;
                self.refuse_options(&run.options)?;
                if !run.here_docs.is_empty() {
                    return Err(self.bad(at, "RUN with a here-document is not supported"));
                }
                let commands = match &run.arguments {
                    Command::Shell(line) => run::commands(line.value),
                    Command::Exec(words) => Ok(vec![
                        words
                            .value
                            .iter()
                            .map(|word| word.value.to_string())
                            .collect(),
                    ]),
                    _ => Err("this form of RUN is not supported".to_owned()),
                };
                for words in commands.map_err(|what| self.bad(at, what))? {
                    self.run(at, &words)?;
                }
            }
            Instruction::Copy(copy) => {
                let at = copy.copy.span.start;
                self.refuse_options(&copy.options)?;
                let mut sources = Vec::new();
                for source in &copy.src {
                    let parse_dockerfile::Source::Path(path) = source else {
                        return Err(self.bad(at, "COPY of a here-document is not supported"));
                    };
                    sources.push(self.expand(at, &path.value)?);
                }
                let target = self.expand(at, &copy.dest.value)?;
                let workdir = self.workdir.as_deref().unwrap_or("/");
                let copied = self.files.copy(&sources, &target, workdir);
                copied.map_err(|error| self.at(at)(error))?;
            }
            Instruction::Env(env) => self.env(env)?,
            Instruction::Workdir(workdir) => {
                let at = workdir.workdir.span.start;
                let folder = self.expand(at, &workdir.arguments.value)?;
                let from = self.workdir.as_deref().unwrap_or("/");
                let folder = files::target(&folder, from).map_err(|error| self.at(at)(error))?;
                self.files.folder(&folder);
                self.workdir = Some(folder);
            }
            Instruction::User(user) => self.note(
                user.user.span.start,
                "USER: programs are user `user` (1000) here",
            ),
            Instruction::Cmd(it) => {
                self.note(it.cmd.span.start, "CMD: sessions have no main program")
            }
            Instruction::Entrypoint(it) => self.note(
                it.entrypoint.span.start,
                "ENTRYPOINT: sessions have no main program",
            ),
            Instruction::Expose(it) => {
                self.note(it.expose.span.start, "EXPOSE: sessions have no network")
            }
            Instruction::Healthcheck(it) => self.note(
                it.healthcheck.span.start,
                "HEALTHCHECK: sessions have no main program",
            ),
            Instruction::Stopsignal(it) => self.note(
                it.stopsignal.span.start,
                "STOPSIGNAL: sessions have no main program",
            ),
            Instruction::Volume(it) => {
                self.note(it.volume.span.start, "VOLUME: files are the session's")
            }
            Instruction::Label(it) => self.note(it.label.span.start, "LABEL"),
            Instruction::Maintainer(it) => self.note(it.maintainer.span.start, "MAINTAINER"),
            Instruction::Add(it) => return unsupported("ADD", &it.add.span, "use COPY"),
            Instruction::Arg(it) => {
                return unsupported("ARG", &it.arg.span, "write the value, or use ENV");
            }
            Instruction::Onbuild(it) => {
                return unsupported(
                    "ONBUILD",
                    &it.onbuild.span,
                    "nothing is built from images here",
                );
            }
            Instruction::Shell(it) => {
                return unsupported(
                    "SHELL",
                    &it.shell.span,
                    "RUN lines are lists of packages here",
                );
            }
            _ => return Err(self.bad(0, "it has an instruction that is not supported")),
        }
        Ok(())
    }

    fn note(&mut self, at: usize, what: &str) {
        if let ImageError::Dockerfile { line, .. } = self.bad(at, "") {
            let note = format!("line {line} of the Dockerfile is passed over: {what}");
            self.result.notes.push(note);
        }
    }

    /// One command of a RUN.
    fn run(&mut self, at: usize, words: &[String]) -> Result<()> {
        let asked = run::meaning(words).map_err(|what| self.bad(at, what))?;
        let mut requirements = asked.pip;
        for path in asked.requirement_files {
            let workdir = self.workdir.as_deref().unwrap_or("/");
            let content = self.files.content(&path, workdir);
            let content = content.ok_or_else(|| {
                let path: String = path.escape_debug().collect();
                self.bad(at, format!("no COPY before it brings {path}"))
            })?;
            let lines = run::requirements(content).map_err(|what| self.bad(at, what))?;
            requirements.extend(lines);
        }
        let mut recipe = std::mem::take(&mut self.result.recipe);
        let added = recipe
            .add_packages(asked.packages.iter().map(String::as_str))
            .and_then(|()| recipe.add_pip(requirements.iter().map(String::as_str)));
        self.result.recipe = recipe;
        added.map_err(|error| self.at(at)(error))
    }

    fn env(&mut self, env: &EnvInstruction<'_>) -> Result<()> {
        let at = env.env.span.start;
        let pairs = run::variables(&env.arguments.value).map_err(|what| self.bad(at, what))?;
        // All of one line see what was there before it, as in the original.
        let mut expanded = Vec::new();
        for (name, value) in pairs {
            expanded.push((name, self.expand(at, &value)?));
        }
        self.environment.extend(expanded);
        Ok(())
    }

    /// Puts in the values of variables.
    fn expand(&self, at: usize, text: &str) -> Result<String> {
        run::expand(text, |name| {
            let known = self.environment.get(name).map(String::as_str);
            known.or_else(|| (name == "PATH").then_some(PATH))
        })
        .map_err(|what| self.bad(at, what))
    }

    fn end(mut self) -> Result<Dockerfile> {
        if let Some(folder) = &self.workdir {
            self.files.own("etc/ukernel/folder", folder);
        }
        if !self.environment.is_empty() {
            let lines: String = self
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect();
            self.files.own("etc/ukernel/environment", &lines);
        }
        self.result.files = self.files.tar()?;
        Ok(self.result)
    }
}

#[cfg(test)]
mod tests;

//! What a question is asked over: files, texts, standard input. It is read piece by piece by the
//! session's VM and never goes into a prompt.

use crate::error::{Cause, Problem};
use crate::{Result, RlmError};
use rustix::fs::{Mode, OFlags};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most files of one context.
const MAX_FILES: usize = 10_000;

/// How deep folders may be nested.
const MAX_FOLDER_DEPTH: usize = 32;

/// Beginning of a file that is looked at to tell text from other data.
const LOOKED_AT_BYTES: u64 = 8192;

/// The name of standard input.
pub const STDIN: &str = "-";

/// What a question is asked over.
#[derive(Clone, Debug, Default)]
pub struct Context {
    sources: Vec<Arc<Source>>,
}

#[derive(Debug)]
struct Source {
    name: String,
    bytes: u64,
    is_binary: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(File),
    Memory(Vec<u8>),
}

/// What is known of a source before it is read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Listed {
    name: String,
    bytes: u64,
    binary: bool,
}

impl Context {
    /// One text.
    #[must_use]
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        let content = text.into().into_bytes();
        Self {
            sources: vec![Arc::new(Source::of_bytes(name.into(), content))],
        }
    }

    /// Files, and all files below folders, in the order given and by name. `-` is standard input.
    /// Links are followed where they are named, not where they are found.
    ///
    /// # Errors
    /// [`RlmError::Context`] for what is not there, is no file, or is too large; for a context
    /// without a byte.
    pub fn files(paths: &[PathBuf], max_bytes: u64) -> Result<Self> {
        let mut found = Vec::new();
        for path in paths {
            collect(path, 0, &mut found)?;
        }
        let mut seen = HashSet::new();
        found.retain(|path| seen.insert(path.clone()));
        let mut context = Self::default();
        let mut left = max_bytes;
        for path in found {
            let source = Source::open(&path, left)?;
            left = left.checked_sub(source.bytes).ok_or_else(|| {
                let problem = format!("the context has more than {max_bytes} bytes");
                let hint = "name fewer files, or raise max_context_bytes";
                RlmError::context(Problem::from(problem).hinting(hint))
            })?;
            context.sources.push(Arc::new(source));
        }
        if !paths.is_empty() && context.bytes() == 0 {
            let problem = Problem::from("the context is empty");
            return Err(RlmError::context(
                problem.hinting("name files that have something in them"),
            ));
        }
        Ok(context)
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.sources.is_empty()
    }

    pub(crate) fn list(&self) -> Vec<Listed> {
        let listed = self.sources.iter().map(|source| Listed {
            name: source.name.clone(),
            bytes: source.bytes,
            binary: source.is_binary,
        });
        listed.collect()
    }

    /// A piece of a source, shorter at its end. Blocks while the file is read.
    pub(crate) async fn read(
        &self,
        source: usize,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, String> {
        let source = self.sources.get(source).ok_or("there is no such source")?;
        let source = Arc::clone(source);
        tokio::task::spawn_blocking(move || source.read(offset, length))
            .await
            .map_err(|error| error.to_string())?
    }
}

impl Source {
    fn of_bytes(name: String, content: Vec<u8>) -> Self {
        let looked_at = content.len().min(LOOKED_AT_BYTES as usize);
        Self {
            name,
            bytes: content.len() as u64,
            is_binary: content[..looked_at].contains(&0),
            content: Content::Memory(content),
        }
    }

    fn open(path: &Path, max_bytes: u64) -> Result<Self> {
        let bad = |cause: Cause| {
            RlmError::context(Problem::about(format!("context {}", path.display()), cause))
        };
        if path == Path::new(STDIN) {
            let mut content = Vec::new();
            std::io::stdin()
                .take(max_bytes.saturating_add(1))
                .read_to_end(&mut content)
                .map_err(|error| bad(error.into()))?;
            return Ok(Self::of_bytes("standard input".to_owned(), content));
        }
        // Without NONBLOCK a named pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| bad(std::io::Error::from(error).into()))?;
        let file = File::from(file);
        let status = file.metadata().map_err(|error| bad(error.into()))?;
        if !status.is_file() {
            return Err(bad("it is no regular file".into()));
        }
        let mut beginning = vec![0; LOOKED_AT_BYTES as usize];
        let read = file
            .read_at(&mut beginning, 0)
            .map_err(|error| bad(error.into()))?;
        Ok(Self {
            name: path.display().to_string(),
            bytes: status.len(),
            is_binary: beginning[..read].contains(&0),
            content: Content::File(file),
        })
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        // What was added to a file since it was opened is not part of the context.
        let left = self.bytes.saturating_sub(offset);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        match &self.content {
            Content::Memory(content) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = content.get(start..).unwrap_or_default();
                Ok(rest[..length.min(rest.len())].to_vec())
            }
            Content::File(file) => {
                let mut piece = vec![0; length];
                let mut read = 0;
                while read < length {
                    let at = offset + read as u64;
                    match file.read_at(&mut piece[read..], at) {
                        Ok(0) => break,
                        Ok(count) => read += count,
                        Err(error) => return Err(format!("{}: {error}", self.name)),
                    }
                }
                piece.truncate(read);
                Ok(piece)
            }
        }
    }
}

fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let bad = |cause: Cause| {
        RlmError::context(Problem::about(format!("context {}", path.display()), cause))
    };
    if path == Path::new(STDIN) {
        found.push(path.to_owned());
        return Ok(());
    }
    let status = if depth == 0 {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    };
    let status = status.map_err(|error| {
        let is_pattern = path.to_string_lossy().contains(['*', '?', '[']);
        if error.kind() == std::io::ErrorKind::NotFound && is_pattern {
            let problem = format!("context {}: the pattern matches no file", path.display());
            let problem = Problem::from(problem).hinting("check the folder it is for");
            return RlmError::context(problem);
        }
        bad(error.into())
    })?;
    if status.is_dir() {
        if depth == MAX_FOLDER_DEPTH {
            return Err(bad("folders are nested too deeply".into()));
        }
        let entries = fs::read_dir(path).map_err(|error| bad(error.into()))?;
        let mut entries: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()
            .map_err(|error| bad(error.into()))?;
        entries.sort();
        for entry in entries {
            collect(&entry, depth + 1, found)?;
        }
        return Ok(());
    }
    if depth > 0 && !status.is_file() {
        return Ok(());
    }
    if found.len() == MAX_FILES {
        let problem = Problem::from(format!("the context has more than {MAX_FILES} files"));
        return Err(RlmError::context(
            problem.hinting("name fewer, or put them into one"),
        ));
    }
    found.push(path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&Path]) -> Result<Context> {
        let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
        Context::files(&paths, 1 << 20)
    }

    #[tokio::test]
    async fn files_and_folders_are_read_in_order_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).expect("made");
        fs::write(at("b.txt"), "second").expect("written");
        fs::write(at("a.txt"), "first").expect("written");
        fs::write(at("sub/c.bin"), b"\0\x01").expect("written");
        std::os::unix::fs::symlink(at("a.txt"), at("link")).expect("linked");
        let context = of(&[&at("b.txt"), folder.path()]).expect("a context");
        let listed: Vec<_> = context
            .list()
            .iter()
            .map(|one| (one.name.rsplit('/').next().map(str::to_owned), one.binary))
            .collect();
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(
            listed,
            [
                (name("b.txt"), false),
                (name("a.txt"), false),
                (name("c.bin"), true)
            ]
        );
        assert_eq!(context.read(0, 2, 3).await.expect("a piece"), b"con");
        assert_eq!(context.read(0, 4, 100).await.expect("a piece"), b"nd");
        assert_eq!(context.read(0, 400, 1).await.expect("a piece"), b"");
        assert!(context.read(9, 0, 1).await.is_err());
    }

    #[test]
    fn what_cannot_be_a_context_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let message = |path: &Path| of(&[path]).expect_err("an error").to_string();
        assert!(message(&at("none")).contains("none"));
        assert!(message(&at("*.txt")).contains("pattern matches no file"));
        fs::write(at("empty"), "").expect("written");
        assert!(message(&at("empty")).contains("is empty"));
        assert!(message(Path::new("/dev/null")).contains("no regular file"));
        fs::write(at("large"), vec![b'x'; (1 << 20) + 1]).expect("written");
        let error = of(&[&at("large")]).expect_err("an error");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("max_context_bytes"), "{error}. {hint}");
    }

    #[tokio::test]
    async fn a_file_that_shrinks_ends_sooner() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "0123456789").expect("written");
        let context = of(&[file.path()]).expect("a context");
        fs::write(file.path(), "01").expect("written");
        assert_eq!(context.read(0, 0, 10).await.expect("a piece"), b"01");
    }
}

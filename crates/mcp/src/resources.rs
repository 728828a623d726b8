//! Resources: files of a session in pieces, and its snapshots.
//!
//! ```text
//!   ukernel://sessions/HANDLE/files/PATH?offset=N&length=N     bytes of a file; long outputs are such
//!   ukernel://sessions/HANDLE/snapshots                        JSON
//! ```

use crate::calls::Desk;
use crate::replies::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rmcp::ErrorData;
use rmcp::model::{
    ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};

const BEGIN: &str = "ukernel://sessions/";

/// What stays as it is in the path of a URI (RFC 3986, section 3.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Bytes of a file that are given, if the URI does not say, and at most.
const PIECE_BYTES: usize = 64 << 10;
const MAX_PIECE_BYTES: usize = 4 << 20;

/// Longest URI that is looked at, in bytes.
const MAX_URI_BYTES: usize = 16 << 10;

/// What a URI names.
#[derive(Debug, PartialEq)]
enum Named {
    File {
        session: String,
        path: String,
        offset: u64,
        length: usize,
    },
    Snapshots {
        session: String,
    },
}

/// The URI of a file. `path` is absolute.
pub(crate) fn file_uri(session: &str, path: &str) -> String {
    format!("{BEGIN}{session}/files{}", utf8_percent_encode(path, PATH))
}

/// The path of a file's URI.
pub(crate) fn path_of(uri: &str) -> Option<String> {
    match parse(uri)? {
        Named::File { path, .. } => Some(path),
        Named::Snapshots { .. } => None,
    }
}

fn parse(uri: &str) -> Option<Named> {
    if uri.len() > MAX_URI_BYTES {
        return None;
    }
    let (place, query) = match uri.strip_prefix(BEGIN)?.split_once('?') {
        Some((place, query)) => (place, query),
        None => (uri.strip_prefix(BEGIN)?, ""),
    };
    let (session, rest) = place.split_once('/')?;
    let session = session.to_owned();
    if rest == "snapshots" && query.is_empty() {
        return Some(Named::Snapshots { session });
    }
    let path = rest.strip_prefix("files")?;
    if !path.starts_with('/') {
        return None;
    }
    let path = percent_decode_str(path).decode_utf8().ok()?.into_owned();
    let (mut offset, mut length) = (0, PIECE_BYTES);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("offset", number) => offset = number.parse().ok()?,
            ("length", number) => length = number.parse().ok()?,
            _ => return None,
        }
    }
    (1..=MAX_PIECE_BYTES)
        .contains(&length)
        .then_some(Named::File {
            session,
            path,
            offset,
            length,
        })
}

fn protocol_error(failure: Failure) -> ErrorData {
    let data = serde_json::json!({"code": failure.code, "name": failure.name});
    ErrorData::resource_not_found(failure.message, Some(data))
}

impl Desk {
    /// Long outputs of the caller's sessions, and their snapshots.
    pub(crate) fn resources(&self) -> ListResourcesResult {
        let mut resources = Vec::new();
        for (session, _) in self.shared.sessions.of(&self.caller) {
            resources.push(
                Resource::new(format!("{BEGIN}{session}/snapshots"), "snapshots")
                    .with_title(format!("Snapshots of session {session}"))
                    .with_mime_type("application/json"),
            );
            for output in self.shared.sessions.outputs(&session) {
                resources.push(
                    Resource::new(file_uri(&session, &output.path), output.path.clone())
                        .with_title(format!("Output of session {session}"))
                        .with_description("All of an output that was too long; read it in pieces.")
                        .with_size(output.bytes),
                );
            }
        }
        ListResourcesResult::with_all_items(resources)
    }

    pub(crate) async fn read(&self, uri: &str) -> Result<ReadResourceResult, ErrorData> {
        let Some(named) = parse(uri) else {
            return Err(ErrorData::resource_not_found(
                "there is no such resource",
                Some(serde_json::json!({"uri": uri.chars().take(200).collect::<String>()})),
            ));
        };
        let content = match named {
            Named::Snapshots { session } => self.read_snapshots(uri, &session).await,
            Named::File {
                session,
                path,
                offset,
                length,
            } => self.read_file(uri, &session, &path, offset, length).await,
        };
        Ok(ReadResourceResult::new(vec![
            content.map_err(protocol_error)?,
        ]))
    }

    async fn read_snapshots(&self, uri: &str, session: &str) -> Result<ResourceContents, Failure> {
        let session = self.session(session).await?;
        let listed = self.rlm().await?.list_snapshots(session.id).await;
        let listed = listed.map_err(|error| Failure::of(&error))?;
        let shown = crate::calls::shown(listed);
        // Plain structures always become JSON.
        let text = serde_json::to_string(&shown).unwrap_or_default();
        Ok(ResourceContents::text(text, uri).with_mime_type("application/json"))
    }

    async fn read_file(
        &self,
        uri: &str,
        session: &str,
        path: &str,
        offset: u64,
        length: usize,
    ) -> Result<ResourceContents, Failure> {
        let session = self.session(session).await?;
        let rlm = self.rlm().await?;
        let read = rlm.read_file(session.id, path, offset, length).await;
        let bytes = read.map_err(|error| Failure::of(&error))?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => ResourceContents::text(text, uri),
            Err(error) => ResourceContents::blob(STANDARD.encode(error.as_bytes()), uri)
                .with_mime_type("application/octet-stream"),
        })
    }
}

pub(crate) fn templates() -> ListResourceTemplatesResult {
    ListResourceTemplatesResult::with_all_items(vec![
        ResourceTemplate::new(
            format!("{BEGIN}{{session}}/files{{+path}}{{?offset,length}}"),
            "file",
        )
        .with_title("A file of a session")
        .with_description(
            "Bytes of a file, given by its absolute path: text if they are UTF-8. 64 KiB from the \
             beginning, unless `offset` and `length` (at most 4 MiB) say otherwise.",
        ),
        ResourceTemplate::new(format!("{BEGIN}{{session}}/snapshots"), "snapshots")
            .with_title("The snapshots of a session")
            .with_mime_type("application/json"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_piece_of_a_file() {
        let uri = file_uri("s_1", "/tmp/a b?é/../c");
        assert_eq!(path_of(&uri).as_deref(), Some("/tmp/a b?é/../c"));
        let piece = parse(&format!("{uri}?offset=7&length=9")).expect("a piece");
        let Named::File { offset, length, .. } = piece else {
            panic!("a file");
        };
        assert_eq!((offset, length), (7, 9));
        let snapshots = parse("ukernel://sessions/s_1/snapshots");
        assert!(matches!(snapshots, Some(Named::Snapshots { .. })));
        for bad in [
            "",
            "file:///etc/passwd",
            "ukernel://sessions/",
            "ukernel://sessions/s_1",
            "ukernel://sessions/s_1/filesx",
            "ukernel://sessions/s_1/files/a?offset=-1",
            "ukernel://sessions/s_1/files/a?length=0",
            "ukernel://sessions/s_1/files/a?length=99999999",
            "ukernel://sessions/s_1/files/a?other=1",
            "ukernel://sessions/s_1/files/%ff",
            &format!("ukernel://sessions/s_1/files/{}", "a".repeat(1 << 20)),
        ] {
            assert_eq!(parse(bad), None, "{}", &bad[..bad.len().min(80)]);
        }
    }
}

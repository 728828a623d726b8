//! `ukernel audit`: receipts of sessions.

use crate::args::Audit;
use crate::failure::Failure;
use crate::run::print_json;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use ukernel_audit::{Fault, Verified};

/// Does what was asked for.
pub fn audit(audit: &Audit) -> Result<u8, Failure> {
    match audit {
        Audit::Verify { file, json } => verify(file, *json),
    }
}

fn verify(path: &Path, is_json: bool) -> Result<u8, Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path)
        .map_err(|error| Failure::usage(named(&error), "name a file that can be read"))?;
    let verified = ukernel_audit::verify(BufReader::new(file)).map_err(|fault| {
        let hint = match fault {
            Fault::Read(_) => "name a receipt: a file, not a folder",
            Fault::Empty | Fault::Broken { .. } => "do not rely on it",
        };
        Failure::workload(named(&fault), Some(hint.to_owned()))
    })?;
    if is_json {
        print_json(&serde_json::to_value(&verified).map_err(|error| {
            Failure::workload(format!("writing what was found: {error}"), None)
        })?)?;
    } else {
        println!("{}", describe(&verified));
    }
    Ok(0)
}

/// What was found, for people.
fn describe(verified: &Verified) -> String {
    let state = match verified.is_sealed {
        true => "whole and sealed",
        false => "whole so far, not sealed: the session goes on, or entries at the end are missing",
    };
    let events: Vec<String> = verified
        .events
        .iter()
        .map(|(event, count)| format!("{count} {}", event.escape_debug()))
        .collect();
    let mut text = format!(
        "{state}\n{} entries: {}\nhash {}",
        verified.entries,
        events.join(", "),
        verified.hash
    );
    if verified.missing > 0 {
        text.push_str(&format!(
            "\n{} entries could not be written when they happened",
            verified.missing
        ));
    }
    text
}

//! The table of what holds where, in the documents.

use crate::ground::Column;
use crate::{NOT_OF_LINUX, behaviours_of, common};
use std::collections::HashSet;
use std::path::Path;

const BEGIN: &str = "<!-- what the conformance suite tries: written by it -->\n";
const END: &str = "<!-- end -->\n";

/// Compares the table in the documents with the lists, or writes it.
pub fn is_true() -> Result<(), String> {
    let names: HashSet<_> = common().map(|(name, _)| name).collect();
    if let Some((unknown, _)) = NOT_OF_LINUX.iter().find(|(name, _)| !names.contains(name)) {
        return Err(format!("there is no behaviour {unknown}"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guests.md");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the table does not begin")?;
    let (_, after) = rest.split_once(END).ok_or("the table does not end")?;
    let whole = [before, BEGIN, &table(), END, after].concat();
    if whole == text {
        return Ok(());
    }
    if std::env::var_os("UKERNEL_WRITE_TABLE").is_none() {
        return Err(format!(
            "{} has another table: run this once with UKERNEL_WRITE_TABLE=1",
            path.display()
        ));
    }
    std::fs::write(&path, whole).map_err(|error| error.to_string())
}

fn table() -> String {
    let columns = Column::ALL.map(|column| (column, behaviours_of(column)));
    let mut rows: Vec<&str> = Vec::new();
    for (_, behaviours) in &columns {
        for (name, _) in behaviours {
            if !rows.contains(name) {
                rows.push(name);
            }
        }
    }
    let titles: String = Column::ALL
        .iter()
        .map(|column| format!(" {} |", column.title()))
        .collect();
    let mut table = format!("| |{titles}\n|---|---|---|---|\n");
    for row in rows {
        table.push_str(&format!("| {} |", row.replace('_', " ")));
        for (_, behaviours) in &columns {
            let found = behaviours.iter().find(|(name, _)| *name == row);
            let cell = match found {
                Some((_, Ok(_))) => "yes",
                Some((_, Err(why))) => why,
                None => "",
            };
            table.push_str(&format!(" {cell} |"));
        }
        table.push('\n');
    }
    table
}

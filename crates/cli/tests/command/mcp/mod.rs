//! `ukernel mcp`, spoken to as the protocol is on the wire, line by line: no library that could
//! agree with ours on a mistake.

mod client;
mod hostile;
mod http;
mod tasks;
mod tools;

use crate::ground::{Behaviour, Ran, run};

/// Those that need no VM.
pub const WITHOUT_VMS: &[Behaviour] = &[
    (
        "a_configuration_is_printed_for_every_client",
        configurations,
    ),
    (
        "settings_of_other_servers_that_make_no_sense_are_named",
        settings,
    ),
    (
        "the_reference_in_the_documents_is_the_servers_own",
        reference,
    ),
    ("garbage_is_answered_or_passed_over", hostile::garbage),
];

pub const BEHAVIOURS: &[Behaviour] = &[
    ("all_six_tools_work", tools::all_six),
    (
        "a_call_without_a_session_gets_one_of_its_own",
        tools::own_session,
    ),
    ("an_older_client_has_one_session", tools::older_client),
    ("images_come_back_as_images", tools::images),
    ("long_outputs_are_resources", tools::long_outputs),
    ("failed_code_is_a_result_that_says_so", tools::failures),
    ("arguments_that_do_not_fit_are_named", hostile::arguments),
    ("code_of_ten_megabytes_runs", hostile::long_code),
    ("a_client_that_leaves_leaves_no_vm", hostile::leaves),
    ("what_takes_long_goes_on_as_a_task", tasks::goes_on),
    ("who_waits_hears_how_far_it_is", tasks::progress),
    ("a_cancelled_task_is_cancelled", tasks::cancelled),
    ("tasks_outlive_the_server", tasks::outlive),
    ("unknown_terms_are_decided_by_a_person", tasks::terms),
    ("code_calls_the_tools_of_other_servers", tools::upstream),
    (
        "a_server_that_is_reached_takes_a_token",
        tools::upstream_over_http,
    ),
    ("a_handle_ends_with_its_session", tools::expired),
    ("other_servers_that_misbehave_are_errors", hostile::upstream),
    ("http_lets_in_who_shows_a_token", http::tokens),
    ("a_handle_is_of_its_caller_only", http::handles),
    (
        "a_disconnected_client_finds_its_task_again",
        http::disconnected,
    ),
];

fn configurations() {
    for client in [
        "claude", "codex", "cursor", "gemini", "vscode", "windsurf", "zed",
    ] {
        let ran = run(&["mcp", "--print-config", client]).expect(0);
        assert!(ran.text().contains("\"mcp\""), "{}", ran.text());
    }
    let ran: Ran = run(&["mcp", "--http", "127.0.0.1:1", "--print-config", "vscode"]);
    assert!(ran.expect(0).text().contains("http://127.0.0.1:1/mcp"));
    run(&["mcp", "--print-config", "nobody"]).expect(2);
    run(&["mcp", "--no-token"]).expect(2);
}

fn settings() {
    for (text, said) in [
        ("[mcp_servers.files]\n", "command"),
        ("[mcp_servers.Files]\ncommand = \"x\"\n", "lower case"),
        (
            "[mcp_servers.files]\ncommand = \"x\"\nurl = \"http://x\"\n",
            "not both",
        ),
        ("[mcp_servers.files]\ncomand = \"x\"\n", "comand"),
        (
            "[mcp_servers.files]\ncommand = \"x\"\nenv = { A = \"env:UKERNEL_TEST_UNSET\" }\n",
            "UKERNEL_TEST_UNSET is not set",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).expect("written");
        let ran = run(&["mcp", "--config", &file.to_string_lossy()]).expect(2);
        assert!(ran.stderr.contains(said), "{text}: {}", ran.stderr);
    }
}

/// docs/mcp.md has the reference between two marks.
fn reference() {
    let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = std::fs::read_to_string(project.join("docs/mcp.md")).expect("the document");
    let (_, rest) = document.split_once("<!-- reference -->\n").expect("a mark");
    let (kept, _) = rest
        .split_once("<!-- end of reference -->")
        .expect("a mark");
    let own = terraphim_mcp_server::reference();
    if kept.trim() != own.trim() {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp-reference.md");
        std::fs::write(&file, own).expect("written");
        panic!(
            "docs/mcp.md is behind: its reference should be {}",
            file.display()
        );
    }
}

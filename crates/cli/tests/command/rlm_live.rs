//! Questions while they are being answered: what a terminal shows, and what is killed under them.

use crate::desk::signal;
use crate::ground::{Behaviour, Ran, children_of, home, ukernel};
use crate::rlm::Talk;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

pub const BEHAVIOURS: &[Behaviour] = &[
    (
        "the_waiting_line_shows_seconds_and_tokens",
        the_waiting_line_shows_seconds_and_tokens,
    ),
    (
        "a_run_survives_the_loss_of_all_its_vms",
        a_run_survives_the_loss_of_all_its_vms,
    ),
];

/// A model that writes for some seconds before its reply is whole.
fn slow_model(listener: &TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    read_request(&mut stream)?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let frame = |delta: serde_json::Value, finish: Option<&str>| {
        let choice = serde_json::json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", serde_json::json!({"choices": [choice]}))
    };
    for piece in ["FINAL(", "slowly", ")"] {
        let piece = frame(serde_json::json!({ "content": piece }), None);
        stream.write_all(piece.as_bytes())?;
        thread::sleep(Duration::from_millis(1200));
    }
    let end = frame(serde_json::json!({}), Some("stop")) + "data: [DONE]\n\n";
    stream.write_all(end.as_bytes())
}

fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut heard = Vec::new();
    // Its body is JSON, which ends with the last brace.
    while !heard.ends_with(b"}") {
        let mut part = [0; 4096];
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        heard.extend_from_slice(&part[..count]);
    }
    Ok(())
}

fn the_waiting_line_shows_seconds_and_tokens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = thread::spawn(move || slow_model(&listener));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    let text = format!(
        "llm_provider = \"mine\"\nllm_model = \"any\"\n[providers.mine]\n\
         base_url = \"http://127.0.0.1:{port}/v1/\"\n"
    );
    std::fs::write(&config, text).expect("written");
    let config = config.to_string_lossy();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a terminal");
    grantpt(&master)
        .and_then(|()| unlockpt(&master))
        .expect("a terminal");
    let terminal = ioctl_tiocgptpeer(&master, flags).expect("its other end");
    let child = ukernel(&home(), &["rlm", "What?", "--config", &config])
        .stdout(Stdio::piped())
        .stderr(Stdio::from(terminal))
        .spawn()
        .expect("the command starts");
    let reading = thread::spawn(move || {
        let mut said = Vec::new();
        // It ends with an error when nobody has the other end any more.
        let _ = std::fs::File::from(master).read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let ran = Ran::from(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(ran.text(), "slowly\n");
    server.join().expect("no panic").expect("asked");
    let said = reading.join().expect("read");
    for waiting in ["the model is asked", " · 1 s", " · 2 s", "~3 tokens come"] {
        assert!(said.contains(waiting), "{waiting}: {said:?}");
    }
    let last = said.rsplit("\u{1b}[K").next().unwrap_or_default();
    assert!(!last.contains("tokens come"), "it is cleared: {last:?}");
}

fn a_run_survives_the_loss_of_all_its_vms() {
    let talk = Talk::new(&[]);
    let line = |reply: &str, delay: u64| {
        let line = serde_json::json!({
            "version": 1, "when": {}, "delay_ms": delay, "reply": {"text": reply}});
        format!("{line}\n")
    };
    let children = "```python\nx = 0\nrlm_query_batched(['part'] * 3, ['text'] * 3)\n```";
    let lines = line("```python\nx = 41\n```", 0)
        + &line(children, 0)
        + &line("late", 600_000).repeat(3)
        + &line("FINAL_VAR(x)", 0);
    std::fs::write(talk.path("talk.jsonl"), lines).expect("written");
    let (model, trace) = (talk.model(), talk.path("trace.jsonl"));
    let child = ukernel(
        &home(),
        &["rlm", "What?", "--model", &model, "--trace", &trace],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the command starts");
    let asked = || {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        text.matches("model_asked").count()
    };
    let began = Instant::now();
    while asked() < 5 && began.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(asked(), 5, "two steps, and one of each child");
    let vms = children_of(child.id());
    assert!(vms.len() >= 4, "{vms:?}");
    for vm in vms {
        signal(vm, Signal::KILL);
    }
    let ran = Ran::from(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(ran.text(), "41\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("VM lost"), "{}", ran.stderr);
    let text = std::fs::read_to_string(&trace).expect("a trajectory");
    let told = "the variables of step 1 are kept, those of step 2 are lost";
    assert!(text.contains(told), "{text}");
    assert_eq!(text.matches("\"node_ended\"").count(), 4, "{text}");
}

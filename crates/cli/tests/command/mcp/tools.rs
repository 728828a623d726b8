//! The tools, one after the other.

use super::client::{Client, state};
use super::http::{FIRST, Served};
use crate::desk::eventually;
use serde_json::{Value, json};
use std::path::Path;

/// A replay whose next line answers every request.
pub fn talk(folder: &Path, replies: &[&str]) -> String {
    let lines: Vec<String> = replies
        .iter()
        .map(|reply| json!({"version": 1, "when": {}, "reply": {"text": reply}}).to_string())
        .collect();
    let file = folder.join("talk.jsonl");
    std::fs::write(&file, lines.join("\n")).expect("written");
    format!("replay:{}", file.display())
}

/// All that a client needs to hold a result against its schema.
fn check(client: &mut Client, tool: &str, structured: &Value) {
    let listed = client.ask("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().expect("tools");
    let found = tools.iter().find(|one| one["name"] == tool).expect("it");
    let validator = jsonschema::validator_for(&found["outputSchema"]).expect("a schema");
    if let Err(error) = validator.validate(structured) {
        panic!("{tool}: {error}: {structured}");
    }
}

pub fn all_six() {
    let home = state();
    let replies = ["```python\nFINAL(len(context.split()))\n```"];
    let model = talk(home.path(), &replies);
    let mut client = Client::latest_with(home.path(), json!({}), &["--model", &model], &[]);
    let discovered = client.ask("server/discover", json!({}));
    assert!(
        discovered["result"]["capabilities"]["tools"].is_object(),
        "{discovered}"
    );
    let names: Vec<Value> = client.ask("tools/list", json!({}))["result"]["tools"]
        .as_array()
        .expect("tools")
        .iter()
        .map(|tool| tool["name"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "rlm_code",
            "rlm_bash",
            "rlm_query",
            "rlm_context",
            "rlm_snapshot",
            "rlm_status"
        ]
    );
    let code = client.done("rlm_code", json!({"code": "x = 41\nx + 1"}));
    assert_eq!(
        (&code["value"], &code["status"]),
        (&json!("42"), &json!("ok")),
        "{code}"
    );
    check(&mut client, "rlm_code", &code);
    let session = code["session"].as_str().expect("a handle").to_owned();
    let bash = json!({"command": "echo hello > /tmp/f; wc -c < /tmp/f", "session": session});
    let bash = client.done("rlm_bash", bash);
    assert_eq!(bash["stdout"], "6\n", "{bash}");
    check(&mut client, "rlm_bash", &bash);
    let kept = json!({"action": "create", "name": "before", "session": session});
    let kept = client.done("rlm_snapshot", kept);
    assert_eq!(kept["snapshots"][0]["name"], "before");
    check(&mut client, "rlm_snapshot", &kept);
    client.done("rlm_code", json!({"code": "x = 0", "session": session}));
    let back = json!({"action": "restore", "name": "before", "session": session});
    client.done("rlm_snapshot", back);
    let code = client.done("rlm_code", json!({"code": "x", "session": session}));
    assert_eq!(code["value"], "41");
    let set = json!({"action": "set", "name": "context", "value": "a b c", "session": session});
    client.done("rlm_context", set);
    let got = json!({"action": "get", "name": "context", "session": session, "offset": 2});
    let got = client.done("rlm_context", got);
    assert_eq!(
        (&got["value"], &got["characters"]),
        (&json!("b c"), &json!(5))
    );
    check(&mut client, "rlm_context", &got);
    let listed = client.done("rlm_context", json!({"action": "list", "session": session}));
    assert!(listed["variables"]["x"].is_string(), "{listed}");
    let asked = json!({"question": "How many words?", "session": session});
    let asked = client.done("rlm_query", asked);
    assert_eq!(asked["answer"], "3", "{asked}");
    check(&mut client, "rlm_query", &asked);
    let status = client.done("rlm_status", json!({}));
    assert_eq!(status["sessions"][0]["session"], session, "{status}");
    check(&mut client, "rlm_status", &status);
    client.done("rlm_status", json!({"session": session, "end": true}));
    let gone = client.call("rlm_code", json!({"code": "1", "session": session}));
    assert_eq!(
        gone["structuredContent"]["error"]["name"],
        "session_not_found"
    );
    assert_eq!(client.close(), Some(0));
}

pub fn own_session() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    let one = client.done("rlm_code", json!({"code": "x = 1"}));
    let other = client.call("rlm_code", json!({"code": "x"}));
    assert_eq!(other["isError"], true);
    let other = &other["structuredContent"];
    assert_eq!(other["exception"]["type"], "NameError", "{other}");
    assert_ne!(one["session"], other["session"]);
}

pub fn older_client() {
    let home = state();
    let mut client = Client::older(home.path(), json!({}));
    let one = client.done("rlm_code", json!({"code": "x = 1"}));
    let other = client.done("rlm_code", json!({"code": "x"}));
    assert_eq!(other["value"], "1");
    assert_eq!(one["session"], other["session"]);
}

pub fn images() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    let code = "import base64\n\
        png = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==')\n\
        display(png)\nprint('shown')";
    let result = client.call("rlm_code", json!({"code": code}));
    let image = &result["content"][1];
    assert_eq!(
        (&image["type"], &image["mimeType"]),
        (&json!("image"), &json!("image/png"))
    );
    assert!(
        image["data"]
            .as_str()
            .expect("data")
            .starts_with("iVBORw0KGgo")
    );
    assert_eq!(
        result["structuredContent"]["shown"],
        json!(["image/png"]),
        "{result}"
    );
    let session = &result["structuredContent"]["session"];
    let refused = client.call(
        "rlm_code",
        json!({"code": "display(b'GIF89a')", "session": session}),
    );
    assert_eq!(refused["isError"], true);
    let text = refused["content"][0]["text"].as_str().expect("text");
    assert!(text.contains("PNG or JPEG"), "{text}");
}

pub fn long_outputs() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    let code = "for n in range(30_000): print(f'{n:09}')";
    let done = client.done("rlm_code", json!({"code": code}));
    assert_eq!(done["stdout"].as_str().expect("text").len(), 64 << 10);
    let long = &done["outputs"][0];
    assert_eq!(
        (&long["stream"], &long["bytes"]),
        (&json!("stdout"), &json!(300_000))
    );
    let uri = long["uri"].as_str().expect("a resource");
    let listed = client.ask("resources/list", json!({}));
    let listed = listed["result"]["resources"].to_string();
    assert!(listed.contains(uri), "{listed}");
    let read = json!({"uri": format!("{uri}?offset=299990&length=100")});
    let read = client.ask("resources/read", read);
    assert_eq!(
        read["result"]["contents"][0]["text"], "000029999\n",
        "{read}"
    );
    for bad in [
        "ukernel://sessions/s_0/files/etc/passwd",
        "file:///etc/passwd",
        "",
    ] {
        let refused = client.ask("resources/read", json!({"uri": bad}));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    let session = done["session"].as_str().expect("a handle");
    let none = format!("ukernel://sessions/{session}/files/none");
    let refused = client.ask("resources/read", json!({"uri": none}));
    assert!(refused["error"].is_object(), "{refused}");
    let snapshots = format!("ukernel://sessions/{session}/snapshots");
    let read = client.ask("resources/read", json!({"uri": snapshots}));
    assert_eq!(read["result"]["contents"][0]["text"], "[]", "{read}");
}

pub fn failures() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    let failed = client.call("rlm_code", json!({"code": "print('before')\n1/0"}));
    assert_eq!(failed["isError"], true);
    let told = &failed["structuredContent"];
    assert_eq!(
        (&told["status"], &told["stdout"]),
        (&json!("failed"), &json!("before\n"))
    );
    assert_eq!(told["exception"]["type"], "ZeroDivisionError");
    let session = &told["session"];
    let failed = client.call("rlm_bash", json!({"command": "exit 7", "session": session}));
    assert_eq!(failed["structuredContent"]["exit_code"], 7, "{failed}");
    let late = json!({"code": "while True: pass", "session": session, "timeout_s": 1});
    let late = client.call("rlm_code", late);
    let error = &late["structuredContent"]["error"];
    assert_eq!(
        (&error["code"], &error["name"]),
        (&json!(1001), &json!("execution_timeout"))
    );
    assert_eq!(error["data"]["limit_ms"], 1000, "{late}");
    // The session stands as it was before.
    client.done("rlm_code", json!({"code": "1", "session": session}));
    let no_model = client.call("rlm_query", json!({"question": "?", "wait_s": 60}));
    let error = &no_model["structuredContent"]["error"];
    assert_eq!(error["name"], "no_model", "{no_model}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("UKERNEL_LLM_PROVIDER"), "{message}");
}

/// An MCP server in a few lines: what ours is told is also what another says.
pub const SERVER: &str = r#"
import json, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    method, params = asked["method"], asked.get("params") or {}
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "small", "version": "1"}}
    elif method == "tools/list":
        text = {"type": "object", "properties": {"text": {"type": "string", "description": "What to say."}}, "required": ["text"]}
        result = {"tools": [{"name": name, "description": f"Does {name}.", "inputSchema": text} for name in ("echo", "fail-loudly", "secret", "hang", "die", "flood")]}
    elif method == "tools/call":
        name, arguments = params["name"], params.get("arguments") or {}
        if name == "hang":
            continue
        if name == "die":
            sys.exit(1)
        text = "x" * (100 << 20) if name == "flood" else arguments.get("text", "")
        result = {"content": [{"type": "text", "text": text}], "isError": name == "fail-loudly"}
    else:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": method}}) + "\n")
        sys.stdout.flush()
        continue
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}) + "\n")
    sys.stdout.flush()
"#;

/// A configuration with that server.
pub fn configured(folder: &Path, more: &str) -> String {
    let script = folder.join("server.py");
    std::fs::write(&script, SERVER).expect("written");
    let file = folder.join("config.toml");
    let text = format!(
        "[mcp_servers.small]\ncommand = \"python3\"\nargs = [{:?}]\n\
         allow = [\"echo\", \"fail-loudly\", \"hang\", \"die\", \"flood\"]\n{more}",
        script.display().to_string()
    );
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

pub fn upstream() {
    let home = state();
    let config = configured(home.path(), "");
    let mut client = Client::latest_with(home.path(), json!({}), &["--config", &config], &[]);
    let code = "sum(len(tools.small.echo(text='ab')) for n in range(1000))";
    let done = client.done("rlm_code", json!({"code": code}));
    assert_eq!(done["value"], "2000", "{done}");
    let session = &done["session"];
    let code = "print(tools.search('echo')[0])\nprint(tools.small.echo('in order'))\n\
        try: tools.small.fail_loudly(text='no')\nexcept Exception as error: print(type(error).__name__, error)\n\
        try: tools.small.secret(text='x')\nexcept AttributeError as error: print('not there')";
    let done = client.done("rlm_code", json!({"code": code, "session": session}));
    assert_eq!(
        done["stdout"],
        "tools.small.echo(*, text: str): Does echo.\nin order\nToolError no\nnot there\n",
        "{done}"
    );
    let status = client.done("rlm_status", json!({}));
    let servers = json!([{"name": "small", "calls": 1002, "failed": 0}]);
    assert_eq!(status["servers"], servers, "{status}");
}

/// A server that is reached, with a token of the environment: here another one of ours.
pub fn upstream_over_http() {
    let (home, other) = (state(), state());
    let served = Served::with_tokens(other.path());
    let file = home.path().join("config.toml");
    let text = format!(
        "[mcp_servers.other]\nurl = \"http://{}/mcp\"\ntoken_variable = \"OTHER_TOKEN\"\n",
        served.address
    );
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let words = ["--config", file.as_str()];
    let mut client = Client::latest_with(home.path(), json!({}), &words, &[("OTHER_TOKEN", FIRST)]);
    let code = "tools.other.rlm_code(code='6 * 7')['value']";
    let done = client.done("rlm_code", json!({"code": code, "wait_s": 120}));
    assert_eq!(done["value"], "'42'", "{done}");
    let wrong = [("OTHER_TOKEN", "wrong")];
    let mut client = Client::latest_with(home.path(), json!({}), &words, &wrong);
    let refused = client.call("rlm_code", json!({"code": code, "wait_s": 120}));
    assert_eq!(refused["isError"], true, "{refused}");
    let text = refused["content"][0]["text"].as_str().expect("text");
    assert!(text.contains("other cannot be used"), "{text}");
}

/// A handle whose session has had its time.
pub fn expired() {
    let home = state();
    let life = [("UKERNEL_SESSION_TIMEOUT_MS", "2000")];
    let mut client = Client::latest_with(home.path(), json!({}), &[], &life);
    let made = client.done("rlm_code", json!({"code": "x = 1"}));
    let asked = json!({"code": "x", "session": made["session"]});
    let mut name = Value::Null;
    eventually("the session has had its time", || {
        let result = client.call("rlm_code", asked.clone());
        name = result["structuredContent"]["error"]["name"].clone();
        // A call that is under way then is cancelled; the next one hears why.
        result["isError"] == true && name != "cancelled"
    });
    let is_told = ["session_expired", "session_not_found"].map(Value::from);
    assert!(is_told.contains(&name), "{name}");
}

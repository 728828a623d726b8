//! What takes longer than its client waits.

use super::client::{Client, state};
use super::tools::talk;
use serde_json::{Value, json};

fn follows_tasks() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/tasks": {}}, "elicitation": {"form": {}}})
}

/// Asks until the task is no longer in this state.
fn until_not(client: &mut Client, task: &str, state: &str) -> Value {
    for _ in 0..600 {
        let got = client.ask("tasks/get", json!({"taskId": task}));
        assert!(got["error"].is_null(), "{got}");
        if got["result"]["status"] != state {
            return got["result"].clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{task} is still {state}");
}

const SLOW: &str = "import time\ntime.sleep(3)\nprint('late')";

pub fn goes_on() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    let first = client.done("rlm_code", json!({"code": SLOW, "wait_s": 1}));
    assert_eq!(first["status"], "working", "{first}");
    let task = first["task"].as_str().expect("a task");
    let told = client.done("rlm_status", json!({"task": task}));
    assert_eq!(
        (&told["status"], &told["current_step"]),
        (&json!("working"), &json!("runs"))
    );
    let told = client.done("rlm_status", json!({"task": task, "wait_s": 60}));
    assert_eq!(told["status"], "completed", "{told}");
    assert_eq!(told["result"]["stdout"], "late\n", "{told}");
    assert_eq!(told["result"]["session"], first["session"], "{told}");
    drop(client);
    let mut client = Client::latest(home.path(), follows_tasks());
    let made = client.call("rlm_code", json!({"code": SLOW, "wait_s": 1}));
    assert_eq!(
        (&made["resultType"], &made["status"]),
        (&json!("task"), &json!("working"))
    );
    let ended = until_not(
        &mut client,
        made["taskId"].as_str().expect("an id"),
        "working",
    );
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["result"]["structuredContent"]["stdout"], "late\n");
    for unknown in ["t_none", "", "../../x"] {
        let refused = client.ask("tasks/get", json!({"taskId": unknown}));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
}

pub fn cancelled() {
    let home = state();
    let mut client = Client::latest(home.path(), follows_tasks());
    let before = client.done("rlm_code", json!({"code": "x = 7"}));
    let session = &before["session"];
    let endless = json!({"code": "while True: pass", "session": session, "wait_s": 1});
    let made = client.call("rlm_code", endless);
    let task = made["taskId"].as_str().expect("an id").to_owned();
    let cancelled = client.ask("tasks/cancel", json!({"taskId": task}));
    assert!(cancelled["error"].is_null(), "{cancelled}");
    let ended = until_not(&mut client, &task, "working");
    assert_eq!(ended["status"], "cancelled", "{ended}");
    let after = client.done("rlm_code", json!({"code": "x", "session": session}));
    assert_eq!(after["value"], "7", "the session keeps its state");
    // A request that is cancelled before it is a task leaves nothing behind.
    let endless = json!({"code": "while True: pass", "session": session, "wait_s": 60});
    let id = client.begin(
        "tools/call",
        json!({"name": "rlm_code", "arguments": endless}),
    );
    std::thread::sleep(std::time::Duration::from_millis(500));
    client.send(&json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": id},
    }));
    let after = client.done("rlm_code", json!({"code": "x + 1", "session": session}));
    assert_eq!(after["value"], "8");
}

pub fn outlive() {
    let home = state();
    let replies = ["```python\nimport time\ntime.sleep(60)\n```", "FINAL(9)"];
    let model = talk(home.path(), &replies);
    let words = ["--model", &model];
    let mut client = Client::latest_with(home.path(), follows_tasks(), &words, &[]);
    let done = client.call(
        "rlm_code",
        json!({"code": "import time\ntime.sleep(1.5)\n6 * 7", "wait_s": 0}),
    );
    let finished = done["taskId"].as_str().expect("an id").to_owned();
    until_not(&mut client, &finished, "working");
    let running = client.call("rlm_code", json!({"code": "while True: pass", "wait_s": 0}));
    let running = running["taskId"].as_str().expect("an id").to_owned();
    let query = client.call("rlm_query", json!({"question": "?"}));
    let query = query["taskId"].as_str().expect("an id").to_owned();
    client.kill();
    let replies = ["FINAL(9)"];
    let model = talk(home.path(), &replies);
    let words = ["--model", &model];
    let mut client = Client::latest_with(home.path(), follows_tasks(), &words, &[]);
    let found = client.ask("tasks/get", json!({"taskId": finished}));
    let found = &found["result"];
    assert_eq!(
        found["result"]["structuredContent"]["value"], "42",
        "{found}"
    );
    let lost = client.ask("tasks/get", json!({"taskId": running}));
    let error = &lost["result"]["error"];
    assert_eq!(lost["result"]["status"], "failed", "{lost}");
    assert_eq!(
        error["data"],
        json!({"lost": true, "can_resume": false}),
        "{lost}"
    );
    let told = client.done("rlm_status", json!({"task": query}));
    assert_eq!(
        (&told["status"], &told["can_resume"]),
        (&json!("lost"), &json!(true)),
        "{told}"
    );
    let told = client.done(
        "rlm_status",
        json!({"task": query, "resume": true, "wait_s": 60}),
    );
    assert_eq!(told["result"]["answer"], "9", "{told}");
    let again = client.call("rlm_status", json!({"task": query, "resume": true}));
    assert_eq!(again["isError"], true, "it has ended: {again}");
}

/// A thesaurus that knows two words, and a configuration with it.
fn thesaurus(folder: &std::path::Path) -> String {
    let file = folder.join("thesaurus.json");
    let text = json!({"name": "test", "data": {
        "print": {"id": 1, "nterm": "print", "url": null},
        "invoice": {"id": 2, "nterm": "invoice", "url": null},
    }});
    std::fs::write(&file, text.to_string()).expect("written");
    let config = folder.join("kg.toml");
    let text = format!(
        "kg_thesaurus = {:?}\nkg_strictness = \"strict\"\nkg_retry_limit = 0\n",
        file.display().to_string()
    );
    std::fs::write(&config, text).expect("written");
    config.display().to_string()
}

pub fn terms() {
    let home = state();
    let config = thesaurus(home.path());
    let words = ["--config", config.as_str()];
    let mut client = Client::latest_with(home.path(), follows_tasks(), &words, &[]);
    let code = "print('plutonium')";
    let params = json!({"name": "rlm_code", "arguments": {"code": code, "wait_s": 60}});
    let asked = client.ask("tools/call", params.clone());
    let asked = &asked["result"];
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let form = &asked["inputRequests"]["terms"]["params"]["requestedSchema"];
    assert_eq!(
        form["properties"]["term_1"]["title"], "plutonium",
        "{asked}"
    );
    let answer = |action: &str, choice: &str, state: &Value| {
        let mut params = params.clone();
        params["requestState"] = state.clone();
        params["inputResponses"] =
            json!({"terms": {"action": action, "content": {"term_1": choice}}});
        params
    };
    let state_given = &asked["requestState"];
    let forged = json!(format!("{}x", state_given.as_str().expect("a state")));
    let refused = client.ask("tools/call", answer("accept", "approve", &forged));
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    let undecided = client.ask("tools/call", answer("cancel", "", state_given));
    let error = &undecided["result"]["structuredContent"]["error"];
    assert_eq!(error["name"], "kg_escalation_required", "{undecided}");
    let done = client.ask("tools/call", answer("accept", "approve", state_given));
    let done = &done["result"]["structuredContent"];
    assert_eq!(done["stdout"], "plutonium\n", "{done}");
    // In a task the question waits in it.
    let other = "print('uranium')";
    // The question may be there before the server looks for the first time: then it comes at once.
    let task = (0..100).find_map(|_| {
        let asked = json!({"code": other, "wait_s": 0, "session": done["session"]});
        let made = client.call("rlm_code", asked);
        made["taskId"].as_str().map(str::to_owned)
    });
    let task = task.expect("a task");
    let asked = until_not(&mut client, &task, "working");
    assert_eq!(asked["status"], "input_required", "{asked}");
    assert!(asked["inputRequests"]["terms"].is_object(), "{asked}");
    let answered = json!({"terms": {"action": "accept", "content": {"term_1": "approve"}}});
    let update = json!({"taskId": task, "inputResponses": answered});
    for _ in 0..2 {
        let taken = client.ask("tasks/update", update.clone());
        assert!(taken["error"].is_null(), "{taken}");
    }
    let ended = until_not(&mut client, &task, "working");
    assert_eq!(
        ended["result"]["structuredContent"]["stdout"], "uranium\n",
        "{ended}"
    );
    // One that cannot ask a person gets the error with the terms.
    let mut client = Client::latest_with(home.path(), json!({}), &words, &[]);
    let refused = client.call("rlm_code", json!({"code": code}));
    let error = &refused["structuredContent"]["error"];
    assert_eq!(error["name"], "kg_escalation_required", "{refused}");
    assert_eq!(
        error["data"]["unknown_terms"],
        json!(["plutonium"]),
        "{refused}"
    );
}

/// A request with a progress token hears of its progress before its answer, never backwards.
pub fn progress() {
    let home = state();
    let replies = ["```python\nx = 1\n```", "```python\nx = 2\n```", "FINAL(3)"];
    let model = talk(home.path(), &replies);
    let mut client = Client::latest_with(home.path(), json!({}), &["--model", &model], &[]);
    let params = json!({
        "name": "rlm_query",
        "arguments": {"question": "?", "wait_s": 60},
        "_meta": {
            "progressToken": "p",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
    });
    let answer = client.ask("tools/call", params);
    assert_eq!(
        answer["result"]["structuredContent"]["answer"], "3",
        "{answer}"
    );
    let heard: Vec<&Value> = client
        .notices
        .iter()
        .filter(|notice| notice["params"]["progressToken"] == "p")
        .collect();
    assert!(heard.len() >= 3, "{heard:?}");
    let parts: Vec<f64> = heard
        .iter()
        .map(|notice| notice["params"]["progress"].as_f64().expect("a number"))
        .collect();
    assert!(parts.is_sorted_by(|one, next| one < next), "{parts:?}");
    assert!(heard.iter().any(|notice| {
        let message = notice["params"]["message"].as_str();
        message.is_some_and(|message| message.starts_with("step "))
    }));
    let run = answer["result"]["structuredContent"]["run"]
        .as_str()
        .expect("a run");
    let trajectory = home.path().join(format!("trajectories/{run}.jsonl"));
    let text = std::fs::read_to_string(trajectory).expect("written");
    assert!(
        text.contains("0af7651916cd43dd8448eb211c80319c"),
        "the caller's trace is noted"
    );
}

"""`ukernel mcp` through a client that nobody here wrote (PyPI's `mcp`), and code in its sessions
through a server that nobody here wrote (npm's `@modelcontextprotocol/server-everything`).

    clients.py PROGRAM HOME [EVERYTHING...]

PROGRAM is the command, HOME its state, EVERYTHING the command line of that server.
"""

import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

import httpx2
from mcp import Client, types
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

PATIENCE_S = 120


def check(is_so, what):
    if not is_so:
        raise SystemExit(f"FAILED: {what}")


def done(result):
    check(not result.is_error, f"a tool failed: {result.content}")
    return result.structured_content


async def all_six(client, name):
    listed = await client.list_tools()
    names = [tool.name for tool in listed.tools]
    check(len(names) == 6, f"{name}: the tools are {names}")
    code = done(await client.call_tool("rlm_code", {"code": "x = 40\nx + 2"}))
    check(code["value"] == "42", f"{name}: rlm_code gives {code}")
    session = code["session"]
    bash = done(await client.call_tool("rlm_bash", {"command": "echo $((6 * 7))", "session": session}))
    check(bash["stdout"] == "42\n", f"{name}: rlm_bash gives {bash}")
    snapshot = {"action": "create", "name": "one", "session": session}
    done(await client.call_tool("rlm_snapshot", snapshot))
    done(await client.call_tool("rlm_code", {"code": "x = 0", "session": session}))
    done(await client.call_tool("rlm_snapshot", {**snapshot, "action": "restore"}))
    got = done(await client.call_tool("rlm_context", {"action": "get", "name": "x", "session": session}))
    check(got["value"] == "40", f"{name}: after the restore x is {got}")
    set_it = {"action": "set", "name": "context", "value": "a b c", "session": session}
    done(await client.call_tool("rlm_context", set_it))
    asked = {"question": "How many words?", "session": session, "wait_s": 60}
    answer = done(await client.call_tool("rlm_query", asked))
    check(answer.get("answer") == "3", f"{name}: rlm_query gives {answer}")
    status = done(await client.call_tool("rlm_status", {}))
    check(any(one["session"] == session for one in status["sessions"]), f"{name}: {status}")
    long = done(await client.call_tool("rlm_code", {"code": "print('y' * 100_000)", "session": session}))
    read = await client.read_resource(long["outputs"][0]["uri"] + "?offset=99999")
    check(read.contents[0].text == "y\n", f"{name}: a piece of the output is {read}")
    print(f"ok: {name}: all six tools, a resource")


async def sampling(program, home):
    """An older client's own model answers where none is configured."""

    async def model(_context, params):
        check(params.messages, "a sampling request has messages")
        text = types.TextContent(type="text", text="FINAL(from the client)")
        return types.CreateMessageResult(role="assistant", content=text, model="theirs", stop_reason="endTurn")

    server = StdioServerParameters(command=program, args=["mcp"], env={"UKERNEL_HOME": home})
    async with Client(server, mode="legacy", sampling_callback=model) as client:
        answer = done(await client.call_tool("rlm_query", {"question": "?", "wait_s": 60}))
        check(answer.get("answer") == "from the client", f"sampling gives {answer}")
    print("ok: an older client's own model answers")


async def approval(program, home, folder):
    """A person at the client approves a term."""
    thesaurus = folder / "thesaurus.json"
    entry = {"print": {"id": 1, "nterm": "print", "url": None}}
    thesaurus.write_text(json.dumps({"name": "test", "data": entry}))
    config = folder / "terms.toml"
    settings = {"kg_thesaurus": str(thesaurus), "kg_strictness": "strict", "kg_retry_limit": 0}
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    asked = []

    async def person(_context, params):
        asked.append(params)
        choices = {name: "approve" for name in params.requested_schema["properties"]}
        return types.ElicitResult(action="accept", content=choices)

    server = StdioServerParameters(command=program, args=["mcp", "--config", str(config)], env={"UKERNEL_HOME": home})
    async with Client(server, elicitation_callback=person) as client:
        result = done(await client.call_tool("rlm_code", {"code": "print('plutonium')"}))
        check(result["stdout"] == "plutonium\n", f"after the approval: {result}")
    check(len(asked) == 1, f"the person was asked {len(asked)} times")
    print("ok: a person approves a term, and the code runs")


async def everything(program, home, folder, command):
    config = folder / "everything.toml"
    config.write_text(f"[mcp_servers.everything]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(command[1:])}\n")
    server = StdioServerParameters(command=program, args=["mcp", "--config", str(config)], env={"UKERNEL_HOME": home})
    async with Client(server) as client:
        code = (
            "print(tools.everything.echo('hello'))\n"
            "print(sum('x' in tools.everything.echo(f'x{n}') for n in range(1000)))\n"
            "print(len(tools.search('')))"
        )
        result = done(await client.call_tool("rlm_code", {"code": code, "wait_s": 110}))
        echoed, thousand, found = result["stdout"].splitlines()
        check("hello" in echoed and thousand == "1000" and int(found) > 3, f"everything gives {result}")
    print("ok: code calls server-everything 1,000 times in one tool call")


@contextlib.contextmanager
def listening(program, home, words):
    command = [program, "mcp", "--http", "127.0.0.1:0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"UKERNEL_HOME": home, "PATH": "/usr/bin:/bin"})
    try:
        for line in process.stderr:
            if "http://" in line:
                break
        yield line.split()[4].rstrip(";")
    finally:
        process.terminate()
        check(process.wait(60) == 0, "the server ends well")


async def main():
    program, home, *command = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        replay = folder / "replies.jsonl"
        reply = {"version": 1, "when": {}, "reply": {"text": "```python\nFINAL(len(context.split()))\n```"}}
        replay.write_text((json.dumps(reply) + "\n") * 4)
        model = ["--model", f"replay:{replay}"]
        for mode in ("auto", "legacy"):
            server = StdioServerParameters(command=program, args=["mcp", *model], env={"UKERNEL_HOME": home})
            async with Client(server, mode=mode) as client:
                await all_six(client, f"stdio, {mode}, {client.protocol_version}")
            tokens = folder / "tokens"
            tokens.write_text("0123456789abcdef" * 3)
            with listening(program, home, [*model, "--token-file", str(tokens)]) as url:
                headers = {"Authorization": f"Bearer {tokens.read_text()}"}
                async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
                    async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
                        await all_six(client, f"HTTP, {mode}, {client.protocol_version}")
        await sampling(program, home)
        await approval(program, home, folder)
        if command:
            await everything(program, home, folder, command)
        else:
            print("SKIPPED: server-everything: no npm here")


asyncio.run(asyncio.wait_for(main(), 600))

"""What a model's program finds at the prompt: its context, sub-queries, and the way to answer.

Both families of names work: the specification's (`query_llm`, `rlm_query`, `my_answer`) and those of
the paper on Recursive Language Models (`llm_query`, `FINAL`, `answer`). All of them ask the host;
nothing here decides anything: budgets, depth and the session's token are out of a program's reach.
"""

import codecs
import collections
import json
import sys
import threading

import host_tools
import program
import ukernel

# Bytes of context asked for at once.
PIECE_BYTES = 4 << 20

# What is shown of a text to describe it.
FIRST_LINES = 3
LINE_CHARS = 160

# Variables listed by SHOW_VARS.
MAX_VARIABLES = 200

# Longest name of a model, in characters.
MODEL_CHARS = 100


class FailedQuery(str):
    """Stands in the place of an answer that there is not; its text says why."""


class CutReply(str):
    """A reply that is not whole; `why` says what cut it off."""

    why = ""


def ask(name, **fields):
    """Asks the host, in JSON. Lone surrogates cannot leave the VM and become question marks; NaN and
    infinity are no JSON."""
    payload = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return json.loads(ukernel.call(name, payload))


def query_llm(prompt, context=None, *, schema=None):
    """Asks a model and gives its reply. It sees this prompt (and `context`, appended) and nothing else.
    With a JSON schema the reply is the value it describes."""
    return result_of(ask("query_llm", prompts=[text_of(prompt, context)], schema=schema)["results"][0])


def query_llm_batched(prompts, *, schema=None):
    """Asks for each prompt, side by side, and gives the replies in their order. One that failed is a
    FailedQuery, a text that says why."""
    prompts = [text_of(prompt, None) for prompt in prompts]
    if not prompts:
        return []
    return [value_of(item) for item in ask("query_llm", prompts=prompts, schema=schema)["results"]]


def rlm_query(prompt, context=None, *, schema=None, budget_tokens=None):
    """Has a model of its own, with a prompt like this one in a VM of its own, answer over `context`."""
    queries = [{"prompt": text_of(prompt, None), "context": context_of(context)}]
    return result_of(ask("rlm_query", queries=queries, schema=schema, budget_tokens=budget_tokens)["results"][0])


def rlm_query_batched(prompts, contexts=None, *, schema=None, budget_tokens=None):
    """As rlm_query for each prompt, side by side; `contexts` are as many."""
    prompts = list(prompts)
    contexts = [None] * len(prompts) if contexts is None else list(contexts)
    if len(contexts) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts and {len(contexts)} contexts")
    if not prompts:
        return []
    queries = [
        {"prompt": text_of(prompt, None), "context": context_of(context)} for prompt, context in zip(prompts, contexts)
    ]
    answer = ask("rlm_query", queries=queries, schema=schema, budget_tokens=budget_tokens)
    return [value_of(item) for item in answer["results"]]


def llm_query(prompt, model=None, *, context=None, schema=None):
    """query_llm, called as in other implementations of RLMs. The host chooses the model."""
    check_model(model)
    return query_llm(prompt, context, schema=schema)


def llm_query_batched(prompts, model=None, *, schema=None):
    """query_llm_batched, called as in other implementations of RLMs. The host chooses the model."""
    check_model(model)
    return query_llm_batched(prompts, schema=schema)


def check_model(model):
    """Says that a model is not chosen here. What is no name is a text that would be lost."""
    if model is None:
        return
    if not isinstance(model, str) or len(model) > MODEL_CHARS or len(model.split()) != 1:
        raise TypeError(
            "the second argument of llm_query is a model's name: put the text into the prompt, or call "
            "query_llm(prompt, context)"
        )
    print(f"note: the model {model!r} was not asked; all queries go to the model of this run", file=sys.stderr)


UNSET = object()


def FINAL(value=UNSET):
    """Gives the final answer; without a value, that is `my_answer`. The last one given counts."""
    if value is UNSET:
        value = program.main.__dict__.get("my_answer")
        if value is None:
            raise ValueError("FINAL() without a value gives my_answer, which is not set")
    if isinstance(value, FailedQuery):
        raise ValueError("a FailedQuery is no answer: its text says why the query failed")
    if isinstance(value, CutReply):
        raise ValueError(f"a reply that was {value.why} is not whole; if it is the answer all the same, give str() of it")
    ask("final", **answer_of(value))


def FINAL_VAR(variable):
    """Gives the value of a variable, named by a string, as the final answer."""
    names = program.main.__dict__
    if isinstance(variable, str) and variable in names:
        FINAL(names[variable])
    elif isinstance(variable, str) and variable.isidentifier():
        raise NameError(f"there is no variable {variable!r}: SHOW_VARS() lists those there are")
    else:
        FINAL(variable)


def SHOW_VARS():
    """The variables there are, with their types and sizes."""
    found = {}
    for name, value in program.main.__dict__.items():
        if not is_variable(name, value):
            continue
        if len(found) == MAX_VARIABLES:
            break
        found[name] = kind_of(value)
    return found


def bind_tools(names):
    """Binds what the host offers beside the functions that are always there."""
    servers = [name.removeprefix("mcp.") for name in names if name.startswith("mcp.")]
    if servers:
        FUNCTIONS["tools"] = host_tools.Tools(servers)


FUNCTIONS = {
    "query_llm": query_llm,
    "query_llm_batched": query_llm_batched,
    "llm_query": llm_query,
    "llm_query_batched": llm_query_batched,
    "rlm_query": rlm_query,
    "rlm_query_batched": rlm_query_batched,
    "FINAL": FINAL,
    "FINAL_VAR": FINAL_VAR,
    "SHOW_VARS": SHOW_VARS,
    "FailedQuery": FailedQuery,
    "CutReply": CutReply,
}

# What the variable `context` is to be. UNSET: whatever it is.
original = UNSET


def begin(name=None):
    """Loads what the host has as context, if it has any, and tells the host what there is.

    Called by the host before a model's first program. `name` is shown for a single text.
    """
    global original, kept
    note_streams()
    begun = ask("contexts")
    bind_tools(begun.get("tools", ()))
    sources = begun["sources"]
    if sources:
        texts = {source["name"]: load(source, number) for number, source in enumerate(sources)}
        original = next(iter(texts.values())) if len(texts) == 1 else texts
    elif "context" in program.main.__dict__:
        original = program.main.__dict__["context"]
    restore()
    # What was kept for an earlier question is no answer to this one.
    program.main.__dict__["my_answer"] = kept = None
    if restore not in program.before:
        program.before += [note_streams, restore]
        program.after.append(give_ready_answer)
        program.always += [restore_streams, note_cut_replies, keep_my_answer]
        threading.Thread.start = start_thread
    ask("describe", **describe(original))


def put(name):
    """Sets a variable to the text the host has for it."""
    global original
    pieces = []
    offset = 0
    while piece := ukernel.call("value", json.dumps({"offset": offset, "length": PIECE_BYTES}).encode()):
        offset += len(piece)
        pieces.append(piece)
    text = b"".join(pieces).decode("utf-8", "replace")
    program.main.__dict__[name] = text
    if name == "context":
        original = text


def get(name):
    """Gives the host a variable, as text. Whether there is one."""
    value = program.main.__dict__.get(name)
    if value is None:
        return False
    text = value if isinstance(value, str) else answer_of(value)["text"]
    data = text.encode("utf-8", "replace")
    for start in range(0, len(data), PIECE_BYTES):
        ukernel.call("variable", data[start : start + PIECE_BYTES])
    return True


def give_variables():
    """Gives the host what SHOW_VARS lists, as JSON."""
    ukernel.call("variable", json.dumps(SHOW_VARS(), ensure_ascii=False).encode("utf-8", "replace"))


def load(source, number):
    """One source: a text, or bytes if the host says it is binary."""
    decoder = None if source["binary"] else codecs.getincrementaldecoder("utf-8")("replace")
    pieces = []
    offset = 0
    while offset < source["bytes"]:
        request = json.dumps({"source": number, "offset": offset, "length": PIECE_BYTES})
        piece = ukernel.call("context", request.encode())
        if not piece:
            break
        offset += len(piece)
        pieces.append(decoder.decode(piece) if decoder else piece)
    if decoder is None:
        return b"".join(pieces)
    pieces.append(decoder.decode(b"", True))
    return "".join(pieces)


def describe(value):
    """The shape of a context, for a prompt: never more of it than a few first lines."""
    if value is UNSET:
        return {"type": "none", "parts": []}
    parts = value.items() if isinstance(value, dict) else [("context", value)]
    return {"type": type(value).__name__, "parts": [describe_part(str(name), part) for name, part in parts]}


def describe_part(name, part):
    if isinstance(part, bytes):
        return {"name": name, "type": "bytes", "length": len(part), "first": [repr(part[:32])]}
    if not isinstance(part, str):
        return {"name": name, "type": kind_of(part), "length": 0, "first": []}
    first = part[: FIRST_LINES * LINE_CHARS * 4].split("\n")[:FIRST_LINES]
    return {
        "name": name,
        "type": "str",
        "length": len(part),
        "lines": part.count("\n") + (1 if part and not part.endswith("\n") else 0),
        "replaced": part.count("\ufffd"),
        "first": [line[:LINE_CHARS] + ("..." if len(line) > LINE_CHARS else "") for line in first],
    }


def restore():
    """Puts back what a program has overwritten, and says so."""
    names = program.main.__dict__
    rebound = [name for name, function in FUNCTIONS.items() if names.get(name, function) is not function]
    names.update(FUNCTIONS)
    if original is not UNSET:
        if names.get("context", original) is not original:
            rebound.append("context")
        names["context"] = original
    if not isinstance(names.get("answer"), dict):
        if "answer" in names:
            rebound.append("answer")
        names["answer"] = {"content": "", "ready": False}
    if rebound:
        print(f"note: {', '.join(rebound)} had been overwritten and is restored", file=sys.stderr)


# The standard streams as the program that runs found them.
streams = (sys.stdout, sys.stderr)


def note_streams():
    """Notes the standard streams, so that they can be put back."""
    global streams
    streams = (sys.stdout, sys.stderr)


def restore_streams():
    """Puts back the standard streams that a program has replaced, and says so: else nothing that it and
    those after it print is heard. Those it has closed are replaced elsewhere."""
    names = []
    for name, noted in zip(("stdout", "stderr"), streams):
        if getattr(sys, name, None) is not noted and not noted.closed:
            setattr(sys, name, noted)
            names.append(f"sys.{name}")
    if names:
        print(f"note: {', '.join(names)} had been overwritten and is restored", file=sys.stderr)


# What the host was told of `my_answer` last.
kept = None


def keep_my_answer():
    """Tells the host the best answer so far, which it needs when there is no time to ask for it."""
    global kept
    value = program.main.__dict__.get("my_answer")
    if value is None:
        return
    try:
        answer = answer_of(value)
        if answer != kept:
            ask("keep", **answer)
            kept = answer
    except Exception as error:  # noqa: BLE001 - whatever printing the value raises, or the host says
        print(f"note: my_answer is not kept: {error}", file=sys.stderr)


# Why replies that the program got are not whole, and how many that is of each.
cut_replies = collections.Counter()


def note_cut_replies():
    """Says which replies that the program got are not whole: once, so that many do not hide all else."""
    for why, count in cut_replies.items():
        replies = "1 reply was" if count == 1 else f"{count} replies were"
        print(f"note: {replies} {why} (a CutReply in code): ask for less, or about smaller pieces", file=sys.stderr)
    cut_replies.clear()


plain_start = threading.Thread.start


def start_thread(thread):
    """Thread.start, whose failure says what to do instead."""
    try:
        plain_start(thread)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise RuntimeError(f"{error}: use query_llm_batched(prompts) to ask for many things side by side") from None


def has_variable(name):
    """Whether this is the name of something that a program has set."""
    names = program.main.__dict__
    return name in names and is_variable(name, names[name])


def is_variable(name, value):
    """Whether a name of the REPL is of interest: not the scaffold's, nor a module."""
    return not (name.startswith("_") or name in FUNCTIONS or isinstance(value, type(sys)))


def give_ready_answer():
    """`answer["ready"] = True` is another way to give the final answer, and so is 1."""
    answer = program.main.__dict__.get("answer")
    ready = answer.get("ready") if isinstance(answer, dict) else None
    if isinstance(ready, int) and ready == 1:
        answer["ready"] = False
        FINAL(answer.get("content"))


def answer_of(value):
    """A value as the answer's text, and as JSON where it is that. NaN and infinity are not. None is `null`."""
    try:
        json.dumps(value, allow_nan=False)
        plain = value
    except (TypeError, ValueError, RecursionError):
        plain = None
    if isinstance(value, str):
        text = value
    elif value is None or isinstance(value, (dict, list, tuple)) and plain is not None:
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return {"text": text, "value": plain}


def text_of(prompt, context):
    prompt = prompt if isinstance(prompt, str) else str(prompt)
    return prompt if context is None else f"{prompt}\n\n{context_of(context)}"


def context_of(context):
    if context is None or isinstance(context, str):
        return context
    if isinstance(context, bytes):
        return context.decode("utf-8", "replace")
    try:
        return json.dumps(context, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(context)


def result_of(item):
    """The value of an item, or its failure as an exception."""
    if "error" in item:
        raise ukernel.HostError(item["error"])
    return value_of(item)


def value_of(item):
    """The value of an item, or its failure as a value."""
    if "error" in item:
        return FailedQuery(f"[query failed: {item['error']}]")
    if "cut" not in item:
        return item["value"]
    reply = CutReply(item["value"])
    reply.why = item["cut"]
    cut_replies[reply.why] += 1
    return reply


def kind_of(value):
    try:
        return f"{type(value).__name__} of length {len(value)}"
    except TypeError:
        return type(value).__name__

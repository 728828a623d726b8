"""Tools of other MCP servers: `tools.SERVER.function(...)`. The host holds the connections, counts and
logs every call, and decides what may be called; here is only how it looks to a program."""

import inspect
import json
import keyword

import ukernel

# Answers found by tools.search.
MAX_FOUND = 20

# What a parameter's JSON type is in Python.
TYPES = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}


class ToolError(Exception):
    """A tool said that it failed; the text is the tool's."""


class Tool:
    """One tool. Arguments go by name, or in the order of the signature."""

    def __init__(self, server, described):
        self._server = server
        self._name = described["name"]
        self._schema = described.get("inputSchema") or {}
        self.__name__ = described["name"]
        self.__signature__ = signature(self._schema)
        self.__doc__ = documentation(described, self._schema)

    def __call__(self, *args, **kwargs):
        names = list(self._schema.get("properties") or {})
        if len(args) > len(names):
            raise TypeError(f"{self._name} takes {len(names)} arguments: {', '.join(names)}")
        for name, value in zip(names, args):
            if name in kwargs:
                raise TypeError(f"{self._name} got two values for {name}")
            kwargs[name] = value
        payload = json.dumps({"tool": self._name, "arguments": kwargs}, ensure_ascii=False, allow_nan=False)
        answer = json.loads(ukernel.call(f"mcp.{self._server}", payload.encode("utf-8", "replace")))
        return value_of(answer)

    def __repr__(self):
        return f"tools.{self._server}.{plain(self._name)}{self.__signature__}"


class Server:
    """The tools of one server, fetched when they are first looked at."""

    def __init__(self, name):
        self._name = name
        self._tools = None

    def _all(self):
        if self._tools is None:
            listed = json.loads(ukernel.call(f"mcp.{self._name}", b'{"list": true}'))
            self._tools = {one["name"]: Tool(self._name, one) for one in listed["tools"]}
        return self._tools

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = self._all().get(name)
        if found is None:
            # What is no name in Python has `_` for what it may not have.
            found = next((tool for key, tool in self._all().items() if plain(key) == name), None)
        if found is None:
            raise AttributeError(f"{self._name} has no tool {name!r}; it has {', '.join(self._all())}")
        return found

    def __getitem__(self, name):
        return self._all()[name]

    def __dir__(self):
        return [plain(name) for name in self._all()]

    def __repr__(self):
        return "\n".join(repr(tool) for tool in self._all().values())


class Tools:
    """Tools of other MCP servers. `tools.search("words")` finds some, `help(tools.SERVER.function)`
    describes one, `tools.SERVER.function(...)` calls it."""

    def __init__(self, servers):
        self._servers = {name: Server(name) for name in servers}

    def __getattr__(self, name):
        if name in self.__dict__.get("_servers", {}):
            return self._servers[name]
        raise AttributeError(f"there is no server {name!r}; there are {', '.join(self._servers)}")

    def search(self, words):
        """The tools that speak of most of the words, best first: their signatures and what they do."""
        words = words.lower().split()
        scored = []
        for server in self._servers.values():
            for tool in server._all().values():
                text = f"{tool!r} {tool.__doc__}".lower()
                score = sum(word in text for word in words) + sum(word in tool._name.lower() for word in words)
                if score or not words:
                    scored.append((-score, repr(tool), (tool.__doc__ or "").split("\n")[0]))
        scored.sort()
        return [f"{shown}: {does}" for _, shown, does in scored[:MAX_FOUND]]

    def __dir__(self):
        return [*self._servers, "search"]

    def __repr__(self):
        return f"tools of the MCP servers {', '.join(self._servers)}; tools.search(\"words\") finds some"


def plain(name):
    """A name as Python has them."""
    made = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return f"_{made}" if made[:1].isdigit() or keyword.iskeyword(made) else made


def signature(schema):
    required = set(schema.get("required") or [])
    parameters = []
    for name, described in (schema.get("properties") or {}).items():
        if not name.isidentifier() or keyword.iskeyword(name):
            continue
        kind = described.get("type") if isinstance(described, dict) else None
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if name in required else None,
                annotation=TYPES.get(kind, inspect.Parameter.empty) if isinstance(kind, str) else inspect.Parameter.empty,
            )
        )
    return inspect.Signature(parameters)


def documentation(described, schema):
    lines = [described.get("description") or described.get("title") or ""]
    for name, parameter in (schema.get("properties") or {}).items():
        text = parameter.get("description") if isinstance(parameter, dict) else None
        if text:
            lines.append(f"    {name}: {text}")
    return "\n".join(lines)


def value_of(answer):
    """What a call gives: its structured content, else its text, else its content as it is."""
    content = answer.get("content") or []
    texts = [block["text"] for block in content if block.get("type") == "text"]
    if answer.get("isError"):
        raise ToolError("\n".join(texts) or "the tool failed")
    if answer.get("structuredContent") is not None:
        return answer["structuredContent"]
    if len(texts) == len(content):
        return "\n".join(texts)
    return content

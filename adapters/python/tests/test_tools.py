"""Tools of other MCP servers as a program sees them, with a host that a test plays."""

import json
import pathlib
import sys
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

# The module that asks the kernel; another test may have put its own there.
fake = sys.modules.setdefault("ukernel", types.ModuleType("ukernel"))

import host_tools  # noqa: E402

WEATHER = {
    "name": "get-weather",
    "description": "Says how the weather is.\nMore.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "days": {"type": "integer"},
            "x-y": {"type": "string"},
            "odd": {"type": ["string", "null"]},
            "bare": True,
        },
        "required": ["city"],
    },
}


class Host:
    def __init__(self, answer=None, tools=(WEATHER,)):
        self.answer = answer or {"content": []}
        self.tools = list(tools)
        self.calls = []

    def __call__(self, name, payload):
        fields = json.loads(payload)
        self.calls.append((name, fields))
        return json.dumps({"tools": self.tools} if fields.get("list") else self.answer).encode()


class Tools(unittest.TestCase):
    def tools(self, **host):
        host = Host(**host)
        host_tools.ukernel.call = host
        return host_tools.Tools(["weather"]), host

    def test_a_call_names_its_arguments(self):
        tools, host = self.tools(answer={"content": [], "structuredContent": {"sun": True}})
        self.assertEqual(tools.weather.get_weather("Bern", days=2), {"sun": True})
        call = ("mcp.weather", {"tool": "get-weather", "arguments": {"days": 2, "city": "Bern"}})
        self.assertEqual(host.calls[-1], call)
        self.assertEqual(tools.weather["get-weather"](**{"x-y": "z"}), {"sun": True})
        self.assertEqual(sum(fields.get("list", False) for _, fields in host.calls), 1, "listed once")

    def test_what_a_call_gives(self):
        text = {"type": "text", "text": "a"}
        for answer, value in [
            ({"content": [text, text]}, "a\na"),
            ({"content": []}, ""),
            ({"content": [text, {"type": "image", "data": ""}]}, [text, {"type": "image", "data": ""}]),
            ({"structuredContent": [1]}, [1]),
        ]:
            tools, _ = self.tools(answer=answer)
            self.assertEqual(tools.weather.get_weather(city="x"), value)
        tools, _ = self.tools(answer={"content": [text], "isError": True})
        with self.assertRaisesRegex(host_tools.ToolError, "^a$"):
            tools.weather.get_weather(city="x")

    def test_wrong_calls_are_named(self):
        tools, _ = self.tools()
        with self.assertRaisesRegex(AttributeError, "get-weather"):
            tools.weather.get_wether
        with self.assertRaisesRegex(AttributeError, "weather"):
            tools.other
        with self.assertRaisesRegex(TypeError, "two values"):
            tools.weather.get_weather("x", city="y")
        with self.assertRaisesRegex(TypeError, "takes 5"):
            tools.weather.get_weather(*range(9))

    def test_a_tool_describes_itself(self):
        tools, _ = self.tools()
        tool = tools.weather.get_weather
        shown = "tools.weather.get_weather(*, city: str, days: int = None, odd=None, bare=None)"
        self.assertEqual(repr(tool), shown)
        self.assertIn("city: Where.", tool.__doc__)
        self.assertEqual(tools.search("weather city"), [f"{shown}: Says how the weather is."])
        self.assertEqual(tools.search("nothing"), [])
        self.assertEqual(len(tools.search("")), 1)
        self.assertIn("get_weather", dir(tools.weather))

    def test_a_server_may_describe_badly(self):
        tools, _ = self.tools(tools=[{"name": "1 class"}, {"name": "class", "inputSchema": {"properties": None}}])
        self.assertEqual(dir(tools.weather), ["_1_class", "_class"])
        self.assertEqual(tools.weather._class(), "")


if __name__ == "__main__":
    unittest.main()

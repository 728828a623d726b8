"""What programs show: the right media type, bounds of what draws itself, and no fault of theirs."""

import builtins
import contextlib
import io
import json
import pathlib
import sys
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

calls = []
fake = sys.modules.setdefault("ukernel", types.ModuleType("ukernel"))

import program  # noqa: E402
import shown  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\nrest"


class Table:
    def _repr_html_(self):
        return "<table>"


class Bare:
    """Says nothing of itself in the ways it could."""

    def _repr_png_(self):
        return None

    _repr_html_ = None


class Broken:
    def _repr_html_(self):
        raise ValueError("no")


class ShownTest(unittest.TestCase):
    def setUp(self):
        calls.clear()
        self.before = getattr(fake, "call", None)
        fake.call = lambda name, payload=b"": calls.append((name, payload)) or b""
        shown.ukernel = fake
        program.main.__dict__.clear()
        program.at_prompt.clear()
        shown.install()

    def tearDown(self):
        program.at_prompt.clear()
        if self.before is not None:
            fake.call = self.before

    def shown(self):
        self.assertTrue(all(name == "display" for name, _ in calls))
        return [tuple(payload.split(b"\n", 1)) for _, payload in calls]

    def run_code(self, code, interactive=True):
        program.main.__dict__.update(Table=Table, Bare=Bare, Broken=Broken, PNG=PNG)
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            ended = program.run("<test>", code.encode(), [], interactive)
        return ended, errors.getvalue()

    def test_display_shows_anything(self):
        shown.display(PNG, Table(), {"a": [1]}, "text", Bare, 7, {1: {2}})
        kinds = [kind.decode() for kind, _ in self.shown()]
        self.assertEqual(
            kinds,
            ["image/png", "text/html", "application/json", "text/plain", "text/plain", "text/plain", "text/plain"],
        )
        self.assertEqual(json.loads(self.shown()[2][1]), {"a": [1]})
        self.assertIs(builtins.display, shown.display)
        with self.assertRaises(TypeError):
            shown.display(b"GIF89a")

    def test_a_last_value_shows_itself_at_the_prompt(self):
        ended, _ = self.run_code("Table()")
        self.assertEqual((ended.code, self.shown()), (0, [(b"text/html", b"<table>")]))
        calls.clear()
        for code, interactive in [("Table()", False), ("x = Table()", True), ("Table", True), ("Bare()", True), ("7", True)]:
            self.run_code(code, interactive)
            self.assertEqual(self.shown(), [], code)

    def test_what_cannot_be_shown_is_noted(self):
        ended, errors = self.run_code("Broken()")
        self.assertEqual(ended.code, 0)
        self.assertIn("note: not everything could be shown: no", errors)

        def refuse(name, payload=b""):
            raise RuntimeError("too much")

        fake.call = refuse
        ended, errors = self.run_code("Table()")
        self.assertEqual(ended.code, 0)
        self.assertIn("too much", errors)
        ended, errors = self.run_code("display(PNG)")
        self.assertEqual(type(ended), program.Raised)


if __name__ == "__main__":
    unittest.main()

"""What a model's program finds at the prompt, with a host that a test plays.

    python3 -m unittest discover adapters/python/tests
"""

import contextlib
import io
import json
import pathlib
import sys
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))


class HostError(RuntimeError):
    """As the kernel's module has it."""


# The module that asks the kernel; the tests are the kernel here.
fake = types.ModuleType("ukernel")
fake.HostError = HostError
sys.modules["ukernel"] = fake

import program  # noqa: E402
import rlm  # noqa: E402


class Host:
    """Answers calls, and notes them."""

    def __init__(self, sources=(), answers=None):
        self.sources = sources
        self.answers = answers or {}
        self.calls = []
        self.value = b""
        self.given = b""

    def __call__(self, name, payload):
        if name == "variable":
            self.given += payload
            return b""
        fields = json.loads(payload)
        self.calls.append((name, fields))
        if name == "contexts":
            listed = [{"name": n, "bytes": len(b), "binary": binary} for n, b, binary in self.sources]
            return json.dumps({"sources": listed}).encode()
        if name == "context":
            content = self.sources[fields["source"]][1]
            return content[fields["offset"] : fields["offset"] + min(fields["length"], 5)]
        if name in ("describe", "final", "keep"):
            return b"{}"
        if name == "value":
            return self.value[fields["offset"] : fields["offset"] + min(fields["length"], 5)]
        return json.dumps({"results": self.answers[name]}).encode()


class Prompt(unittest.TestCase):
    def begin(self, **host):
        program.main.__dict__.clear()
        program.main.__dict__["__name__"] = "__main__"
        program.before.clear()
        program.after.clear()
        program.always.clear()
        rlm.original = rlm.UNSET
        self.host = fake.call = Host(**host)
        self.run_code("import rlm; rlm.begin()")
        return next(fields for name, fields in self.host.calls if name == "describe")

    def run_code(self, code):
        """What a program printed, to standard output and error; the tests fail if it fails."""
        out, err = io.StringIO(), io.StringIO()
        saved = sys.modules["__main__"], sys.argv
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.ended = program.run("<test>", code.encode(), [], False)
        finally:
            sys.modules["__main__"], sys.argv = saved
        return out.getvalue(), err.getvalue()

    def finals(self):
        return [fields for name, fields in self.host.calls if name == "final"]


class Contexts(Prompt):
    def test_one_text_comes_in_pieces_and_is_a_string(self):
        shape = self.begin(sources=[("a.txt", "grüße\nzwei\n".encode(), False)])
        self.assertEqual(shape["type"], "str")
        self.assertEqual((shape["parts"][0]["length"], shape["parts"][0]["lines"]), (11, 2))
        self.assertEqual(self.run_code("print(context)")[0], "grüße\nzwei\n\n")

    def test_several_are_a_dict_and_what_is_no_text_is_bytes(self):
        shape = self.begin(sources=[("a", b"caf\xe9", False), ("b", b"\0\1", True)])
        self.assertEqual([part["type"] for part in shape["parts"]], ["str", "bytes"])
        self.assertEqual(shape["parts"][0]["replaced"], 1)
        self.assertEqual(self.run_code("print(context['b'])")[0], "b'\\x00\\x01'\n")

    def test_a_description_shows_no_more_than_first_lines(self):
        shape = self.begin(sources=[("a", b"x" * 5000 + b"\nlast", False)])
        self.assertLess(len(json.dumps(shape)), 600)


class Queries(Prompt):
    def test_a_failed_query_raises_and_a_failed_item_is_a_value(self):
        self.begin(answers={"query_llm": [{"value": "yes"}, {"error": "too dear"}]})
        out, _ = self.run_code("r = query_llm_batched(['a', 'b']); print(r[0], isinstance(r[1], FailedQuery), r[1])")
        self.assertEqual(out, "yes True [query failed: too dear]\n")
        self.begin(answers={"rlm_query": [{"error": "too deep"}]})
        _, err = self.run_code("rlm_query('q', 'c')")
        self.assertIn("HostError: too deep", err)

    def test_what_is_asked_is_text_whatever_was_given(self):
        self.begin(answers={"query_llm": [{"value": 1}], "rlm_query": [{"value": 1}]})
        self.run_code("query_llm(5, b'\\xff'); rlm_query('q', {'a': 1}); query_llm('\\ud800')")
        asked = [fields for _, fields in self.host.calls[2:]]
        self.assertEqual(asked[0]["prompts"], ["5\n\n\ufffd"])
        self.assertEqual(asked[1]["queries"][0]["context"], '{"a": 1}')
        self.assertEqual(asked[2]["prompts"], ["?"])

    def test_nothing_to_ask_asks_nobody(self):
        self.begin()
        self.assertEqual(self.run_code("print(query_llm_batched([]), rlm_query_batched([]))")[0], "[] []\n")


class Answers(Prompt):
    def test_every_way_to_answer(self):
        for code, text, value in [
            ("FINAL('x')", "x", "x"),
            ("FINAL([1, 'ü'])", '[1, "ü"]', [1, "ü"]),
            ("FINAL({1, })", "{1}", None),
            ("v = 3; FINAL_VAR('v')", "3", 3),
            ("FINAL_VAR(2.5)", "2.5", 2.5),
            ("my_answer = 'kept'; FINAL()", "kept", "kept"),
            ("answer['content'] = 'd'; answer['ready'] = True", "d", "d"),
        ]:
            self.begin()
            self.run_code(code)
            self.assertEqual(self.finals(), [{"text": text, "value": value}], code)

    def test_a_variable_that_is_not_there_and_an_answer_that_is_not_set_are_errors(self):
        self.begin()
        for code in ("FINAL_VAR('nothing')", "FINAL()"):
            _, err = self.run_code(code)
            self.assertIn("Error", err)
        self.assertEqual(self.finals(), [])

    def test_what_failed_gives_no_answer(self):
        self.begin()
        self.run_code("answer['ready'] = True; 1 / 0")
        self.assertEqual(self.finals(), [])


    def test_one_is_ready_too(self):
        for ready, count in (("1", 1), ("True", 1), ("0", 0), ("'no'", 0)):
            self.begin()
            self.run_code(f"answer['content'] = 'd'; answer['ready'] = {ready}")
            self.assertEqual(len(self.finals()), count, ready)

    def test_nan_and_infinity_are_text(self):
        self.begin()
        self.run_code("FINAL(float('nan')); FINAL({'a': float('inf')})")
        texts = [{"text": "nan", "value": None}, {"text": "{'a': inf}", "value": None}]
        self.assertEqual(self.finals(), texts)

    def test_the_host_hears_of_my_answer_however_the_program_ends(self):
        self.begin()
        self.run_code("my_answer = ['half']; 1 / 0")
        self.run_code("x = 1")
        self.run_code("my_answer.append('more')")
        kept = [fields["value"] for name, fields in self.host.calls if name == "keep"]
        self.assertEqual(kept, [["half"], ["half", "more"]])

    def test_what_was_kept_for_another_question_is_not_kept_for_this(self):
        self.begin()
        self.run_code("my_answer = 'old'")
        before = len(self.host.calls)
        self.run_code("import rlm; rlm.begin()")
        self.run_code("print(my_answer)")
        self.assertNotIn("keep", [name for name, _ in self.host.calls[before:]])


class Scaffold(Prompt):
    def test_streams_that_were_replaced_are_put_back_before_a_failure_is_reported(self):
        self.begin()
        out, err = self.run_code("import io, sys; sys.stdout = sys.stderr = io.StringIO(); 1 / 0")
        self.assertIn("note: sys.stdout, sys.stderr had been overwritten and is restored", err)
        self.assertIn("ZeroDivisionError", err)
        self.assertEqual(self.run_code("print('heard')"), ("heard\n", ""))

    def test_the_peers_names_take_what_the_peers_take(self):
        self.begin(answers={"query_llm": [{"value": "yes"}]})
        code = "print(llm_query('p', model='big'), llm_query('p', 'big'), llm_query_batched(['p'], 'big'))"
        out, err = self.run_code(code)
        self.assertEqual(out, "yes yes ['yes']\n")
        self.assertEqual(err.count("the model 'big' was not asked"), 3)
        prompts = [fields["prompts"] for name, fields in self.host.calls if name == "query_llm"]
        self.assertEqual(prompts, [["p"]] * 3)
        _, err = self.run_code("llm_query('p', 'a long text that belongs to it')")
        self.assertIn("put the text into the prompt", err)

    def test_a_thread_that_cannot_start_says_what_to_do_instead(self):
        self.begin()

        def none(thread):
            raise RuntimeError("can't start new thread")

        kept, rlm.plain_start = rlm.plain_start, none
        try:
            _, err = self.run_code("import threading; threading.Thread(target=print).start()")
        finally:
            rlm.plain_start = kept
        self.assertIn("query_llm_batched", err)

    def test_variables_are_told_from_other_names(self):
        self.begin()
        self.run_code("import os; total = 1")
        self.assertTrue(rlm.has_variable("total"))
        for name in ("os", "query_llm", "nothing", "__name__"):
            self.assertFalse(rlm.has_variable(name), name)

    def test_what_was_overwritten_is_restored_and_said(self):
        self.begin(sources=[("a", b"real", False)], answers={"query_llm": [{"value": "real"}]})
        self.run_code("query_llm = FINAL = None; context = answer = 'forged'; del rlm_query")
        out, err = self.run_code("print(context, query_llm('x'), answer['ready'], callable(rlm_query))")
        self.assertEqual(out, "real real False True\n")
        for name in ("query_llm", "FINAL", "context", "answer"):
            self.assertIn(name, err)

    def test_variables_are_listed_without_the_scaffold(self):
        self.begin(sources=[("a", b"abc", False)])
        out, _ = self.run_code("import os; x = [1]; print(SHOW_VARS())")
        found = eval(out)
        self.assertEqual((found["x"], found["context"]), ("list of length 1", "str of length 3"))
        self.assertNotIn("os", found)
        self.assertNotIn("query_llm", found)


if __name__ == "__main__":
    unittest.main()

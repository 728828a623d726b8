"""What a person sees when a program runs. Needs no component: any Python from 3.11 on.

    python3 -m unittest discover adapters/python/tests
"""

import contextlib
import io
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import program  # noqa: E402


def run(source, interactive=False, name="<test>", args=()):
    """How it ended, and what it wrote to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    saved = sys.modules["__main__"], sys.argv
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            source = source.encode() if isinstance(source, str) else source
            ended = program.run(name, source, list(args), interactive)
    finally:
        sys.modules["__main__"], sys.argv = saved
    return ended, out.getvalue(), err.getvalue()


class Values(unittest.TestCase):
    def test_the_last_expression_is_the_value(self):
        self.assertEqual(run("x = 20\nx + 22", interactive=True)[0], program.Exited(0, "42"))

    def test_none_and_scripts_have_no_value(self):
        self.assertEqual(run("None", interactive=True)[0], program.Exited(0, None))
        self.assertEqual(run("42")[0], program.Exited(0, None))

    def test_variables_stay(self):
        run("kept = [1]")
        self.assertEqual(run("kept", interactive=True)[0].value, "[1]")

    def test_statements_before_an_exception_keep_their_effect(self):
        self.assertIsInstance(run("before = 1\n1 / 0\nafter = 2")[0], program.Raised)
        self.assertEqual(run("before, 'after' in globals()", interactive=True)[0].value, "(1, False)")

    def test_lone_surrogates_are_shown(self):
        self.assertEqual(run("type('A', (), {'__repr__': lambda s: chr(0xd800)})()", True)[0].value, "\\ud800")


class Surroundings(unittest.TestCase):
    def test_a_program_knows_its_name_and_arguments(self):
        shown = run("import sys\nprint(__name__, __file__, sys.argv)", name="/a.py", args=["b"])[1]
        self.assertEqual(shown, "__main__ /a.py ['/a.py', 'b']\n")

    def test_the_source_says_its_encoding(self):
        self.assertEqual(run(b"# coding: latin-1\nprint(ascii('\xe9'))")[1], "'\\xe9'\n")


class Endings(unittest.TestCase):
    def test_exit_codes(self):
        for code, ended in (("", 0), ("None", 0), ("7", 7), ("-1", -1), ("2**40", 2**31 - 1), ("True", 1)):
            with self.subTest(code):
                self.assertEqual(run(f"raise SystemExit({code})")[0], program.Exited(ended, None))

    def test_other_exit_values_are_printed(self):
        ended, _, err = run("import sys; sys.exit('bye')")
        self.assertEqual((ended, err), (program.Exited(1, None), "bye\n"))

    def test_an_interrupt_is_told_apart(self):
        self.assertEqual(run("raise KeyboardInterrupt")[0], program.Interrupted())

    def test_an_exception_that_cannot_be_printed(self):
        ended, _, err = run("class E(Exception):\n  def __str__(self): 1 / 0\nraise E()")
        self.assertEqual(ended, program.Raised("E", ""))
        self.assertIn("E: <exception str() failed>", err)

    def test_a_hook_of_the_program_is_used(self):
        try:
            err = run("import sys\nsys.excepthook = lambda *a: print('mine', file=sys.stderr)\n1 / 0")[2]
        finally:
            sys.excepthook = sys.__excepthook__
        self.assertEqual(err, "mine\n")


class Tracebacks(unittest.TestCase):
    def test_the_programs_lines_are_shown_and_ours_are_not(self):
        err = run("def f():\n    return 1 / 0\nf()")[2]
        self.assertIn('File "<test>", line 2, in f\n    return 1 / 0', err)
        self.assertNotIn("program.py", err)

    def test_what_the_program_called_of_ours_is_not_shown(self):
        err = run("import program\nprogram.clip(5)")[2]
        self.assertIn("line 2, in <module>", err)
        self.assertNotIn("program.py", err)

    def test_lines_are_shown_in_the_encoding_of_the_source(self):
        self.assertIn("1 / 0 # \xe9", run(b"# coding: latin-1\n1 / 0 # \xe9")[2])

    def test_syntax_errors_show_the_line(self):
        for source in ("x = (", "return 5", "def f(:"):
            with self.subTest(source):
                self.assertIn(f'File "<test>", line 1\n    {source}', run(source)[2])


if __name__ == "__main__":
    unittest.main()

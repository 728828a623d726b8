"""What a person sees of the shell. Needs just-bash (build/requirements.txt), no component."""

import importlib.util
import io
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

if importlib.util.find_spec("just_bash") is None:
    raise unittest.SkipTest("just-bash is not installed here; .ci/run installs it")

import program  # noqa: E402
import shell  # noqa: E402


def run(source, args=()):
    """How it ended, and the bytes it wrote to stdout and stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with mock.patch.object(sys, "__stdout__", out), mock.patch.object(sys, "__stderr__", err):
        ended = shell.run(source if isinstance(source, bytes) else source.encode(), list(args))
    return ended, out.buffer.getvalue(), err.buffer.getvalue()


class Shell(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)
        self.addCleanup(setattr, shell, "session", shell.session)
        shell.session = shell.new_session()

    def says(self, source, expected, code=0):
        ended, out, err = run(source)
        self.assertEqual((out, ended), (expected.encode(), program.Exited(code, None)), err)

    def test_standard_input(self):
        def reads(text, source, expected):
            with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()))):
                self.says(source, expected)

        reads("a\nb\n", "cat", "a\nb\n")
        reads("2\n1\n", "sort | head -n 1", "1\n")
        reads("a\nb\n", "read x; echo $x; read y; echo $y", "a\nb\n")
        reads("a\nb\n", 'while read l; do echo "<$l>"; done', "<a>\n<b>\n")
        reads("a\n", "cat; cat", "a\n")
        reads("a\nb\n", "mapfile -t l; echo ${l[1]}", "b\n")

    def test_input_is_not_waited_for_by_commands_that_do_not_read_it(self):
        with mock.patch.object(sys, "stdin", None):
            self.says("echo a | cat; cd .; printf b", "a\nb")

    def test_variables_of_one_run(self):
        ended, out, _ = run("echo $A")
        self.assertEqual(out, b"\n")
        with mock.patch.object(sys, "__stdout__", io.TextIOWrapper(io.BytesIO())) as out:
            shell.run(b"echo $A", [], [("A", "1")])
            self.assertEqual(out.buffer.getvalue(), b"1\n")
        self.assertEqual(run("echo $A")[1], b"\n")

    def test_text_tools(self):
        self.says("printf 'b 2\\na 1\\na 1\\n' > t; sort t | uniq -c | wc -l", "2\n")
        self.says("cp t u; grep -rn 'a' . | head -n 1 | cut -d: -f2; rm u", "2\n")
        self.says("grep -iE 'A|B' t | grep -v b | tail -n 1 | tr a-z A-Z", "A 1\n")
        self.says("sed 's/a/z/' t | awk '{s += $2} END {print s}'", "4\n")
        self.says("find . -name t | xargs cat | sed -n 1p", "b 2\n")
        self.says("echo '{\"a\": [1, 2]}' | jq '.a[1]'", "2\n")
        self.says("cat <<E\n$((6 * 7))\nE", "42\n")
        self.says("ls nothing > all 2>&1; wc -l < all | tr -d ' '", "1\n")
        self.says("echo more >> t; ls *; cat t | wc -l | tr -d ' '", "all\nt\n4\n")

    def test_the_language(self):
        self.says("a=(x y); for i in ${a[@]}; do case $i in x) echo 1;; *) echo 2;; esac; done", "1\n2\n")
        self.says("n=0; while [ $n -lt 3 ]; do n=$((n + 1)); done; if [[ $n == 3 ]]; then echo ok; fi", "ok\n")
        self.says("false && echo no || echo $(echo yes)", "yes\n")
        self.says("n=0; while [ $n -lt 12000 ]; do ((n++)); done; echo $n", "12000\n")

    def test_endings(self):
        self.says("exit 7", "", 7)
        self.says("set -e; false; echo no", "", 1)
        self.says("set +e; set -o pipefail; false | true", "", 1)
        failures = [
            ("nosuch", 127, b"command not found"),
            ("if", 2, b"bash:"),
            ("sleep 1 &", 1, b"not available"),
            ("curl x", 127, b"no network"),
        ]
        for source, code, why in failures:
            ended, _, err = run(source)
            self.assertEqual(ended.code, code, source)
            self.assertIn(why, err)
        self.assertEqual(run("f() { f; }; f")[0], program.Exited(1, None))

    def test_state_stays(self):
        run("x=1; export y=2; f() { echo f$1; }; mkdir d; cd d")
        self.says("echo $x; f 3; python3 -c 'import os; print(os.environ[\"y\"], \"x\" in os.environ)'", "1\nf3\n2 False\n")
        self.assertEqual(os.path.basename(os.getcwd()), "d")

    def test_bytes_pass_unchanged(self):
        content = bytes(range(256)) + "é\n".encode()
        pathlib.Path("b").write_bytes(content)
        self.assertEqual(run("cat b")[1], content)
        run("cat b | cat > c")
        self.assertEqual(pathlib.Path("c").read_bytes(), content)

    def test_output_that_cannot_be_written_is_an_error(self):
        for operator in (">", ">>", "&>", "2>&1 >"):
            ended, out, err = run(f"echo lost {operator} nosuch/file")
            self.assertEqual((out, ended), (b"", program.Exited(1, None)), operator)
            self.assertIn(b"nosuch/file: No such file", err)
        self.says("echo a | tee nosuch/file", "a\n", 1)

    def test_cat_adds_nothing(self):
        self.says("printf a > x; printf b > y; cat x y - < x; cat nosuch x", "abaa", 1)
        self.says("cat -n x", "     1\ta\n")

    def test_bytes_that_are_no_text_are_said(self):
        pathlib.Path("x").write_bytes(b"\xff")
        ended, _, err = run("cat x | wc -c")
        self.assertEqual(ended, program.Exited(1, None))
        self.assertIn(b"not UTF-8", err)

    def test_python(self):
        pathlib.Path("s.py").write_text("import sys\nprint(sys.argv[1:], sys.stdin.read())\napart = 1\nsys.exit(3)\n")
        self.says("echo in | python3 s.py a", "['a'] in\n\n", 3)
        self.says("python3 - <<'E'\nprint('apart' in globals())\nE", "False\n")
        self.says("python -c 'import asyncio; asyncio.run(asyncio.sleep(0)); print(1)' | cat", "1\n")
        self.assertFalse(hasattr(program.main, "apart"))

    def test_an_interrupt_ends_the_commands_only(self):
        with mock.patch("just_bash.commands.sleep.sleep.asyncio.sleep", side_effect=KeyboardInterrupt):
            self.assertEqual(run("kept=1; while true; do sleep 1; done")[0], program.Interrupted())
        self.says("echo $kept", "1\n")


if __name__ == "__main__":
    unittest.main()

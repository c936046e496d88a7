"""Command lines as pages and docstrings give them, held against the flags of the commands."""

import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

# Runs a script as far as its flags go, then parses one command line a line of standard input, and prints what is wrong
# with each.
_PARSES = """
import json, runpy, sys
from absl import app, flags
from keras_resnet.commands import start
needed = []
app.run = lambda *_, **__: None
start.run = lambda main, required=(), **_: needed.extend(required)
sys.argv = [sys.argv[1]]
sys.path[0] = sys.argv[0].rpartition("/")[0]  # as Python sets it for a script
script = runpy.run_path(sys.argv[0], run_name="__main__")
FLAGS = flags.FLAGS
for line in sys.stdin:
    FLAGS.unparse_flags()
    for name in list(FLAGS):
        FLAGS[name].unparse()
    arguments, missing = json.loads(line), []
    try:
        rest = FLAGS([sys.argv[0], *arguments])[1:]
        if arguments:
            missing = [f"--{name} is missing" for name in needed if not getattr(FLAGS, name)]
            for check in ("check_flags", "refuse_contradictions"):
                script.get(check, lambda: None)()
        wrong = "; ".join(missing)
    except (flags.Error, ValueError, OSError) as error:
        rest, wrong = [], str(error)
    print(json.dumps([wrong, rest]))
"""


def refusals(script: str, commands: list[list[str]]) -> list[tuple[str, list[str]]]:
    """(what is wrong or "", arguments that are not flags) of each command line of a script of this repository."""
    ended = subprocess.run(
        [sys.executable, "-c", _PARSES, str(ROOT / script)],
        input="".join(json.dumps(arguments) + "\n" for arguments in commands),
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return [tuple(json.loads(line)) for line in ended.stdout.splitlines()]


def of_page(path: pathlib.Path) -> list[list[str]]:
    """The words of each command of a page: of its shell blocks, and those between backticks that begin with python
    or make."""
    text = path.read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(r"(?<!`)`((?:python|make) [^`\n]*)`(?!`)", text)
    return [command for words in map(_words, _whole(lines)) for command in _apart(words) if command]


def _words(line):
    return shlex.split(line, comments=True)


def _whole(lines):
    """Lines, those together between which a quotation is open."""
    begun = ""
    for line in lines:
        begun += line
        try:
            _words(begun)
        except ValueError:
            begun += "\n"
        else:
            yield begun
            begun = ""


def of_docstring(path: pathlib.Path) -> list[list[str]]:
    """The words of each `python ...` of a script's docstring; a line that begins with -- goes on the one before."""
    text = path.read_text("utf-8").partition('"""')[2].partition('"""')[0]
    text = text.replace("\\\\\n", " ")
    text = re.sub(r"\n *(?=--\w)", " ", text)
    return [_words(line) for line in re.findall(r"^    (python .*)$", text, re.MULTILINE)]


def _apart(words):
    """Commands with && between them."""
    command = []
    for word in [*words, "&&"]:
        if word != "&&":
            command.append(word)
        elif command:
            yield command
            command = []

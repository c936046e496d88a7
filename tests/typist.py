"""Types the blocks of one page from top to bottom, in the folder it is started in: a process for a page.

    python tests/typist.py PORT < BLOCKS

BLOCKS is JSON, [[language, code], ...]. Blocks of Python share their names; those of the shell find `keras-resnet` and
`python`. A server is left running until the page ends, at PORT.
"""

import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVE = re.compile(r"^keras-resnet serve (.*)$", re.MULTILINE)


def commands(folder):
    """A folder with `keras-resnet` and `python` for PATH, of this Python and this repository."""
    folder.mkdir()
    for name, what in (("keras-resnet", "-m keras_resnet "), ("python", "")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {what}"$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def type_shell(code, port):
    """Runs a block; returns the server that it has started, or None."""
    serve = SERVE.search(code)
    code = SERVE.sub("", code).replace("localhost:8501", f"localhost:{port}")
    code = code.replace(
        "keras-resnet query ", f"keras-resnet query --server=http://localhost:{port} "
    )
    subprocess.run(["sh", "-e", "-c", code], check=True, stdin=subprocess.DEVNULL)
    if serve is None:
        return None
    line = f"exec keras-resnet serve {serve[1]} --rest_api_port={port} --port=0"
    server = subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline().startswith("{"), "the server has ended"
    return server


def main(port):
    os.environ["PATH"] = (
        f"{commands(pathlib.Path('bin').resolve())}{os.pathsep}{os.environ['PATH']}"
    )
    os.environ["PYTHONPATH"] = str(ROOT)
    names, servers = {"__name__": "__main__"}, []
    try:
        for language, code in json.load(sys.stdin):
            print(f"--- {language}\n{code}", flush=True)
            if language == "python":
                exec(compile(code, "page", "exec"), names)
            else:
                servers.append(type_shell(code, port))
    finally:
        for server in filter(None, servers):
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)


if __name__ == "__main__":
    main(int(sys.argv[1]))

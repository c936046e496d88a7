#!/bin/sh
# Makes the virtual environment $1 with a fitting Python, or says in one sentence which package brings it.
# PYTHON=/path/to/python3.11 chooses one by hand.
set -eu

venv=$1
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.13 python3.12 python3.11
fi

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

found=
for candidate; do
    if fits "$candidate"; then
        found=$candidate
        break
    fi
done
if [ -z "$found" ]; then
    have=$("$1" --version 2>/dev/null || echo missing)
    echo "Python 3.11 or newer is needed and $1 here is $have: install the packages python3.11" \
        "and python3.11-venv (Debian, Ubuntu: sudo apt-get install python3.11 python3.11-venv)," \
        "or name one with make PYTHON=/path/to/python3." >&2
    exit 2
fi
if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    echo "$found has no venv module with pip: install the package $package" \
        "(Debian, Ubuntu: sudo apt-get install $package), then run make again." >&2
    exit 2
fi
exec "$found" -m venv "$venv"

"""A check of the campaign's whose process is killed; apart, for a worker imports what it runs."""

import os
import signal

import pictures


def dies(fatal):
    def check(first, last, at):
        for number in range(first, last):
            pictures._watched(at, number)
            if number == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return {"kind": last - first}, [], {}

    return check

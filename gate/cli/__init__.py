"""The commands: parse arguments, call, exit code. What they do is elsewhere.

Exit codes: 0 passed, 1 failed, 2 wrong usage or configuration, 3 inconclusive, 4 error.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Final, NoReturn

import click

from gate.baseline.files import BaselineError
from gate.cli.confirming import confirm
from gate.cli.conversing import comment, obey, relay, waivers
from gate.cli.judging import check, report, run
from gate.cli.learning import calibrate, explain, selftest
from gate.cli.planning import plan
from gate.cli.remembering import baseline, diff, history
from gate.cli.shared import complain
from gate.git import GitError
from gate.located import LocatedError
from gate.processes import BusyError, interruptible
from gate.verdict import EXIT_CODES, EXIT_USAGE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regression-gate")
def app() -> None:
    """Judge a service's test suites against its history and its limits."""


for command in (
    run,
    check,
    confirm,
    report,
    baseline,
    history,
    diff,
    explain,
    calibrate,
    selftest,
    plan,
    comment,
    relay,
    obey,
    waivers,
):
    app.add_command(command)


def main() -> NoReturn:
    """Run the command line. A user never sees a traceback; GATE_DEBUG=1 shows it to a developer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ✗ shows a question mark
    interruptible()
    try:
        app(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (LocatedError, GitError) as error:
        complain(str(error))
        sys.exit(EXIT_USAGE)
    except BusyError as error:
        complain(f"{error}; wait for it to finish, or write elsewhere: --out DIR")
        sys.exit(EXIT_USAGE)
    except BaselineError as error:
        complain(f"{error}; {error.remedy}")
        sys.exit(EXIT_CODES["error"])
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted; nothing was judged")
        sys.exit(EXIT_CODES["inconclusive"])
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE or not error.filename:
            _internal(error)
        remedy = "check its permissions, or choose another directory: --out DIR or --baseline DIR"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = "free disk space, or raise the quota"
        complain(f"no verdict: cannot access {error.filename}: {error.strerror}; {remedy}")
        sys.exit(EXIT_CODES["error"])
    except Exception as error:
        _internal(error)
    sys.exit(0)


_OF_THE_MACHINE: Final = frozenset({
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ELOOP, errno.EIO,
})  # fmt: skip
"""Errors of a file system that is not as the gate needs it."""


def _internal(error: Exception) -> NoReturn:
    """Say that the gate itself is wrong."""
    if os.environ.get("GATE_DEBUG"):
        raise error
    complain(f"internal error, no verdict: {type(error).__name__}: {error} (GATE_DEBUG=1 shows where)")
    sys.exit(EXIT_CODES["error"])

"""One file per input format; each turns a report file into a `SuiteRun`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from gate.files import read_plain
from gate.model import Problem, Run, SuiteRun
from gate.policy import Policy
from gate.readers import pytest_json
from gate.readers.errors import ReportError
from gate.readers.merge import merge
from gate.readers.naming import run_command

Reader = Callable[[Path, bytes, Policy], SuiteRun]

READERS: Final[dict[str, Reader]] = {".json": pytest_json.read}
"""File suffix -> reader."""


def read_run(reports: Iterable[Path], policy: Policy, *, complete: bool = True) -> Run:
    """Read report files into one run. What cannot be read becomes a problem of the run.

    Args:
        reports: the files; several of one suite are its shards.
        policy: the suites.
        complete: whether a shard that is not there is a problem.
    """
    found, problems = read_files(reports, policy)
    return one_run(found, problems, policy, complete=complete)


def read_files(reports: Iterable[Path], policy: Policy) -> tuple[list[SuiteRun], list[Problem]]:
    """Read report files one by one; the reports, and why others cannot be read."""
    found: list[SuiteRun] = []
    problems: list[Problem] = []
    for path in reports:
        try:
            found.append(_read(path, policy))
        except ReportError as error:
            problems.append(error.problem)
    return found, problems


def one_run(
    reports: Iterable[SuiteRun], problems: Iterable[Problem], policy: Policy, *, complete: bool = True
) -> Run:
    """Put what was read together; to the problems comes what does not fit.

    Of a file that is a problem already it is not said that its shard is missing.
    """
    suites, wrong = merge(reports, policy, complete=complete)
    known = list(problems)
    said = {problem.subject for problem in known}
    known += [problem for problem in wrong if problem.subject not in said]
    return Run(suites=suites, problems=tuple(known))


def _read(path: Path, policy: Policy) -> SuiteRun:
    reader = READERS.get(path.suffix)
    if reader is None:
        known = ", ".join(f"*{suffix}" for suffix in READERS)
        raise ReportError(
            str(path), f"unknown kind of report {path.suffix!r}", f"give a file of a known kind: {known}"
        )
    try:
        data = read_plain(path)
    except FileNotFoundError:
        again = run_command(path.stem)
        remedy = f"run the suite again ({again}) and read its log: a killed pytest writes no report"
        raise ReportError(str(path), "the report is missing", remedy) from None
    except OSError as error:
        raise ReportError(str(path), f"cannot be read: {error.strerror}", "give a readable file") from None
    return reader(path, data, policy)

"""One file per input format; each turns a report file into a `SuiteRun`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from gate.model import Problem, Run, SuiteRun
from gate.policy import Policy
from gate.readers import pytest_json
from gate.readers.errors import ReportError

Reader = Callable[[Path, bytes, Policy], SuiteRun]

READERS: Final[dict[str, Reader]] = {".json": pytest_json.read}
"""File suffix -> reader."""


def read_run(reports: Iterable[Path], policy: Policy) -> Run:
    """Read report files into one run. What cannot be read becomes a problem of the run."""
    suites: dict[str, SuiteRun] = {}
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in reports:
        try:
            suite = _read(path, policy)
        except ReportError as error:
            problems.append(error.problem)
            continue
        if suite.name in suites:
            message = f"a second report of suite {suite.name!r}, the first is {files[suite.name]}"
            problems.append(Problem(str(path), message, "give each suite one report"))
            continue
        suites[suite.name], files[suite.name] = suite, path
    problems += _shared_names(suites.values())
    return Run(suites=suites, problems=tuple(problems))


def _read(path: Path, policy: Policy) -> SuiteRun:
    reader = READERS.get(path.suffix)
    if reader is None:
        known = ", ".join(f"*{suffix}" for suffix in READERS)
        raise ReportError(
            str(path), f"unknown kind of report {path.suffix!r}", f"give a file of a known kind: {known}"
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        remedy = (
            f"run the suite again (gate run {path.stem}) and read its log: a killed pytest writes no report"
        )
        raise ReportError(str(path), "the report is missing", remedy) from None
    except OSError as error:
        raise ReportError(str(path), f"cannot be read: {error.strerror}", "give a readable file") from None
    return reader(path, data, policy)


def _shared_names(suites: Iterable[SuiteRun]) -> list[Problem]:
    """A metric or test that two suites report would be judged once and lost once."""
    owners: dict[str, str] = {}
    problems: list[Problem] = []
    for suite in suites:
        for name in (*suite.metrics, *suite.tests):
            if (owner := owners.setdefault(name, suite.name)) != suite.name:
                message = f"{name} is reported by suite {owner!r} too"
                problems.append(
                    Problem(suite.name, message, "give it one home, or a label that tells the two apart")
                )
    return problems

"""Run suites as child processes and leave one report per suite.

The command of a suite is the user's own. What the gate needs of pytest travels in PYTEST_ADDOPTS, so
that it works behind any wrapper. A manifest beside the reports says which suites were started and
which ended: a report that was expected and is not there can then never go unnoticed.
"""

import hashlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from gate.files import end_of, read_if_plain, read_plain
from gate.git import GitError, top_level
from gate.imports import search_path
from gate.model import Problem, Shard
from gate.no_report import error_in, while_running, why_no_report
from gate.policy import Policy, Suite
from gate.processes import fresh_directory, process_group
from gate.readers.naming import report_stem, run_command, shard_in, suite_in
from gate.services.serving import Place, ServiceError, serving
from pytest_regression_gate.pipes import Address, Pipe
from pytest_regression_gate.protocol import TWICE, Progress, begun, progress_from, selection
from pytest_regression_gate.variables import (
    LIBRARIES_VARIABLE,
    PROGRESS_VARIABLE,
    SELECT_VARIABLE,
    SESSION_VARIABLE,
    SHARD_VARIABLE,
    SHARDS_VARIABLE,
    SUITE_VARIABLE,
    WATCH_VARIABLE,
)

MANIFEST: Final = ".run.json"
_OMIT: Final = "log,streams,keywords"
_TWICE: Final = "started pytest more than once; define one suite for each pytest command"
_LOOK_SECONDS: Final = 0.1
"""How often it is asked whether a suite has ended."""

State = Literal["running", "finished", "failed", "twice", "crashed", "lost"]
"""failed: its command did, beside its tests. twice: it started pytest more than once. lost: its
report was changed or removed later."""


class Manifest(msgspec.Struct):
    """What is known of the suites whose reports lie in a directory."""

    suites: dict[str, State] = {}
    """By the name of the report without its suffix: `api`, or `api.2-of-4` of a shard."""
    why: dict[str, str] = {}
    """Of those that left no report: what they did instead."""


@dataclass(frozen=True)
class SuiteResult:
    """How a suite's process ended."""

    suite: str
    report: Path
    log: Path
    exit_code: int
    seconds: float
    problem: str = ""
    """Why there is no usable report; empty if there is one."""
    state: State = "finished"


def make_directory(out: Path) -> None:
    """Make the directory for reports, if it is not there."""
    fresh = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    if fresh:
        (out / ".gitignore").write_text("*\n", encoding="ascii")  # what is measured is no change of the code


def run_suite(
    suite: Suite, root: Path, out: Path, listen: Callable[[Progress], None], shard: Shard | None = None
) -> SuiteResult:
    """Run one suite in `root` and leave `out/<suite>.json`, `.log` and an entry in the manifest.

    Args:
        suite: what to run.
        shard: which share of it, for its command to pick; in the names of the files then. None: all of it.
        root: the directory of thresholds.yaml.
        out: where reports go; made if needed.
        listen: called from a thread with every event of the suite.
    """
    make_directory(out)
    name = report_stem(suite.name, shard)
    report, log = out.resolve() / f"{name}.json", out / f"{name}.log"
    _forget(out, suite.name, shard)
    report.unlink(missing_ok=True)
    _note(out, name, "running")
    start = time.monotonic()
    try:
        code, problem = _measure(suite, root, report, log=log, listen=listen, shard=shard)
    except BaseException:
        report.unlink(missing_ok=True)
        raise
    state: State = "twice" if problem == _TWICE else "crashed" if problem else "finished"
    ended = None if problem else _ending_in(report)
    if ended and code not in {0, ended.exitcode, *(_BY_A_WRAPPER if ended.exitcode else ())}:
        problem, state = f"ended with exit code {code}, and pytest with {ended.exitcode}", "failed"
    elif ended and (why := _named_from_above(ended, root)):
        problem, state = why, "failed"
    if problem:
        report.unlink(missing_ok=True)
    _note(out, name, state, problem)
    return SuiteResult(name, out / report.name, log, code, time.monotonic() - start, problem, state)


def fingerprint(report: Path) -> str:
    """By which a report is known again; empty: there is none."""
    data = read_if_plain(report)
    return "" if data is None else hashlib.sha256(data).hexdigest()


def settle(out: Path, results: Mapping[SuiteResult, str], others: Mapping[str, State]) -> list[SuiteResult]:
    """Look at the end of a run whether its reports are those that its suites left.

    Another suite, or a process in the background, can have written there.

    Args:
        out: where the reports lie.
        results: how the suites ended, and the fingerprints of their reports then.
        others: what the manifest said of other reports when the run began.

    Returns:
        The results of suites whose report is another one now, with the problem.
    """
    gone = [
        result
        for result, mark in results.items()
        if not result.problem and fingerprint(result.report) != mark
    ]
    for result in (*gone, *(result for result in results if result.problem)):
        result.report.unlink(missing_ok=True)
    states: dict[str, State] = {result.suite: result.state for result in results}
    states |= dict.fromkeys((result.suite for result in gone), "lost")
    noted = read_manifest(out)
    _write(out, Manifest({**others, **noted.suites, **states}, noted.why))
    why = f"its report was changed or removed after it ended; stop what else writes to {out}"
    return [replace(result, problem=why, state="lost") for result in gone]


def run_tests(
    suite: Suite,
    root: Path,
    report: Path,
    *,
    log: Path,
    nodeids: Sequence[str],
    listen: Callable[[Progress], None],
    shard: Shard | None = None,
) -> str:
    """Run some tests of a suite into a report of their own; why there is none, or nothing.

    What the command does beside its tests (a coverage that must be high enough) is not asked for.
    """
    with fresh_directory("gate-run-") as directory:
        select = directory / "select"
        select.write_bytes(selection(nodeids))
        chosen = {SELECT_VARIABLE: str(select)}
        return _measure(suite, root, report, log=log, listen=listen, shard=shard, added=chosen)[1]


def _measure(
    suite: Suite,
    root: Path,
    report: Path,
    *,
    log: Path,
    listen: Callable[[Progress], None],
    shard: Shard | None,
    added: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """Run a suite's command; its exit code and, if it left no report, why."""
    heard = threading.Event()
    running: dict[str, None] = {}

    def hear(event: Progress) -> None:
        heard.set()
        if event.started is not None:
            running[event.started] = None
        if event.finished is not None:
            running.pop(event.finished, None)
        listen(event)

    begun(report).unlink(missing_ok=True)
    log.write_bytes(b"")  # of an earlier run
    place = Place(
        root,
        "head",
        _environment(),
        logs=lambda service: log.with_name(f"{log.stem}@{service}.log"),
        listen=lambda line: hear(Progress(waiting=line)),
    )
    try:
        with serving(suite.needs, place) as services:
            variables = partial(
                _variables, suite, shard or Shard(1, 1), report, {**added, **services.variables}
            )
            code, problem = _execute(suite, root, variables, log, hear)
            services.check()
    except ServiceError as error:
        with log.open("a", encoding="utf-8") as output:
            output.write(f"\n{error}\n")
        report.unlink(missing_ok=True)
        return -1, error.line
    if read_if_plain(begun(report)) == TWICE.encode():
        report.unlink(missing_ok=True)
        problem = problem or _TWICE
    begun(report).unlink(missing_ok=True)
    if problem and problem != _TWICE:
        problem += while_running(running)
    elif not problem and not report.exists():
        problem = why_no_report(
            suite.run, code, end_of(log, _TAIL_BYTES), heard=heard.is_set(), running=running
        )
    return code, problem


class _Named(msgspec.Struct):
    nodeid: str


class _Ending(msgspec.Struct):
    """What a report tells of its pytest."""

    exitcode: int
    root: str = ""
    tests: list[_Named] = []


_BY_A_WRAPPER: Final = (1, 2, 123)
"""Exit codes of wrappers where pytest ended with any other than 0: make ends with 2, xargs with 123."""


def _ending_in(report: Path) -> _Ending | None:
    """How pytest itself ended; what cannot be read is for the reader to say."""
    try:
        return msgspec.json.decode(read_plain(report), type=_Ending)
    except (OSError, msgspec.DecodeError):
        return None


def _named_from_above(ended: _Ending, root: Path) -> str:
    """What is wrong with names of tests that begin with the directory of the checkout: no base has them."""
    if Path(ended.root) not in root.resolve().parents:
        return ""  # as nearly always: git is not asked
    with suppress(GitError, ValueError):
        inner = f"{top_level(root).relative_to(ended.root).as_posix()}/"
        named = next((test.nodeid for test in ended.tests if test.nodeid.startswith(inner)), "")
        if named:
            return (
                f"takes its pytest configuration from {ended.root}, above the repository, so its tests are "
                f"named after the directory of the checkout ({named}) and the base has none of them; "
                "put a pytest.ini or [tool.pytest.ini_options] into the repository"
            )
    return ""


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a directory of reports; empty if `gate run` did not write there."""
    try:
        return msgspec.json.decode(read_plain(directory / MANIFEST), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return Manifest()


_TAIL_BYTES: Final = 65_536


def lost_reports(directory: Path) -> list[Problem]:
    """Suites that were started in a directory and left no report, whatever files lie there."""
    problems: list[Problem] = []
    manifest = read_manifest(directory)
    for name, state in sorted(manifest.suites.items()):
        report = directory / f"{name}.json"
        if state == "finished" and report.exists():
            continue
        log = directory / f"{name}.log"
        remedy = f"read {log}, then run it again: {run_command(name)}"
        match state:
            case "running":
                how = f"did not finish{error_in(end_of(log, _TAIL_BYTES))}"
            case "failed":
                how = manifest.why.get(name) or "failed beside its tests"
            case "twice":
                how, remedy = "started pytest more than once", "define one suite for each pytest command"
            case "crashed":
                how = manifest.why.get(name) or f"crashed{error_in(end_of(log, _TAIL_BYTES))}"
            case _:
                how = "ended, but its report was changed or removed"
                remedy = f"stop what writes to {directory}, then run it again: {run_command(name)}"
        problems.append(Problem(str(report), f"suite {name!r} {how}", remedy))
    return problems


def _note(out: Path, name: str, state: State, why: str = "") -> None:
    manifest = read_manifest(out)
    manifest.suites[name] = state
    manifest.why = {**manifest.why, name: why}
    _write(out, manifest)


def _forget(out: Path, suite: str, shard: Shard | None) -> None:
    """Remove what an earlier run left that divided the suite in another way: it is no part of this one."""
    manifest = read_manifest(out)
    for name in divided_otherwise(manifest.suites, suite, shard):
        (out / f"{name}.json").unlink(missing_ok=True)
        del manifest.suites[name]
    _write(out, manifest)


def forget_unknown(out: Path, suites: Iterable[str]) -> list[str]:
    """Remove the reports of suites that the rules do not name any more; their names."""
    manifest = read_manifest(out)
    known = {*suites}
    unknown = [name for name in manifest.suites if _suite_of(name) not in known]
    for name in unknown:
        (out / f"{name}.json").unlink(missing_ok=True)
        del manifest.suites[name]
    if unknown:
        _write(out, manifest)
    return unknown


def _suite_of(stem: str) -> str:
    """The suite whose report `gate run` called so: `api` of `api.2-of-4`."""
    return stem.rpartition(".")[0] if shard_in(stem) else stem


def divided_otherwise(names: Iterable[str], suite: str, shard: Shard | None) -> list[str]:
    """Names of reports of a suite that was divided in another way than by a share of it."""
    shares = ((name, shard_in(name)) for name in names)
    return [
        name
        for name, left in shares
        if name == report_stem(suite, left) and (left and left.of) != (shard and shard.of)
    ]


def _write(out: Path, manifest: Manifest) -> None:
    make_directory(out)
    (out / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _execute(
    suite: Suite,
    root: Path,
    environment: Callable[[Address], dict[str, str]],
    log: Path,
    listen: Callable[[Progress], None],
) -> tuple[int, str]:
    """Run the command, with a pipe for its progress; return its exit code and, if it was stopped, why."""
    with log.open("wb") as output, _listening(listen) as address, ExitStack() as stack:
        process = stack.enter_context(
            process_group(suite.run, cwd=root, env=environment(address), output=output)
        )
        try:
            code = process.wait(timeout=suite.timeout.to("s"))
        except subprocess.TimeoutExpired:
            stack.close()
            return process.returncode, f"was stopped after {suite.timeout}"
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        with suppress(ValueError):
            return code, f"was killed by {signal.Signals(number).name}"
    return code, ""


def _environment() -> dict[str, str]:
    """The variables of the suite's processes and its services'."""
    inherited = {name: value for name, value in os.environ.items() if name != SESSION_VARIABLE}
    return {**inherited, "PATH": search_path(os.environ.get("PATH", ""))}


def _variables(
    suite: Suite, shard: Shard, report: Path, added: Mapping[str, str], progress: Address
) -> dict[str, str]:
    options = ["--json-report", f"--json-report-file={report}", f"--json-report-omit={_OMIT}"]
    given = os.environ.get("PYTEST_ADDOPTS", "")
    return {
        **_environment(),
        "PYTEST_ADDOPTS": f"{given} {shlex.join(options)}".strip(),
        SUITE_VARIABLE: suite.name,
        LIBRARIES_VARIABLE: suite.libraries,
        WATCH_VARIABLE: suite.watch,
        SHARD_VARIABLE: str(shard.number),
        SHARDS_VARIABLE: str(shard.of),
        PROGRESS_VARIABLE: str(progress),
        **added,
    }


@contextmanager
def _listening(listen: Callable[[Progress], None]) -> Generator[Address]:
    """Pass on the events of a suite that arrive by a named pipe while the block runs."""
    over = threading.Event()

    def pump(pipe: Pipe) -> None:
        ending = False
        while (line := pipe.receive(0 if ending else _LOOK_SECONDS)) is not None or not ending:
            ending = over.is_set()  # what it said until then is in the pipe
            with suppress(msgspec.DecodeError):
                if line is not None:
                    listen(progress_from(line))

    with (
        fresh_directory("gate-run-") as directory,
        Pipe(directory, "progress") as pipe,
    ):
        thread = threading.Thread(target=pump, args=(pipe,), name="gate-progress", daemon=True)
        thread.start()
        try:
            yield pipe.address
        finally:
            over.set()
            thread.join()


def expand(reports: Sequence[Path], policy: Policy) -> tuple[list[Path], list[Problem]]:
    """Turn the arguments of `gate check` into report files.

    A directory stands for the reports of every suite that was run there, by its manifest; without a
    manifest for every suite of the policy. The shards of a suite belong to it. Beside each file given by
    name the manifest is asked too.

    Returns:
        The files to read, and a problem for every report that should be there and is not.
    """
    files: list[Path] = []
    problems: dict[Problem, None] = {}
    for path in reports:
        if not path.suffix and not path.exists():
            problems[Problem(str(path), "there is no report", "run the suites first: gate run")] = None
            continue
        directory = path if path.is_dir() else path.parent
        lost = lost_reports(directory)
        problems |= dict.fromkeys(lost)
        if path.is_dir():
            known = {problem.subject for problem in lost}
            candidates = _reports_in(directory, policy)
            files += [file for file in candidates if str(file) not in known]
        elif str(path) not in {problem.subject for problem in lost}:
            files.append(path)
    return list(dict.fromkeys(files)), list(problems)


def _reports_in(directory: Path, policy: Policy) -> list[Path]:
    """The reports that should be in a directory, and the shards that are.

    Jobs that were collected in one directory leave the manifest of one of them, if any. So where more is
    there than it notes, it says nothing of what else should be. Which shard is missing is for who reads them
    to say.
    """
    noted = read_manifest(directory).suites
    stems = sorted(file.stem for file in directory.glob("*.json"))
    found = {
        suite.name: [stem for stem in stems if _holds(stem, suite, policy)]
        for suite in policy.suites.values()
    }
    whole = bool(noted) and all(stem in noted for stems in found.values() for stem in stems)
    names = dict.fromkeys(noted)
    for suite, stems in found.items():
        names |= dict.fromkeys(stems or ([] if whole else [suite]))
    return [directory / f"{name}.json" for name in names]


def _holds(stem: str, suite: Suite, policy: Policy) -> bool:
    """Whether a file of a directory is a report: beside reports there are verdicts and the like."""
    if suite_in(stem, policy.suites) != suite.name:
        return False
    return stem == suite.name or suite.shards > 0 or shard_in(stem) is not None

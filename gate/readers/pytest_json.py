"""pytest-json-report -> SuiteRun.

The plugin writes its file once, at the end. So a missing, cut or half-filled file means that pytest
did not finish, and every such sign is an error here: a report is used whole or not at all.
"""

import json
import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec

from gate.model import LAST_SECOND, Outcome, Problem, Shard, SuiteRun, TestOutcome
from gate.policy import Policy, is_suite
from gate.readers.errors import ReportError, position
from gate.readers.failures import describe
from gate.readers.measurements import Recorded, impossible
from gate.readers.naming import shard_in, suite_in
from gate.readers.salvage import failed_tests
from pytest_regression_gate.metrics import (
    UNKNOWN_ENVIRONMENT,
    Environment,
)

DEFAULT_SUITE: Final = "default"
_RERUN: Final = "run the suite again and read its log"

_LONGEST_NAME: Final = 300

_UNFINISHED: Final = frozenset({"failed", "error", "rerun"})

_EXIT_CODES: Final = {
    2: "pytest was interrupted",
    3: "pytest had an internal error",
    4: "pytest was called wrongly",
    5: "pytest collected no test",
}


class _Crash(msgspec.Struct):
    path: str = ""
    lineno: int = 0
    message: str = ""


class _Frame(msgspec.Struct):
    path: str = ""
    lineno: int = 0
    message: str = ""


class _Stage(msgspec.Struct):
    outcome: str
    duration: float = 0.0
    crash: _Crash | None = None
    traceback: list[_Frame] = []
    longrepr: Any = None


class _GateMetadata(msgspec.Struct):
    metrics: list[Any] = []
    """Each is a `Measurement`, or costs itself alone."""
    executed: dict[str, list[str]] = {}
    attempts: Annotated[int, msgspec.Meta(ge=1)] = 1
    failure: str = ""
    subtests: list[tuple[str, str]] = []
    """Failed parts of the test: which, and how."""
    untimed: bool = False
    """It used another plugin's `benchmark` fixture, and nothing was timed."""
    damaged: str = ""
    """Why all of it was left out."""


_OURS: Final = frozenset(_GateMetadata.__struct_fields__)


class _Test(msgspec.Struct, dict=True):
    nodeid: str
    outcome: str
    setup: _Stage | None = None
    call: _Stage | None = None
    teardown: _Stage | None = None
    crashed: _Stage | None = msgspec.field(default=None, name="???")
    """Written by pytest-xdist for a test whose worker died."""
    metadata: Any = None
    """What the tests themselves and other plugins wrote stands here, too."""

    @property
    def stages(self) -> list[_Stage]:
        """Those it came to, of its last attempt."""
        return [stage for stage in (self.setup, self.call, self.teardown, self.crashed) if stage is not None]

    @property
    def duration(self) -> float:
        """Seconds of the call phase, as the test's clock says."""
        return self.call.duration if self.call else 0.0

    @property
    def final(self) -> Outcome:
        """What became of it in the end.

        pytest-json-report lets "rerun" stand when the last attempt passed. Each attempt overwrites the stages
        of the one before; if one that was to be repeated is left, the last attempt did not come so far. So it
        does with the last subtest, which is called by a word of its own; one that fails makes its test fail.
        """
        if not _are_examples(self.gate.subtests) and self.outcome != "error":
            return "failed"  # of subtests the last one tells, or what comes after; a doctest tells itself
        match self.outcome:
            case "rerun" | "subtests passed" | "subtests skipped":
                stages = (self.setup, self.call, self.teardown)
                lost = any(stage.outcome in _UNFINISHED for stage in stages if stage)
                return "failed" if lost or self.call is None else "passed"
            case "subtests failed":
                return "failed"
            case "failed" | "error" as known:
                return known
            case "passed" | "skipped" | "xfailed" | "xpassed" as known:
                # A fixture that skips in its teardown gives a failed test another word.
                return (
                    "failed" if any(stage.outcome in {"failed", "error"} for stage in self.stages) else known
                )
            case _:  # a word of another plugin's
                return self._by_stages

    @property
    def _by_stages(self) -> Outcome:
        """What became of it as its stages tell."""
        ends = {stage.outcome for stage in self.stages}
        if ends & _UNFINISHED or not ends:
            return "failed"
        return "skipped" if "skipped" in ends else "passed"

    @property
    def retried(self) -> bool:
        """Whether a plugin says that it ran more than once, and not how often."""
        return self.outcome in {"rerun", "retried", "flaky"}

    @cached_property
    def gate(self) -> _GateMetadata:
        """What the gate's plugin left; a value of that name that is another's is none."""
        found = cast(dict[str, Any], self.metadata).get("gate") if isinstance(self.metadata, dict) else None
        if not isinstance(found, dict) or not _OURS & cast(dict[str, Any], found).keys():
            return _GateMetadata()
        try:
            return msgspec.convert(found, _GateMetadata)
        except msgspec.ValidationError as error:
            return _GateMetadata(damaged=str(error))


class _Collector(msgspec.Struct):
    nodeid: str
    outcome: str
    longrepr: Any = None


class _Summary(msgspec.Struct):
    total: int = 0
    collected: int | None = None
    deselected: int = 0


class _RunMetadata(msgspec.Struct):
    suite: str = ""
    commit: str = ""
    dirty: bool = False
    """Earlier gates said this alone."""
    uncommitted: tuple[str, ...] = ()
    environment: Environment | None = None
    shard: Shard | None = None
    uses: dict[str, str] = {}


class _Report(msgspec.Struct):
    created: Annotated[float, msgspec.Meta(ge=0, lt=LAST_SECOND)]
    exitcode: int
    summary: _Summary
    duration: float = 0.0
    root: str = ""
    environment: dict[str, Any] = {}
    collectors: list[_Collector] = []
    tests: list[_Test] | None = None
    gate: _RunMetadata | None = None

    @property
    def uncollected(self) -> list[_Collector]:
        """Files, or classes, whose tests could not be found."""
        return [collector for collector in self.collectors if collector.outcome == "failed"]


def read(path: Path, data: bytes, policy: Policy) -> SuiteRun:
    """Read one report.

    Raises:
        ReportError: the file is no whole report of a finished pytest; with file, place, remedy, and the
            tests of which it says all the same that they failed.
    """
    try:
        report = _decode(path, data)
        _check_complete(path, report)
    except ReportError as error:
        raise _with_failures(error.problem, data) from None
    name = _suite_name(path, report, policy)
    tests: dict[str, TestOutcome] = {}
    executed: dict[str, frozenset[str]] = {}
    seconds = report.duration if math.isfinite(report.duration) and report.duration > 0 else 0.0
    recorded = Recorded(name, seconds)
    suite = policy.suites.get(name)
    for collector in report.uncollected:  # pytest went on with the other files
        tests[collector.nodeid] = _uncollected(collector, name, report.root)
    counted, again = _once(report.tests or ())
    for test in counted:
        tests[test.nodeid] = outcome = _outcome(test, name, report.root, seconds)
        if test.gate.damaged:
            remedy = "rename the key 'gate' in the test's metadata; the gate reserves it"
            recorded.refuse(test.nodeid, test.nodeid, f"metadata['gate']: {test.gate.damaged}", remedy)
        if outcome.failed or outcome.outcome == "xfailed":
            continue  # what a failed test measured is no measurement
        recorded.add(test.nodeid, test.gate.metrics)
        for other in again.get(test.nodeid, ()):
            recorded.add(test.nodeid, other.gate.metrics)  # nobody knows which of the two is meant
        executed |= {name: frozenset(code) for name, code in test.gate.executed.items()}
        if suite is not None and suite.durations and not outcome.silent:
            recorded.add_duration(test.nodeid, test.duration)
    return SuiteRun(
        name=name,
        environment=_environment(report),
        commit=report.gate.commit if report.gate else "",
        uses=report.gate.uses if report.gate else {},
        uncommitted=report.gate.uncommitted or ("?",) * report.gate.dirty if report.gate else (),
        created=report.created,
        tests=tests,
        metrics=recorded.metrics,
        executed=executed,
        source=str(path),
        loads=recorded.loads,
        shard=(report.gate.shard if report.gate else None) or shard_in(path.stem),
        seconds=seconds,
        invalid=tuple(recorded.invalid),
    )


def _with_failures(problem: Problem, data: bytes) -> ReportError:
    """What keeps a report from being judged hides no failure that stands in it."""
    failed = [nodeid for nodeid in failed_tests(data) if nodeid not in problem.message]
    if not failed:
        return ReportError(problem.subject, problem.message, problem.remedy)
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    name = " ".join(failed[0].split())[:_LONGEST_NAME]
    return ReportError(problem.subject, f"{problem.message}; {name}{more} failed", problem.remedy)


def _once(tests: Sequence[_Test]) -> tuple[list[_Test], dict[str, list[_Test]]]:
    """Each test once, and by nodeid what else one did that ran twice (`--keep-duplicates`).

    Of such a test a failure counts, else the last time.
    """
    by_id: dict[str, list[_Test]] = {}
    for test in tests:
        by_id.setdefault(test.nodeid, []).append(test)
    counted: list[_Test] = []
    for times in by_id.values():
        failed = next((test for test in times if test.final in {"failed", "error"}), times[-1])
        times.remove(failed)
        counted.append(failed)
    return counted, by_id


def _decode(path: Path, data: bytes) -> _Report:
    where = str(path)
    if not data.strip():
        raise ReportError(where, "the report is empty", f"pytest was stopped while it wrote; {_RERUN}")
    try:
        try:
            report = msgspec.json.decode(data, type=_Report)
        except (msgspec.ValidationError, RecursionError):
            raise
        except (msgspec.DecodeError, UnicodeDecodeError):
            report = msgspec.convert(_as_python_wrote_it(data), _Report)
    except msgspec.ValidationError as error:
        message = f"not a pytest-json-report: {error}{_nodeid_at(data, str(error))}"
        raise ReportError(where, message, _RERUN) from None
    except msgspec.DecodeError as error:
        if "truncated" in str(error) or (data.lstrip()[:1] == b"{" and data.rstrip()[-1:] != b"}"):
            message = f"the report is cut off after {len(data):,} bytes"
            raise ReportError(where, message, f"pytest was stopped while it wrote; {_RERUN}") from None
        raise ReportError(where, f"not JSON: {_syntax(str(error), data)}", _RERUN) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ReportError(where, f"not JSON: {error}", _RERUN) from None
    if not math.isfinite(report.created) or report.created <= 0:
        raise ReportError(where, f"'created' is {report.created}, not a time", _RERUN)
    if report.tests is None:
        raise ReportError(where, "the report holds no tests", "leave out --json-report-summary")
    return report


def _as_python_wrote_it(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """A document with NaN and Infinity, which Python's encoder writes, and with halves of characters.

    Raises:
        msgspec.DecodeError: it is no JSON in that sense either.
    """
    try:
        return json.loads(
            json.dumps(json.loads(data.decode(errors="replace")), ensure_ascii=False).encode(errors="replace")
        )
    except ValueError:
        return msgspec.json.decode(data)  # which says where


def _syntax(error: str, data: bytes) -> str:
    """A decoder's message, with line, column and test instead of a byte offset.

    Python's own encoder writes NaN and Infinity, which are no JSON: they get their name.
    """
    offset = re.search(r"\(byte (\d+)\)", error)
    if offset is None:
        return error
    at = int(offset[1])
    named = re.match(rb"[^,\[\s]*(NaN|Infinity)", data[max(0, at - 2) : at + 9].lstrip(b"[, "))
    problem = f"{named[1].decode()} is not a number" if named else error.replace(f" {offset[0]}", "")
    return f"{problem} ({position(data, at)})"


def _nodeid_at(data: bytes, place: str) -> str:
    """The nodeid of `tests[3]`, so that nobody has to count."""
    index = re.search(r"tests\[(\d+)\]", place)
    if index is None:
        return ""
    try:
        tests = msgspec.json.decode(data)["tests"]
        return f" ({tests[int(index[1])]['nodeid']})"
    except (KeyError, TypeError, IndexError, RecursionError, UnicodeDecodeError, msgspec.DecodeError):
        return ""


def _check_complete(path: Path, report: _Report) -> None:
    """Refuse reports of a pytest that did not run everything it was asked to."""
    where, tests, summary = str(path), report.tests or [], report.summary
    broken = report.uncollected
    if broken and (report.exitcode != 1 or not tests or not all(collector.nodeid for collector in broken)):
        first = broken[0]
        reason = _last_line(first.longrepr)
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        message = f"collection of {first.nodeid or 'the tests'}{more} failed: {reason}"
        raise ReportError(where, message, "fix the import or syntax error; its tests did not run")
    share = (report.gate.shard if report.gate else None) or shard_in(path.stem)
    if report.exitcode == 5 and share and share.of > 1 and not tests:
        return  # a share without a test, where a suite has fewer tests than shares
    if report.exitcode not in {0, 1}:
        meaning = _EXIT_CODES.get(report.exitcode, "pytest did not finish")
        raise ReportError(where, f"{meaning} (exit code {report.exitcode})", _RERUN)
    if not tests:
        raise ReportError(
            where, "the report holds no test", "check the suite's 'run' command: it selects nothing"
        )
    expected = max(summary.total, (summary.collected or 0) - summary.deselected)
    if len(tests) < expected:
        message = f"only {len(tests):,} of {expected:,} tests are in the report"
        raise ReportError(where, message, "pytest stopped early; run the suite without -x and --maxfail")
    failed = broken or any(test.final in {"failed", "error"} for test in tests)
    if report.exitcode == 1 and not failed:
        raise ReportError(where, "pytest ended with exit code 1 although no test failed", _RERUN)


def _suite_name(path: Path, report: _Report, policy: Policy) -> str:
    """Which suite this is: as the run says, else as the file is named, else the only one there is.

    A suite that the policy does not have is one that the head adds.
    """
    if report.gate and is_suite(report.gate.suite):
        return report.gate.suite
    if name := suite_in(path.stem, policy.suites):
        return name
    return next(iter(policy.suites)) if len(policy.suites) == 1 else DEFAULT_SUITE


def _environment(report: _Report) -> Environment:
    if report.gate and report.gate.environment:
        return report.gate.environment
    python, platform = report.environment.get("Python"), report.environment.get("Platform")
    if not isinstance(python, str) or not isinstance(platform, str):
        return UNKNOWN_ENVIRONMENT
    return Environment(cpu="unknown", cores=0, os=platform, python=".".join(python.split(".")[:2]))


def _outcome(test: _Test, suite: str, root: str, seconds: float) -> TestOutcome:
    failure, reason, attempts = None, "", test.gate.attempts
    if test.final in {"failed", "error"}:
        stage = next((stage for stage in test.stages if stage.outcome in _UNFINISHED), None)
        crash = stage.crash if stage and stage.crash else _Crash()
        message = crash.message or _last_line(stage.longrepr if stage else None)
        if test.gate.subtests and not crash.message:
            message = _failed_parts(test.gate.subtests)
        parts = list(test.gate.subtests)
        stages = _failed_stages(test)
        if len(stages) > 1:  # a known failure does not cover a new one of the teardown
            message = "; ".join(f"[{name}] {how}" for name, how in stages)
            parts += stages
        frames = [(frame.path, frame.lineno) for frame in stage.traceback] if stage else []
        kind = stage.traceback[-1].message if stage and stage.traceback else ""
        failure = describe(
            message,
            kind,
            frames or ([(crash.path, crash.lineno)] if crash.path else []),
            root,
            parts,
        )
    elif test.final == "skipped":
        skips = (stage.longrepr for stage in test.stages if stage.outcome == "skipped")
        reason = _skip_reason(next(skips, None))
    elif test.retried:
        reason = test.gate.failure or (_last_line(test.crashed.longrepr) if test.crashed else "")
    return TestOutcome(
        nodeid=test.nodeid,
        suite=suite,
        outcome=test.final,
        duration=0.0 if impossible(test.duration, seconds) else test.duration,
        failure=failure,
        reason=reason,
        attempts=None if test.retried and attempts == 1 else attempts,
        untimed=test.gate.untimed,
    )


def _failed_stages(test: _Test) -> list[tuple[str, str]]:
    """Which stages of the last attempt failed, and how."""
    stages = {"setup": test.setup, "call": test.call, "teardown": test.teardown}
    if test.setup and test.setup.outcome in _UNFINISHED:
        del stages["call"]  # of an earlier attempt, if there is one
    return [
        (name, (stage.crash.message if stage.crash else "").partition("\n")[0] or _last_line(stage.longrepr))
        for name, stage in stages.items()
        if stage and stage.outcome in _UNFINISHED
    ]


def _are_examples(parts: Sequence[tuple[str, str]]) -> bool:
    """Whether none of the failed parts is a subtest: they are examples of a doctest."""
    return all(which.startswith(">>> ") for which, _ in parts)


def _failed_parts(parts: Sequence[tuple[str, str]]) -> str:
    word = "examples" if _are_examples(parts) else "subtests"
    return f"failed {word}: {'; '.join(f'[{which}] {how}' for which, how in parts)}"


def _uncollected(collector: _Collector, suite: str, root: str) -> TestOutcome:
    """A file whose tests nobody knows, as one test that fails."""
    failure = describe(_last_line(collector.longrepr), "", [(collector.nodeid, 1)], root)
    return TestOutcome(collector.nodeid, suite, "error", 0.0, failure, "")


def _skip_reason(longrepr: object) -> str:
    """The reason in `('path', 12, 'Skipped: reason')`, which pytest-json-report writes as text."""
    text = str(longrepr or "")
    match = re.search(r"Skipped: (.*?)['\"]?\)?$", text, re.DOTALL)
    return (match[1] if match else text).strip()


def _last_line(text: object) -> str:
    """The line of a traceback that says what was wrong: where its last block of `E` begins, or the last."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    marked = {index for index, line in enumerate(lines) if line.startswith("E ")}
    at = max((index for index in marked if index - 1 not in marked), default=-1)
    return lines[at].removeprefix("E ").strip()[:300]

"""The cases: one real change for the worse each, the real command, and whether it turned red for it."""

import ast
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from gate.model import Metric
from gate.nodeids import file_of
from gate.policy import Policy
from gate.readers import read_run
from gate.selftest.copies import Copy, Said
from gate.selftest.dependency import CALL, updated_dependency
from gate.selftest.target import Target, loosened
from gate.units import format_change
from gate.verdict import EXIT_CODES
from pytest_regression_gate.metrics import subject_of
from pytest_regression_gate.variables import SELECT_VARIABLE

_LONG: Final = 400
"""Characters of an error that was not expected."""
_SABOTAGE: Final = '__import__("pytest_regression_gate.sabotage", fromlist=["_"])'
_REFUSING: Final = f"{_SABOTAGE}.refuse()"


class Found(msgspec.Struct, frozen=True):
    """What a verdict file says of one finding; other keys do not matter here."""

    kind: str
    level: str
    subject: str
    state: str | None = None
    change: float | None = None
    message: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What `gate check` said."""

    verdict: str
    exit_code: int
    findings: list[Found] = []

    def of(self, kind: str, subject: str = "") -> list[Found]:
        """Findings of a kind about a subject or one of its statistics."""
        return [
            found
            for found in self.findings
            if found.kind == kind and (not subject or found.subject == subject or _about(found, subject))
        ]


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    expected: str
    said: str
    exit_code: int | None
    ok: bool | None
    """None: not checked; `said` has the reason."""
    seconds: float = 0.0


class NotCheckedError(Exception):
    """A case cannot be tried here; the message is the reason."""


@dataclass(frozen=True)
class Stage:
    """The copy with a throw-away baseline of the chosen tests, as the base of every case."""

    copy: Copy
    policy: Policy
    target: Target
    thresholds: str
    """The policy's file name."""
    baseline: Path
    inside: bool
    """Whether the baseline lies in the copy, where a pull request can edit it."""
    metrics: tuple[str, ...]
    """What the chosen tests measure."""
    test_root: Path
    """What nodeids are relative to."""

    @property
    def select(self) -> str:
        """The file with the chosen nodeids."""
        return str(self.copy.directory / "select")

    @property
    def baseline_files(self) -> list[Path]:
        """The stored runs of the chosen suite."""
        return sorted(self.baseline.glob(f"*/{self.target.suite.name}.jsonl"))

    def measure(self, case: str) -> Path:
        """Run the chosen tests of the copy as it is now; the directory of the report.

        Raises:
            NotCheckedError: there is no report, with the end of the log.
        """
        out = self.copy.directory / "reports" / case
        said = self.copy.gate(
            "run", self.target.suite.name, "--out", out, "--thresholds", self.thresholds,
            **{SELECT_VARIABLE: self.select},
        )  # fmt: skip
        if said.code:
            raise NotCheckedError(f"the suite wrote no report: {said.tail}")
        return out / f"{self.target.suite.name}.json"

    def accept(self, report: Path) -> Said:
        """Accept a report into the baseline of the copy."""
        return self.copy.gate(
            "baseline", "update", report, "--baseline", self.baseline, "--thresholds", self.thresholds
        )

    def check(self, report: Path) -> Outcome:
        """The real command on a report; against the last commit where the project is in git."""
        base = ("--base", "HEAD") if self.copy.versioned else ()
        baseline = () if self.inside else ("--baseline", self.baseline)
        file = self.copy.directory / "verdict.json"
        file.unlink(missing_ok=True)
        said = self.copy.gate(
            "check", report, *base, *baseline, "--json", file, "--thresholds", self.thresholds
        )
        return read_outcome(file, said)

    def spoil(self, nodeid: str, call: str) -> None:
        """Add a call of `pytest_regression_gate.sabotage` to the end of a test's file."""
        file = self.test_root / file_of(nodeid)
        if not file.is_file():
            raise NotCheckedError(f"the file of {nodeid} was not found in the copy")
        name = call.partition("(")[0]
        with file.open("a", encoding="utf-8") as text:
            text.write(f"\n\nfrom pytest_regression_gate.sabotage import {name}  # noqa: E402\n\n{call}\n")

    def spoil_function(self, statement: str) -> None:
        """Let a function of the project that the timed operation runs begin with a statement."""
        for function in self.target.own:
            path, _, name = function.partition(":")
            file = self.test_root / path
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            if (changed := with_first_line(text, name, statement)) is not None:
                file.write_text(changed, encoding="utf-8")
                return
        raise NotCheckedError("no function of the project that the operation runs can be edited")


def with_first_line(source: str, name: str, line: str) -> str | None:
    """A source with one more line at the begin of a function; None where that is not possible.

    Args:
        source: Python.
        name: qualified, of a function or a method.
        line: a statement.
    """
    node: ast.AST = ast.parse(source)
    for part in name.split("."):
        inside = (one for one in ast.iter_child_nodes(node) if getattr(one, "name", None) == part)
        if (found := next(inside, None)) is None:
            return None
        node = found
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = node.body[0]
    lines = source.splitlines(keepends=True)
    if first.lineno <= node.lineno or lines[first.lineno - 1][: first.col_offset].strip():
        return None
    lines.insert(first.lineno - 1, f"{lines[first.lineno - 1][: first.col_offset]}{line}\n")
    return "".join(lines)


def read_outcome(file: Path, said: Said) -> Outcome:
    """The verdict that a command wrote, with the exit code that its process had."""
    if not file.exists():
        return Outcome("no verdict", said.code, [Found("output", "fail", "", message=said.tail)])
    return msgspec.structs.replace(msgspec.json.decode(file.read_bytes(), type=Outcome), exit_code=said.code)


def rehearse(stage: Stage) -> Iterator[Case]:
    """Try every case, one after the other, each from the same clean state."""
    own: tuple[tuple[str, str, Callable[[Stage], Case]], ...] = (
        ("delay in its own code", "red: regression, confirmed", _own_delay),
        ("broken function", "red: new-failure", _own_failure),
        ("delay in a dependency", "red: regression, confirmed", _dependency_delay),
        ("broken dependency", "red: new-failure", _dependency_failure),
    )
    own = own if stage.copy.versioned and stage.target.own else ()
    cases: tuple[tuple[str, str, Callable[[Stage], Case]], ...] = (
        ("unchanged, alone", "green", _unchanged),
        ("injected delay", "red: regression, confirmed", _delay),
        ("failing test", "red: new-failure", _failure),
        *own,
        ("lost metric", "red: missing-metric", _lost),
        ("empty report", "error: report-error", _empty),
        ("corrupt baseline", "error: report-error", _corrupt),
        ("edited policy", "red: policy-change, nothing hidden", _edited),
    )
    for name, expected, attempt in cases:
        stage.copy.listen(f"selftest: {name}")
        begun = time.monotonic()
        try:
            case = attempt(stage)
        except NotCheckedError as reason:
            case = not_checked(str(reason))
        finally:
            stage.copy.restore()
        yield replace(case, name=name, expected=expected, seconds=time.monotonic() - begun)


def not_checked(reason: str) -> Case:
    """A case that does not apply here."""
    return Case("", "", f"not checked: {reason}", None, None)


def green(outcome: Outcome) -> Case:
    """Expected: passed. What could not be decided on this machine is not checked."""
    failing = [found for found in outcome.findings if found.level == "fail"]
    said = describe(failing[:3]) if failing else outcome.verdict
    if outcome.exit_code == EXIT_CODES["inconclusive"]:
        return not_checked(f"left open: {said}")
    return Case("", "", said, outcome.exit_code, outcome.exit_code == 0)


def _unchanged(stage: Stage) -> Case:
    return green(stage.check(stage.measure("unchanged")))


def _delay(stage: Stage) -> Case:
    subject = _slow_down(stage)
    return _slow(stage, stage.check(stage.measure("delay")), subject)


def _timed(stage: Stage) -> Metric:
    if stage.target.timed is None:
        raise NotCheckedError("no time that the measure fixture takes has a tolerance")
    return stage.target.timed


def _slow_down(stage: Stage) -> str:
    timed = _timed(stage)
    stage.spoil(timed.nodeid, f"slower({timed.subject!r}, {stage.target.delay:.4g})")
    return timed.subject


def _slow(stage: Stage, outcome: Outcome, subject: str) -> Case:
    """Expected: the slow operation is named; confirmed on this machine where there is a base."""
    found = [f for f in outcome.of("regression", subject) if f.level == "fail"]
    if found and all(f.state == "inconclusive" for f in found):
        raise NotCheckedError(f"{subject} could not be decided on this machine; try again when it is quiet")
    if stage.copy.versioned and stage.policy.confirm != "off":
        found = [f for f in found if f.state == "confirmed"]
    return _case(outcome, found[:1], ok=outcome.exit_code == 1 and bool(found))


def _failure(stage: Stage) -> Case:
    _break(stage)
    outcome = stage.check(stage.measure("failure"))
    found = outcome.of("new-failure", stage.target.breaks)
    return _case(outcome, found, ok=outcome.exit_code == 1 and bool(found))


def _delaying(stage: Stage) -> str:
    return f"{_SABOTAGE}.spin({stage.target.delay:.4g})"


def _own_delay(stage: Stage) -> Case:
    """The base beside the head must have the function as it was."""
    subject = _timed(stage).subject
    stage.spoil_function(_delaying(stage))
    return _slow(stage, stage.check(stage.measure("own-delay")), subject)


def _own_failure(stage: Stage) -> Case:
    stage.spoil_function(_REFUSING)
    return _broken(stage, stage.check(stage.measure("own-failure")))


def _dependency_delay(stage: Stage) -> Case:
    """The base beside the head must have the release that its commit requires."""
    subject = _timed(stage).subject
    stage.spoil_function(CALL)
    with updated_dependency(stage.copy, _delaying(stage)) as copy:
        there = replace(stage, copy=copy)
        return _slow(stage, there.check(there.measure("dependency-delay")), subject)


def _dependency_failure(stage: Stage) -> Case:
    stage.spoil_function(CALL)
    with updated_dependency(stage.copy, _REFUSING) as copy:
        there = replace(stage, copy=copy)
        return _broken(stage, there.check(there.measure("dependency-failure")))


def _broken(stage: Stage, outcome: Outcome) -> Case:
    """Expected: the test of the timed operation fails anew."""
    found = outcome.of("new-failure", _timed(stage).nodeid)
    return _case(outcome, found, ok=outcome.exit_code == 1 and bool(found))


def _break(stage: Stage) -> None:
    nodeid = stage.target.breaks
    path = nodeid.partition("::")[2].partition("[")[0]
    stage.spoil(nodeid, f"fail(globals(), {path!r})")


def _lost(stage: Stage) -> Case:
    recorded = stage.target.recorded
    if recorded is None:
        raise NotCheckedError("no test of this repository records a metric")
    stage.spoil(recorded.nodeid, f"forget({recorded.subject!r}, {recorded.name!r})")
    report = stage.measure("lost")
    if recorded.name in read_run([report], stage.policy, complete=False).metrics:
        raise NotCheckedError(f"{recorded.name} is not recorded by the measure fixture")
    outcome = stage.check(report)
    found = outcome.of("missing-metric", recorded.subject)
    return _case(outcome, found, ok=outcome.exit_code == 1 and bool(found))


def _empty(stage: Stage) -> Case:
    report = stage.copy.directory / "reports" / "unchanged" / f"{stage.target.suite.name}.json"
    report.write_bytes(b"")
    outcome = stage.check(report)
    found = [f for f in outcome.of("report-error") if report.name in f.subject]
    return _case(outcome, found, ok=outcome.exit_code == EXIT_CODES["error"] and bool(found))


def _corrupt(stage: Stage) -> Case:
    """A line is cut in the middle, in the commit that the gate reads."""
    file = stage.baseline_files[-1]
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    lines[-1] = lines[-1][: len(lines[-1]) // 2]
    file.write_bytes(b"".join(lines))
    try:
        if stage.inside:
            stage.copy.commit("a damaged baseline")
        outcome = stage.check(stage.measure("corrupt"))
    finally:
        file.write_bytes(whole)
        if stage.inside:
            stage.copy.commit("the baseline as it was")
    found = [f for f in outcome.of("report-error") if file.name in f.subject]
    return _case(outcome, found, ok=outcome.exit_code == EXIT_CODES["error"] and bool(found))


def _edited(stage: Stage) -> Case:
    """What a pull request could try: be slow and broken, loosen the rules, and accept its own run."""
    if not stage.copy.versioned:
        raise NotCheckedError("only a git repository has a base whose rules a change cannot edit")
    subject = _slow_down(stage) if stage.target.timed else ""
    breaks = stage.target.timed is None or stage.target.breaks != stage.target.timed.nodeid
    if breaks:  # a failing test's metrics would not count
        _break(stage)
    policy = stage.copy.root / stage.thresholds
    policy.write_text(
        rewritten(policy.read_text(encoding="utf-8"), stage.metrics, loosened), encoding="utf-8"
    )
    report = stage.measure("edited")
    if stage.inside:
        for file in stage.baseline_files:
            file.unlink()
        stage.accept(report)
    outcome = stage.check(report)
    changes = outcome.of("policy-change")
    expected = [len(changes) > stage.inside]  # the rules, and the baseline where a change can reach it
    found = list(changes)
    if subject:
        slow = _slow(stage, outcome, subject)
        found += [f for f in outcome.of("regression", subject) if f.level == "fail"][:1]
        expected.append(bool(slow.ok))
    if breaks:
        failures = outcome.of("new-failure", stage.target.breaks)
        found += failures
        expected.append(bool(failures))
    return _case(outcome, found, ok=outcome.exit_code == 1 and all(expected))


def rewritten(text: str, metrics: Iterable[str], change: Callable[[Any, list[str]], Any]) -> str:
    """A policy's text after a change of its document."""
    return yaml.safe_dump(change(yaml.safe_load(text), list(metrics)), sort_keys=False, allow_unicode=True)


def _case(outcome: Outcome, found: list[Found], *, ok: bool) -> Case:
    shown = found or [f for f in outcome.findings if f.level == "fail"][:2]
    said = describe(shown) or outcome.verdict
    if not ok:
        errors = [f.message[-_LONG:] for f in outcome.findings if f.kind in {"report-error", "output"}]
        said = "; ".join([said, *errors])
    return Case("", "", said, outcome.exit_code, ok)


def describe(found: Iterable[Found]) -> str:
    """Findings in a few words each."""
    parts: dict[str, None] = {}
    for one in found:
        change = f" {format_change(one.change)}" if one.change is not None else ""
        state = f" ({one.state})" if one.state else ""
        subject = one.subject.rpartition("/")[2]
        parts[f"{one.kind} {subject}{change}{state}"] = None
    return "; ".join(parts)


def _about(found: Found, subject: str) -> bool:
    try:
        return subject_of(found.subject) == subject
    except ValueError:  # a test or a file
        return False

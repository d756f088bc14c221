"""The verdict: every judged fact, and what follows from all of them. No I/O, no clock."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple, cast, get_args

import msgspec

from gate.accounts import Account
from gate.units import Bounded

SCHEMA: Final = "gate.verdict/1"

Level = Literal["fail", "warn", "info"]
State = Literal["suspect", "confirmed", "cleared", "inconclusive", "waived", "machine"]
VerdictWord = Literal["passed", "failed", "inconclusive", "error"]
Kind = Literal[
    "report-error",
    "policy-change",
    "new-failure",
    "changed-failure",
    "missing-test",
    "newly-skipped",
    "missing-metric",
    "limit",
    "known-limit",
    "invalid-load",
    "invalid-value",
    "unaccounted",
    "regression",
    "flaky",
    "drift",
    "rule",
    "environment",
    "known-failure",
    "fixed",
    "improvement",
    "moved-test",
    "new-test",
    "new-metric",
]
"""What a finding is about, in the order in which people want to read them."""

Section = Literal["unusable", "tests", "loads", "regressions", "limits", "missing metrics", "other"]
"""Where a failing finding stands in the comment."""


class KindRow(NamedTuple):
    """What is decided about a kind of finding, in one row."""

    one: str
    many: str
    """What one and what several findings are called."""
    section: Section
    of_test: bool = False
    """Its subject is a test."""
    waivable: bool = False
    """A waiver can permit it. A new failure is fixed, and what could not be read or measured cannot be."""
    refused: bool = False
    """A run in which it fails is accepted only with a reason, once there is something to compare with."""
    unclean: bool = False
    """A run in which it fails teaches nothing about noise."""
    told: bool = False
    """It has a line of its own on a terminal, although nothing has to be done about it."""
    strict: bool = True
    """Its warnings fail a strict check. What surrounds a run is no fault of it."""


KINDS: Final[Mapping[Kind, KindRow]] = {
    "report-error": KindRow("unusable report", "unusable reports", "unusable", unclean=True),
    "policy-change": KindRow("policy change", "policy changes", "other", strict=False),
    "new-failure": KindRow("new failure", "new failures", "tests", of_test=True, refused=True, unclean=True),
    "changed-failure": KindRow(
        "changed failure", "changed failures", "tests", of_test=True, refused=True, unclean=True
    ),
    "missing-test": KindRow(
        "missing test", "missing tests", "tests", of_test=True, waivable=True, refused=True
    ),
    "newly-skipped": KindRow(
        "newly skipped test", "newly skipped tests", "tests", of_test=True, waivable=True, refused=True
    ),
    "missing-metric": KindRow(
        "missing metric", "missing metrics", "missing metrics", waivable=True, refused=True
    ),
    "limit": KindRow("limit broken", "limits broken", "limits", waivable=True),
    "known-limit": KindRow("known limit", "known limits", "limits"),
    "invalid-load": KindRow("invalid load", "invalid loads", "loads", unclean=True),
    "invalid-value": KindRow(
        "invalid value", "invalid values", "missing metrics", refused=True, unclean=True
    ),
    "unaccounted": KindRow("unaccounted difference", "unaccounted differences", "other", waivable=True),
    "regression": KindRow("regression", "regressions", "regressions", waivable=True, refused=True),
    "flaky": KindRow("flaky test", "flaky tests", "tests", of_test=True, unclean=True),
    "drift": KindRow("slow drift", "slow drifts", "regressions"),
    "rule": KindRow("doubtful rule", "doubtful rules", "other"),
    "environment": KindRow("environment warning", "environment warnings", "other", strict=False),
    "known-failure": KindRow(
        "known failure", "known failures", "tests", of_test=True, waivable=True, told=True
    ),
    "fixed": KindRow("fixed test", "fixed tests", "tests", of_test=True, waivable=True, told=True),
    "improvement": KindRow("improvement", "improvements", "regressions", told=True),
    "moved-test": KindRow("moved test", "moved tests", "other", told=True),
    "new-test": KindRow("new test", "new tests", "other"),
    "new-metric": KindRow("new metric", "new metrics", "other"),
}
"""A row for every kind; whatever an output or a command decides by kind, it reads here."""

EXIT_CODES: Final[dict[VerdictWord, int]] = {"passed": 0, "failed": 1, "inconclusive": 3, "error": 4}
EXIT_USAGE: Final = 2

_KIND_ORDER: Final = {kind: index for index, kind in enumerate(get_args(Kind))}
_LEVEL_ORDER: Final[dict[Level, int]] = {"fail": 0, "warn": 1, "info": 2}


_LONGEST: Final = 100_000
_Text = Annotated[str, msgspec.Meta(max_length=_LONGEST)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
"""A verdict may come from foreign code."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One judged fact."""

    kind: Kind
    level: Level
    subject: _Text
    """A metric, a test (nodeid), a file or a suite."""
    message: _Text
    """One sentence for a person; holds every figure that matters."""
    suite: _Text = ""
    state: State | None = None
    baseline: Bounded | None = None
    head: Bounded | None = None
    unit: _Text = ""
    change: Bounded | None = None
    """Relative change, positive when the value grew; None if there is nothing to relate to."""
    interval: tuple[Bounded, Bounded] | None = None
    """Confidence bounds of the change as base and head show it on one machine."""
    history: _Text = ""
    """What the stored baseline says of a metric, in words."""
    rule: _Text = ""
    """What judged it, as written in the policy."""
    nodeids: tuple[_Text, ...] = ()
    shared: tuple[_Text, ...] = ()
    """Differences that base and head may not have had their own of, so that it stays undecided."""
    reproduce: _Text = ""
    """A command that shows it on another machine."""
    remedy: _Text = ""
    where: _Text = ""
    """`path:line` for annotations."""


class Waiver(msgspec.Struct, frozen=True):
    """A reviewed permission for one regression of one head commit."""

    subject: _Text
    """A metric, a metric without its statistic, a test; `*`: everything a waiver can permit."""
    by: _Text
    """Who gave it."""
    reason: _Text
    source: _Text = ""
    """Where it was given: the address of a comment, or the name of a label."""


class Commit(msgspec.Struct, frozen=True):
    """One side of the comparison."""

    commit: _Text


class EnvironmentSummary(msgspec.Struct, frozen=True):
    """Where the run was measured and how many accepted runs compare with it."""

    id: _Text
    """The environment of those runs; without any that of the run."""
    comparable_runs: _Count


class SuiteSummary(msgspec.Struct, frozen=True):
    """One judged suite."""

    name: _Text
    environment: EnvironmentSummary
    tests: _Count
    metrics: _Count
    report: _Text = ""
    """Hash of what was measured: this verdict is about that alone."""


class SkippedTest(msgspec.Struct, frozen=True):
    """A test that said nothing, and why."""

    nodeid: _Text
    reason: _Text


class TestCounts(msgspec.Struct, frozen=True):
    """Tests of the run by outcome; errors count as failed, expected failures as skipped."""

    __test__ = False

    passed: _Count
    failed: _Count
    skipped: _Count


class Summary(msgspec.Struct, frozen=True):
    """The run in numbers."""

    tests: TestCounts
    metrics: _Count
    compared: _Count
    """Metrics that were compared with the baseline."""
    fail: _Count
    warn: _Count


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything the gate has to say about a run. Same inputs, same bytes."""

    schema: _Text
    verdict: VerdictWord
    exit_code: _Count
    head: Commit
    base: Commit
    policy: _Text
    environment: EnvironmentSummary
    """That of the suite with the fewest comparable runs, so that a weak spot is not hidden."""
    suites: tuple[SuiteSummary, ...]
    summary: Summary
    findings: tuple[Finding, ...]
    waivers: tuple[Waiver, ...] = ()
    """Those that permitted something."""
    skipped: tuple[SkippedTest, ...] = ()
    account: Account | None = None
    """What base and head had of their own, and what not, for the tests that were asked about."""

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level, in reading order."""
        return tuple(finding for finding in self.findings if finding.level == level)


def strictly(finding: Finding) -> Finding:
    """The finding in a strict check: a warning fails, unless somebody waived it."""
    if finding.level == "warn" and KINDS[finding.kind].strict and finding.state != "waived":
        return msgspec.structs.replace(finding, level="fail")
    return finding


def decide(findings: tuple[Finding, ...]) -> VerdictWord:
    """What all findings together mean: an error hides nothing, but nothing outweighs it either."""
    failing = [finding for finding in findings if finding.level == "fail"]
    if any(finding.kind == "report-error" for finding in failing):
        return "error"
    if any(finding.state != "inconclusive" and finding.kind != "invalid-load" for finding in failing):
        return "failed"
    return "inconclusive" if failing else "passed"


def in_reading_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Changes of the rules first, then worst first, by kind, the largest change, and by name."""
    return tuple(
        sorted(
            findings,
            key=lambda finding: (
                finding.kind != "policy-change",
                _LEVEL_ORDER[finding.level],
                _KIND_ORDER[finding.kind],
                -abs(finding.change or 0.0),
                finding.suite,
                finding.subject,
                finding.message,
            ),
        )
    )


def to_json(verdict: Verdict) -> bytes:
    """The verdict as an indented JSON document that ends with a newline; no text is too long to be read."""
    return msgspec.json.format(msgspec.json.encode(_cut(msgspec.to_builtins(verdict))), indent=2) + b"\n"


def _cut(node: object) -> object:
    """A document with its texts cut: the name of a parametrised test may be of any length."""
    match node:
        case str():
            return node if len(node) <= _LONGEST else f"{node[: _LONGEST - 1]}…"
        case dict():
            return {key: _cut(value) for key, value in cast(dict[str, object], node).items()}
        case list() | tuple():
            return [_cut(value) for value in cast(Sequence[object], node)]
        case _:
            return node


def unusable(
    reason: str,
    commit: str,
    *,
    subject: str = "verdict.json",
    remedy: str = "read the log of the run, and run it again",
    where: str = "",
) -> Verdict:
    """The verdict where none can be believed, or none is there: an error, never silence.

    Args:
        reason: why.
        commit: what should have been judged.
        subject: what is wrong.
        remedy: what to do.
        where: `path:line`, if it is a place in a file.
    """
    finding = Finding(
        kind="report-error", level="fail", subject=subject, message=reason, remedy=remedy, where=where
    )
    return Verdict(
        schema=SCHEMA,
        verdict="error",
        exit_code=EXIT_CODES["error"],
        head=Commit(commit),
        base=Commit(""),
        policy="",
        environment=EnvironmentSummary("", 0),
        suites=(),
        summary=Summary(tests=TestCounts(0, 0, 0), metrics=0, compared=0, fail=1, warn=0),
        findings=(finding,),
    )


def read_verdict(data: bytes) -> Verdict:
    """Read a verdict, if it agrees with itself.

    Raises:
        ValueError: it is none, or does not.
    """
    try:
        verdict = msgspec.json.decode(data, type=Verdict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is no verdict: {error}") from None
    if verdict.schema != SCHEMA:
        raise ValueError(f"has the schema {verdict.schema[:40]!r}, not {SCHEMA!r}")
    if verdict.exit_code != EXIT_CODES[verdict.verdict]:
        raise ValueError(f"says {verdict.verdict} and exit code {verdict.exit_code}")
    if verdict.verdict == "passed" and decide(verdict.findings) != "passed":
        raise ValueError("says passed, and its findings do not")
    return msgspec.structs.replace(verdict, findings=in_reading_order(list(verdict.findings)))

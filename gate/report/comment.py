"""Verdict -> the one comment on a pull request: what got worse, whether to believe it, what to do.

Foreign text is inert (`gate.report.markdown`); the whole stays under GitHub's limit, and what is cut is said.
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from gate.report.document import Cell, Code, Table
from gate.report.markdown import code, escape, table
from gate.report.words import advice, as_one, both_sides, counted, gathered, happened, headline
from gate.units import amount, format_bound, format_change
from gate.verdict import KINDS, EnvironmentSummary, Finding, Section, State, Verdict
from gate.waivers import waive_command

LIMIT: Final = 65_000
"""Characters; GitHub takes 65,536, and the hidden line that marks the comment comes on top."""
_MARKS: Final = {"passed": "✅", "failed": "❌", "inconclusive": "❔", "error": "💥"}
_ROWS: Final = 10
"""Rows of a table that are seen at once."""
_FOLDED: Final = 90
"""Further rows that can be unfolded."""
_CELL: Final = 300
"""Characters of one text; a test's name may be of any length."""
_COMMANDS: Final = 15

_HOW: Final[dict[State, str]] = {
    "confirmed": "confirmed on one machine",
    "suspect": "not measured again",
    "inconclusive": "not decided",
    "cleared": "not confirmed on one machine",
    "machine": "nothing changed that it runs",
    "waived": "waived",
}


@dataclass(frozen=True)
class Links:
    """Where a reader can go on."""

    run: str = ""
    """The workflow run: logs, reports, the page."""


NO_LINKS: Final = Links()


@dataclass(frozen=True)
class _Table:
    """A title, and rows below a header; folded sections are unfolded by hand."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    folded: bool = False


def comment(verdict: Verdict, links: Links = NO_LINKS, *, limit: int = LIMIT) -> str:
    """The comment of a verdict.

    Args:
        verdict: what the gate has to say.
        links: where to read more.
        limit: characters at most.
    """
    head = [
        f"### {_MARKS[verdict.verdict]} {escape(_clipped(headline(verdict)))}",
        _advice(verdict),
        *_policy_changes(verdict),
    ]
    tail = [*_commands(verdict), _ground(verdict, links)]
    left = limit - sum(len(part) + 2 for part in (*head, *tail))
    body: list[str] = []
    for section in _sections(verdict):
        text, left = _fitted(section, left, links)
        body += [text] if text else []
    return ("\n\n".join((*head, *body, *tail)) + "\n")[:limit]


def quiet_comment(verdict: Verdict, links: Links = NO_LINKS) -> str:
    """One line, for a comment that is there already and has nothing to say any more."""
    run = f" · [run]({links.run})" if links.run else ""
    return f"{_MARKS[verdict.verdict]} {escape(_clipped(headline(verdict)))}{run}\n"


def silent(verdict: Verdict) -> bool:
    """Whether there is nothing that a person should read."""
    return verdict.verdict == "passed" and not any(f.level == "warn" for f in verdict.findings)


def _advice(verdict: Verdict) -> str:
    text = advice(verdict)
    what, colon, command = text.partition(": ")
    first = verdict.of_level("fail")[:1]
    if colon and first and command == first[0].reproduce and command:
        return f"**{escape(_clipped(what))}:** {code(_clipped(command))}"
    return f"**{escape(_clipped(text))}**"


def _policy_changes(verdict: Verdict) -> list[str]:
    """Changes of the rules, before everything else."""
    changes = [finding for finding in verdict.findings if finding.kind == "policy-change"]
    if not changes:
        return []
    lines = [f"> - {code(_clipped(f.subject))} {escape(_clipped(f.message))}" for f in changes[:_ROWS]]
    more = [f"> - and {len(changes) - _ROWS} more"] if len(changes) > _ROWS else []
    return ["\n".join(("> [!IMPORTANT]", "> **This pull request changes the rules:**", *lines, *more))]


def _sections(verdict: Verdict) -> list[_Table]:
    fail, warn, info = (verdict.of_level(level) for level in ("fail", "warn", "info"))
    waived = [finding for finding in warn if finding.state == "waived"]
    rest = [f for f in warn if f.state != "waived" and f.kind != "policy-change"]
    known = [finding for finding in info if finding.kind in {"known-failure", "fixed"}]
    other = [f for f in info if f.kind not in {"known-failure", "fixed"} and f.state != "cleared"]
    cleared = [finding for finding in info if finding.state == "cleared"]
    failing = {
        section: [f for f in fail if KINDS[f.kind].section == section] for section in get_args(Section)
    }
    groups = gathered(failing["tests"])
    alike = [finding for group in groups if len(group) > 1 for finding in group]
    sections = [
        _plain("Could not be judged", failing["unusable"], "File"),
        _plain("Tests", map(as_one, groups), "Test"),
        _plain(f"each of the {len(alike):,} tests alike", alike, "Test", folded=True),
        _plain("Loads that were no measurement", failing["loads"], "Load"),
        _measured("Regressions", failing["regressions"]),
        _plain("Limits", failing["limits"], "Metric", rule=True),
        _plain("Missing or invalid metrics", failing["missing metrics"], "Metric"),
        _plain("Other", failing["other"], "Subject"),
        _plain("Waived", waived, "Subject"),
        _plain(
            f"Warnings: {counted(tuple(rest))}",
            map(as_one, gathered(rest)),
            "Subject",
            folded=True,
            rule=True,
        ),
        _plain(counted(tuple(known)), known, "Test", folded=True),
        _measured(counted(tuple(cleared)), cleared, folded=True),
        _plain(counted(tuple(other)), other, "Subject", folded=True),
        _Table(
            f"{len(verdict.skipped)} skipped",
            ("Test", "Reason"),
            tuple(
                (Code(_clipped(test.nodeid)), _clipped(test.reason or "no reason given"))
                for test in verdict.skipped
            ),
            folded=True,
        ),
    ]
    return [section for section in sections if section.rows]


def _measured(title: str, findings: Sequence[Finding], *, folded: bool = False) -> _Table:
    """Metrics of both sides, how they changed, and why to believe it."""
    return _Table(
        title,
        ("Metric", "Base → head", "Change", "How it is known, by which rule"),
        tuple(
            (
                Code(_clipped(finding.subject)),
                _unbroken(both_sides(finding)),
                _change(finding),
                _clipped("; ".join(filter(None, (_how_known(finding), finding.rule)))),
            )
            for finding in findings
        ),
        frozenset({1, 2}),
        folded,
    )


def _how_known(finding: Finding) -> str:
    """What the machine said and what history said."""
    if finding.state is None or finding.kind == "drift":
        return finding.message
    if finding.state == "confirmed" and finding.interval is None:
        return "a work count, exact"
    return f"{_HOW[finding.state]}{f'; history: {finding.history}' if finding.history else ''}"


def _plain(
    title: str, findings: Iterable[Finding], what: str, *, folded: bool = False, rule: bool = False
) -> _Table:
    """What happened, in words."""
    header = (what, "What happened", *(("Rule",) if rule else ()))

    def row(finding: Finding) -> tuple[Cell, ...]:
        cells = (Code(_clipped(finding.subject)), _clipped(_with_kind(finding)))
        return (*cells, Code(_clipped(finding.rule)) if finding.rule else "") if rule else cells

    return _Table(title, header, tuple(map(row, findings)), folded=folded)


def _with_kind(finding: Finding) -> str:
    """What happened; a test's finding begins with what kind of failure it is."""
    return (
        f"{finding.kind.replace('-', ' ')}: {happened(finding)}"
        if KINDS[finding.kind].of_test
        else happened(finding)
    )


def _change(finding: Finding) -> str:
    if finding.change is None:
        return ""
    change = _unbroken(format_change(finding.change))
    if finding.interval is None:
        return change
    low, high = (_unbroken(format_bound(bound, finding.change or 0.0)) for bound in finding.interval)
    return f"{change} ({low} to {high})"


def _unbroken(text: str) -> str:
    """A text that a narrow column does not tear apart."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _fitted(section: _Table, left: int, links: Links) -> tuple[str, int]:
    """As many rows as there is room for, and the room that is left."""
    shown = min(len(section.rows), _ROWS + _FOLDED)
    while True:
        text = _rendered(section, shown, links)
        if len(text) + 2 <= left or not shown:
            break
        shown = shown * 2 // 3
    return (text, left - len(text) - 2) if len(text) + 2 <= left else ("", left)


def _rendered(section: _Table, shown: int, links: Links) -> str:
    open_rows = section.rows[: 0 if section.folded else min(shown, _ROWS)]
    hidden = section.rows[len(open_rows) : shown]
    cut = len(section.rows) - shown
    parts = [] if section.folded else [f"**{escape(_clipped(section.title))}**"]
    if open_rows:
        parts.append(table(Table(section.header, open_rows, section.numeric)))
    if hidden:
        title = section.title if section.folded else f"{len(hidden)} more"
        rows = table(Table(section.header, hidden, section.numeric))
        parts.append(_details(title, rows + (f"\n\n{_cut(cut, links)}" if section.folded and cut else "")))
    elif section.folded:
        parts.append(f"{escape(_clipped(section.title))}: not shown, see the run.")
    if cut and not section.folded:
        parts.append(_cut(cut, links))
    return "\n\n".join(parts)


def _cut(number: int, links: Links) -> str:
    where = f"the [run]({links.run})" if links.run else "the run's summary and verdict.json"
    return f"Not shown for length: {number:,} more; all of them are in {where}."


def _details(title: str, text: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>\n\n{text}\n\n</details>"


def _commands(verdict: Verdict) -> list[str]:
    """How to see it on another machine, and how to accept what is wanted."""
    failing = verdict.of_level("fail")
    commands = list(dict.fromkeys(f.reproduce for f in failing if f.reproduce))
    lines = [f"- {code(_clipped(command))}" for command in commands[:_COMMANDS]]
    if len(commands) > _COMMANDS:
        lines.append(f"- and {len(commands) - _COMMANDS} more")
    waivable = next((f for f in failing if KINDS[f.kind].waivable), None)
    if waivable:
        wish = code(_clipped(waive_command(waivable.subject)))
        lines += ["", f"Intended? Anyone with write access can accept it with a comment: {wish}"]
    title = "See it on your machine" if commands else "If that is wanted"
    return [_details(title, "\n".join(lines).strip())] if lines else []


def _ground(verdict: Verdict, links: Links) -> str:
    """What the verdict rests on."""
    environments: dict[EnvironmentSummary, list[str]] = {}
    for suite in verdict.suites:
        environments.setdefault(suite.environment, []).append(_clipped(suite.name))
    grounds = [
        f"{escape(_clipped(', '.join(names)))}: {amount(where.comparable_runs, 'accepted run')} on "
        f"{code(_clipped(where.id))}"
        for where, names in environments.items()
    ]
    head, base = verdict.head.commit[:12] or "unknown", verdict.base.commit[:12] or "none"
    parts = [
        *grounds[:_ROWS],
        f"head {code(head)}, base {code(base)}",
        f"rules: {code(_clipped(verdict.policy))}",
        *([f"[run]({links.run})"] if links.run else []),
    ]
    return f"<sub>{' · '.join(parts)}</sub>"


def _clipped(text: str) -> str:
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"

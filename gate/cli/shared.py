"""What the commands share: their options, where they write, and what they read first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gate.files import read_plain
from gate.model import Problem, Shard
from gate.policy import FILE_NAME, Policy, Suite

if TYPE_CHECKING:
    from rich.console import Console

    from gate.baseline import Baseline
    from gate.baseline.records import Memory
    from gate.report.document import Document
    from gate.verdict import Finding
    from gate.waivers import Waivers

REPORTS: Final = Path(".gate")
"""Where reports are written and looked for when nobody says otherwise."""
LAST_COMPARISON: Final = REPORTS / "comparison.kept"
"""What the last check has measured."""

_F = TypeVar("_F", bound=Callable[..., Any])


def common(command: _F) -> _F:
    """Options that every command has."""
    for option in (
        click.option(
            "--thresholds",
            "thresholds",
            type=click.Path(path_type=Path),
            default=FILE_NAME,
            show_default=True,
            metavar="FILE",
            help="The policy.",
        ),
        click.option("--quiet", is_flag=True, help="Print only what matters most."),
        click.option("--no-color", is_flag=True, help="Print without colours."),
    ):
        command = option(command)
    return command


BASELINE = click.option(
    "--baseline",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The stored baseline (default: as thresholds.yaml says).",
)
REPORT_FILES = click.argument("reports", type=click.Path(path_type=Path), nargs=-1, metavar="[REPORT]...")


def chosen_suites(names: tuple[str, ...], policy: Policy) -> list[Suite]:
    """The suites that were asked for; all of them if none was."""
    unknown = [name for name in names if name not in policy.suites]
    if unknown:
        known = ", ".join(policy.suites)
        raise click.UsageError(f"unknown suite {unknown[0]!r}; thresholds.yaml has: {known}")
    return [policy.suites[name] for name in dict.fromkeys(names)] or list(policy.suites.values())


def seconds_of(text: str | None) -> float:
    """A duration such as `20 min` or `60s`; nothing: no end."""
    from gate.units import UnitError, parse

    try:
        seconds = parse(text).to("s") if text else float("inf")
    except UnitError as error:
        raise click.UsageError(f"--budget: {error}") from None
    if seconds <= 0:
        raise click.UsageError(f"--budget: {text!r} leaves no time")
    return seconds


def shard_of(text: str | None, suites: Iterable[Suite]) -> Shard | None:
    """A share such as `2/4`, in as many as the policy says; None: nobody asked for one."""
    if text is None:
        return None
    from gate.readers.naming import shard_from

    number, _, of = text.partition("/")
    shard = shard_from(number, of)
    if shard is None:
        raise click.UsageError(f"--shard: {text!r} is no share of a suite; write e.g. 2/4")
    for suite in suites:
        if suite.shards not in {0, shard.of}:
            says = f"thresholds.yaml says that suite {suite.name!r} has {suite.shards} shards"
            raise click.UsageError(f"--shard: {text!r}, but {says}")
    return shard


def waivers_of(file: Path | None) -> Waivers:
    """The waivers of a file; none without one."""
    from gate.waivers import NO_WAIVERS, read_waivers

    try:
        return read_waivers(content_of(file)) if file else NO_WAIVERS
    except ValueError as error:
        raise click.UsageError(f"--waivers {file}: {error}") from None


def head_of(thresholds: Path) -> str:
    """The commit that is checked out beside thresholds.yaml; empty outside a repository."""
    from gate.git import head_commit

    return head_commit(thresholds.resolve().parent)


def render(document: Document, suffix: str) -> str:
    """A document as HTML or as Markdown, by the suffix of the file that it is for."""
    from gate.report.html import to_html
    from gate.report.markdown import to_markdown

    return to_html(document) if suffix == ".html" else to_markdown(document)


def content_of(path: Path) -> bytes:
    """A file that an option names; what keeps it from being read is wrong usage."""
    try:
        return read_plain(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file that an option names; what keeps it from being written is wrong usage."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None


def baseline_directory(
    baseline: Path | None, thresholds: Path, policy: Policy, *, writes: bool = True
) -> Path:
    """The directory of the baseline: as an option says, or else the policy.

    Args:
        baseline: the option.
        thresholds: the file of the policy.
        policy: its contents.
        writes: it is to be changed there, which a baseline on a branch of its own does not allow.
    """
    if writes and policy.baseline_branch and baseline is None:
        where = f"{thresholds.name} keeps the baseline on branch {policy.baseline_branch}"
        raise click.UsageError(
            f"{where}; push to it (gate baseline update --push {policy.baseline_branch}), or check it out "
            "elsewhere (git worktree add) and name its directory with --baseline"
        )
    return baseline or thresholds.parent / policy.baseline


def accepted_runs(baseline: Path | None, thresholds: Path, policy: Policy) -> tuple[Memory, str]:
    """All accepted runs, from wherever the policy keeps them, and what that place is called."""
    from gate.pipeline.load import memory_of

    on = f" on {policy.baseline_branch}" if policy.baseline_branch and baseline is None else ""
    place = f"{baseline or thresholds.parent / policy.baseline}{on}"
    return memory_of(thresholds, policy, baseline), place


def expected_runs(baseline: Path | None, thresholds: Path, policy: Policy) -> tuple[Baseline, str]:
    """What is expected at the commit that is checked out, in the names that pytest knows, and its place."""
    from gate.pipeline.load import expected_at

    memory, place = accepted_runs(baseline, thresholds, policy)
    return expected_at(memory, thresholds.absolute().parent), place


def remembered_runs(baseline: Path | None, thresholds: Path, policy: Policy) -> tuple[Baseline, str]:
    """What is expected at the commit that is checked out, in the names of verdicts, and its place."""
    from gate.model import Run
    from gate.pipeline.apart import Apart

    known, place = expected_runs(baseline, thresholds, policy)
    return Apart.of(Run({}), known, policy.suites).baseline(known), place


def complain_of(wrong: Iterable[Problem | Finding]) -> None:
    """Print what is wrong with a run, and what to do about it."""
    for one in wrong:
        complain(f"{one.subject}: {'; '.join(filter(None, (one.message, one.remedy)))}")


def console_for(no_color: bool) -> Console:
    """Where people read. No text is markup: `test_a[/users]` is the name of a test."""
    from rich.console import Console

    # A log file has no width; 120 columns read well in CI.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(no_color=no_color or None, width=width, markup=False, emoji=False)


def say(text: str, console: Console) -> None:
    """Print a line for people, harmless for a log."""
    from gate.report.text import log_line

    console.print(log_line(text), soft_wrap=True, highlight=False, markup=False)


def run_attempt() -> int:
    """Which attempt of a workflow's run this is, as GitHub says; elsewhere the first."""
    text = os.environ.get("GITHUB_RUN_ATTEMPT", "")
    return int(text) if text.isdecimal() else 1


def complain(text: str) -> None:
    """Print to the standard error, harmless for a log."""
    from gate.report.text import log_line

    for line in text.splitlines():
        click.echo(log_line(line), err=True)

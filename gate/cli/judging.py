"""`gate run`, `check` and `report`: measure a run, judge it, show it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gate.cli.shared import (
    BASELINE,
    REPORT_FILES,
    REPORTS,
    chosen_suites,
    common,
    complain_of,
    console_for,
    read_reports,
    render,
    shard_of,
    waivers_of,
    write_file,
)
from gate.model import Problem, Run
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from rich.console import Console

    from gate.evidence import Confirmation
    from gate.sources import Sources
    from gate.verdict import Verdict


@click.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=REPORTS, show_default=True,
              metavar="DIR", help="Where the reports go.")  # fmt: skip
@click.option(
    "--shard", metavar="K/N", help="Run one share; the command picks it by GATE_SHARD and GATE_SHARDS."
)
@common
def run(
    suites: tuple[str, ...], out: Path, shard: str | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Run the suites of thresholds.yaml; leave DIR/SUITE.json and DIR/SUITE.log, or DIR/SUITE.K-of-N.json.

    Failing tests are for `gate check` to judge: the exit code is 0 when every suite wrote its whole
    report, 4 when one did not.
    """
    from gate.pipeline.run import run_suites
    from gate.report.progress import ProgressDisplay
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    chosen = chosen_suites(suites, policy)
    display = ProgressDisplay(console_for(no_color), quiet)
    root, share = thresholds.resolve().parent, shard_of(shard, chosen)
    results = run_suites(chosen, policy, display, root=root, out=out, shard=share)
    sys.exit(EXIT_CODES["error"] if any(result.problem for result in results) else 0)


@click.command()
@REPORT_FILES
@BASELINE
@click.option("--base", metavar="REF", help="Take policy and baseline from the merge base with REF.")
@click.option("--no-confirm", is_flag=True, help="Judge by the stored baseline alone.")
@click.option("--confirmation", "kept", type=click.Path(path_type=Path, dir_okay=False),
              multiple=True, metavar="FILE",
              help="Judge by what gate confirm --keep measured; measure nothing.")  # fmt: skip
@click.option("--waivers", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Permissions for single regressions, as gate waivers writes them.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the verdict as JSON.")  # fmt: skip
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the verdict as Markdown.")  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the verdict as a page.")  # fmt: skip
@common
def check(
    reports: tuple[Path, ...],
    baseline: Path | None,
    base: str | None,
    no_confirm: bool,
    kept: tuple[Path, ...],
    waivers: Path | None,
    strict: bool,
    json_file: Path | None,
    markdown: Path | None,
    html: Path | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Judge reports: tests, limits, work counts and times. Without REPORT: those of the last run."""
    from gate.judge import judge
    from gate.report.terminal import print_verdict
    from gate.sources import load_sources, moves_of, untouched_suites, up_to_base
    from gate.verdict import to_json

    sources = load_sources(thresholds, baseline, base)
    run = read_reports(reports, sources.policy, thresholds, sources.problems)
    event, root = os.environ.get("GITHUB_EVENT_NAME"), thresholds.absolute().parent
    of_branch = sources.same or (bool(sources.base) and event in _OF_THE_BRANCH)
    if sources.base and not of_branch:
        sources = up_to_base(sources, run, root)
    unconfirmed = "" if no_confirm or sources.policy.confirm == "off" else _UNCONFIRMED
    rejudge = partial(
        judge, baseline=sources.baseline, policy=sources.policy, base=sources.base, notes=sources.notes,
        unconfirmed=unconfirmed, changed=sources.changed, waivers=waivers_of(waivers), strict=strict,
        touched=sources.touched, scheduled=event == "schedule",
        moved=moves_of(run, sources, root), behind=sources.behind, of_branch=of_branch,
        untouched=untouched_suites(run, sources, root, of_branch=of_branch),
    )  # fmt: skip
    if kept:
        lost = [] if run.problems else [_lost(file) for file in kept if not file.exists()]
        run = Run(suites=run.suites, problems=(*run.problems, *lost))
        found = _kept([file for file in kept if file.exists()], run, sources)
        verdict = rejudge(run, confirmation=None if sources.policy.confirm == "off" else found)
    elif unconfirmed and sources.base and not run.problems:
        verdict = _judge_with_confirmation(run, sources, thresholds, rejudge, console_for(no_color))
    else:
        verdict = rejudge(run)
    if json_file:
        write_file(json_file, to_json(verdict))
    if markdown or html:
        from gate.report.summary import verdict_document

        document = verdict_document(verdict)
        for path, suffix in ((markdown, ".md"), (html, ".html")):
            if path:
                write_file(path, render(document, suffix).encode())
    print_verdict(verdict, console_for(no_color), quiet=quiet)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from gate.report.annotations import workflow_commands

        for line in workflow_commands(verdict):
            click.echo(line)
    sys.exit(verdict.exit_code)


@click.command()
@REPORT_FILES
@BASELINE
@click.option("-o", "--output", "outputs", type=click.Path(path_type=Path, dir_okay=False), multiple=True,
              metavar="FILE.md|FILE.html", help="Where to write it (default: print Markdown).")  # fmt: skip
@common
def report(
    reports: tuple[Path, ...],
    baseline: Path | None,
    outputs: tuple[Path, ...],
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Write the baseline report of a run: targets, response times, load, resources, tests."""
    from gate.judge import judge
    from gate.report.baseline_report import baseline_document
    from gate.sources import load_sources

    for path in outputs:
        if path.suffix not in {".md", ".html"}:
            raise click.UsageError(f"{path}: the name must end with .md or .html")
    sources = load_sources(thresholds, baseline, None)
    run = read_reports(reports, sources.policy, thresholds, sources.problems)
    verdict = judge(run, sources.baseline, sources.policy)
    document = baseline_document(run, verdict, sources.policy)
    for path in outputs:
        write_file(path, render(document, path.suffix).encode())
        if not quiet:
            console_for(no_color).print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if not outputs:
        click.echo(render(document, ".md"), nl=False)
    complain_of(run.problems)
    sys.exit(EXIT_CODES["error"] if run.problems else 0)


_OF_THE_BRANCH: Final = frozenset({"push", "schedule", "workflow_dispatch"})
"""Events that judge the branch itself: what nobody has accepted there stays red."""
_UNCONFIRMED: Final = "suspects were not measured again on this machine, so none of them is confirmed"


def _judge_with_confirmation(
    run: Run, sources: Sources, thresholds: Path, rejudge: Callable[..., Verdict], console: Console
) -> Verdict:
    """The one loop of the gate: what history leaves open is measured, base beside head, and judged again."""
    from gate.confirm import LaunchError, confirm
    from gate.judge.metrics import as_remembered

    try:
        confirmation = confirm(
            as_remembered(run, sources.baseline)[0],
            rejudge(run, liberal=True),
            sources.policy,
            thresholds.absolute().parent,
            sources.base,
            changed=sources.changed,
            listen=lambda line: console.print(line, highlight=False, markup=False),
            first=sources.first,
        )
    except LaunchError as error:
        problem = Problem("confirm", str(error), "mend what crashes or hangs, or judge with --no-confirm")
        return rejudge(Run(suites=run.suites, problems=(*run.problems, problem)))
    return rejudge(run, confirmation=confirmation)


def _lost(file: Path) -> Problem:
    remedy = "read the log of the job that should have measured it"
    return Problem(str(file), "the comparison of base and head is missing", remedy)


def _kept(files: Sequence[Path], run: Run, sources: Sources) -> Confirmation:
    """What was measured elsewhere, if it compares the same two commits."""
    from gate.evidence import from_json, together

    parts: list[Confirmation] = []
    for file in files:
        try:
            part = from_json(file.read_bytes())
        except ValueError as error:
            raise click.UsageError(f"--confirmation {file}: {error}") from None
        if part.base != sources.base:
            known, wanted = part.base[:12] or "nothing", sources.base[:12] or "the work tree (no --base)"
            raise click.UsageError(f"--confirmation {file} compares with {known}, this check with {wanted}")
        if part.head != run.commit and part.head and run.commit:
            known, wanted = part.head[:12], run.commit[:12]
            raise click.UsageError(f"--confirmation {file} is about {known}, the reports are about {wanted}")
        parts.append(part)
    return together(parts)

"""`gate run`, `check` and `report`: measure a run, judge it, show it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gate.cli.shared import (
    BASELINE,
    LAST_COMPARISON,
    REPORT_FILES,
    REPORTS,
    chosen_suites,
    common,
    complain_of,
    console_for,
    content_of,
    render,
    run_attempt,
    shard_of,
    waivers_of,
    write_file,
)
from gate.model import Problem, Run
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from gate.evidence import Confirmation
    from gate.pipeline.apart import Apart
    from gate.pipeline.check import Case
    from gate.pipeline.load import Sources
    from gate.verdict import Verdict


_BY_NEWEST: Final = "the newest run judges; do not start this one again"


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
    from gate.pipeline.load import load_policy
    from gate.pipeline.run import run_suites
    from gate.report.progress import ProgressDisplay

    policy = load_policy(thresholds)
    chosen = chosen_suites(suites, policy)
    display = ProgressDisplay(console_for(no_color), quiet)
    root, share = thresholds.resolve().parent, shard_of(shard, chosen)
    results = run_suites(chosen, policy, display, root=root, out=out, shard=share)
    sys.exit(EXIT_CODES["error"] if any(result.problem for result in results) else 0)


@contextmanager
def _told_if_refused(json_file: Path | None, markdown: Path | None, rules: Path) -> Generator[None]:
    """Where nothing can be judged, there is a verdict all the same, which says why."""
    from gate.report.annotations import workflow_commands
    from gate.report.summary import summary
    from gate.verdict import to_json

    try:
        yield
    except Exception as error:
        verdict = _refused(error, rules)
        if json_file:
            write_file(json_file, to_json(verdict))
        if markdown:
            write_file(markdown, summary(verdict).encode())
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in workflow_commands(verdict):
                click.echo(line)
        raise


def _refused(error: Exception, rules: Path) -> Verdict:
    """What keeps a check from judging, as a verdict."""
    from gate.baseline.files import BaselineError
    from gate.git import GitError, repository_path
    from gate.located import LocatedError
    from gate.verdict import unusable

    match error:
        case LocatedError():
            place = repository_path(rules.absolute().parent, rules) or rules.as_posix()
            where = f"{place}:{error.mistakes[0].place.line}"
            remedy = "correct it, and run again"
            return unusable(str(error), "", subject=rules.name, remedy=remedy, where=where)
        case GitError():
            remedy = "fetch what is missing, or name another base"
            return unusable(str(error), "", subject="base", remedy=remedy)
        case BaselineError():
            return unusable(str(error), "", subject="baseline", remedy=error.remedy)
        case click.ClickException():
            remedy = "correct the call of gate check"
            return unusable(error.format_message(), "", subject="gate check", remedy=remedy)
        case _:
            reason = f"internal error: {type(error).__name__}: {error}"
            return unusable(reason, "", subject="gate check", remedy="report it; GATE_DEBUG=1 shows where")


@click.command()
@REPORT_FILES
@BASELINE
@click.option("--base", metavar="REF", help="Take policy and baseline from the merge base with REF.")
@click.option("--suite", "only", multiple=True, metavar="NAME", help="Judge this suite, and others so named.")
@click.option("--again", is_flag=True,
              help="Measure only what the last check left open, with three times the budget.")  # fmt: skip
@click.option("--no-confirm", is_flag=True, help="Judge by the stored baseline alone.")
@click.option("--confirmation", "kept", type=click.Path(path_type=Path, dir_okay=False),
              multiple=True, metavar="FILE",
              help="Judge by what gate confirm --keep measured; measure nothing.")  # fmt: skip
@click.option("--waivers", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
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
    only: tuple[str, ...],
    again: bool,
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
    from gate.pipeline.check import Request, open_case
    from gate.report.terminal import print_verdict
    from gate.verdict import to_json, unusable

    request = Request(
        thresholds,
        reports or (REPORTS,),
        baseline,
        base,
        os.environ.get("GITHUB_EVENT_NAME", ""),
        run_attempt(),
        only=frozenset(only),
    )
    console = console_for(no_color)
    with _told_if_refused(json_file, markdown, thresholds):
        if again and (no_confirm or kept):
            raise click.UsageError("--again measures: it goes with neither --no-confirm nor --confirmation")
        permitted = waivers_of(waivers)
        case = open_case(request, waivers=permitted, strict=strict, confirms=not no_confirm)
        if unknown := request.only - case.sources.policy.suites.keys() - case.run.suites.keys():
            known = ", ".join(case.sources.policy.suites)
            raise click.UsageError(f"--suite {min(unknown)}: thresholds.yaml names {known}")
        if permitted.outdated:
            verdict = unusable(permitted.outdated, case.run.commit, subject="base", remedy=_BY_NEWEST)
        elif kept:
            verdict = _judged_as_kept(case, kept)
        elif no_confirm:
            verdict = case.judged()
        else:
            verdict = _measured(
                case,
                lambda line: console.print(line, highlight=False, markup=False),
                [path for path in (json_file, markdown, html) if path],
                again=again,
            )
    if json_file:
        write_file(json_file, to_json(verdict))
    if markdown:
        from gate.report.summary import summary

        write_file(markdown, summary(verdict).encode())
    if html:
        from gate.report.summary import verdict_document

        write_file(html, render(verdict_document(verdict), ".html").encode())
    print_verdict(verdict, console, quiet=quiet)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from gate.git import repository_path
        from gate.report.annotations import workflow_commands

        for line in workflow_commands(verdict, repository_path(request.root, request.root)):
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
    from gate.pipeline.check import Request, open_case
    from gate.report.baseline_report import baseline_document

    for path in outputs:
        if path.suffix not in {".md", ".html"}:
            raise click.UsageError(f"{path}: the name must end with .md or .html")
    case = open_case(Request(thresholds, reports or (REPORTS,), baseline), confirms=False)
    document = baseline_document(case.run, case.judged(), case.sources.policy)
    for path in outputs:
        write_file(path, render(document, path.suffix).encode())
        if not quiet:
            console_for(no_color).print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if not outputs:
        click.echo(render(document, ".md"), nl=False)
    complain_of(case.run.problems)
    sys.exit(EXIT_CODES["error"] if case.run.problems else 0)


def _measured(case: Case, listen: Callable[[str], None], outputs: Sequence[Path], *, again: bool) -> Verdict:
    """The verdict by what is measured now; with `again` on top of what the last check has measured."""
    from gate.pipeline.again import AgainError, identity, keep, kept
    from gate.pipeline.check import check as checked

    if again and not case.sources.beside:
        raise click.UsageError("--again compares with a base: say which with --base REF, as before")
    if again and case.sources.policy.confirm == "off":
        raise click.UsageError("--again: thresholds.yaml says 'confirm: off', so nothing is measured")
    if not case.comparable:
        return case.judged()
    try:
        earlier, written = kept(LAST_COMPARISON, case, outputs) if again else (None, list[Path]())
    except AgainError as error:
        raise click.UsageError(f"--again: {error}") from None
    outputs = [*outputs, *written]
    of = identity(case, outputs)
    verdict, found = checked(case, listen, earlier=earlier)
    if found:
        with suppress(OSError):  # then there is nothing to go on from
            keep(LAST_COMPARISON, case, of, found, outputs)
    return verdict


def _judged_as_kept(case: Case, files: Sequence[Path]) -> Verdict:
    """The verdict by what was measured elsewhere."""
    there = [file for file in files if file.exists()]
    lost = [] if case.run.problems else [_lost(file) for file in files if file not in there]
    found = _kept(there, case.run, case.sources, case.apart)
    return case.judged(None if case.sources.policy.confirm == "off" else found, *lost)


def _lost(file: Path) -> Problem:
    remedy = "read the log of the job that should have measured it"
    return Problem(str(file), "the comparison of base and head is missing", remedy)


def _kept(files: Sequence[Path], run: Run, sources: Sources, apart: Apart) -> Confirmation:
    """What was measured elsewhere, if it compares the same two commits."""
    from gate.evidence import from_json, together

    parts: list[Confirmation] = []
    for file in files:
        try:
            part = from_json(content_of(file))
        except ValueError as error:
            raise click.UsageError(f"--confirmation {file}: {error}") from None
        if part.base != sources.beside:
            known, wanted = part.base[:12] or "nothing", sources.beside[:12] or "the work tree (no --base)"
            raise click.UsageError(f"--confirmation {file} compares with {known}, this check with {wanted}")
        if part.head != run.commit and part.head and run.commit:
            known, wanted = part.head[:12], run.commit[:12]
            raise click.UsageError(f"--confirmation {file} is about {known}, the reports are about {wanted}")
        mine = [name for name in part.suites if name in apart.suites]
        if len(mine) == 1:  # measured alone, so in names that another suite has as well
            names = apart.names(mine[0])
            part = names.confirmation(part, Run({mine[0]: names.plain_suite(run.suites[mine[0]])}))
        parts.append(part)
    return together(parts)

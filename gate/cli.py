"""The commands: parse arguments, call, exit code. What they do is elsewhere.

Exit codes: 0 passed, 1 failed, 2 wrong usage or configuration, 3 inconclusive, 4 error.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from gate.baseline import BaselineError
from gate.git import GitError
from gate.located import LocatedError
from gate.model import Problem, Run
from gate.policy import FILE_NAME, Policy, Suite
from gate.verdict import EXIT_CODES, EXIT_USAGE

if TYPE_CHECKING:
    from rich.console import Console

    from gate.confirm import Question
    from gate.report.document import Document
    from gate.sources import Sources
    from gate.verdict import Verdict

REPORTS: Final = Path(".gate")
"""Where reports are written and looked for when nobody says otherwise."""

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


_BASELINE = click.option(
    "--baseline",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The stored baseline (default: as thresholds.yaml says).",
)
_REPORTS = click.argument("reports", type=click.Path(path_type=Path), nargs=-1, metavar="[REPORT]...")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regression-gate")
def app() -> None:
    """Judge a service's test suites against its history and its limits."""


@app.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=REPORTS, show_default=True,
              metavar="DIR", help="Where the reports go.")  # fmt: skip
@common
def run(suites: tuple[str, ...], out: Path, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Run the suites of thresholds.yaml; leave DIR/SUITE.json and DIR/SUITE.log.

    Failing tests are for `gate check` to judge: the exit code is 0 when every suite wrote its whole
    report, 4 when one did not.
    """
    from gate.report.progress import run_with_progress
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    chosen = _chosen(suites, policy)
    results = run_with_progress(chosen, thresholds.resolve().parent, out, _console(no_color), quiet=quiet)
    sys.exit(EXIT_CODES["error"] if any(result.problem for result in results) else 0)


@app.command()
@_REPORTS
@_BASELINE
@click.option("--base", metavar="REF", help="Take policy and baseline from the merge base with REF.")
@click.option("--no-confirm", is_flag=True, help="Judge by the stored baseline alone.")
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
    from gate.sources import load_sources
    from gate.verdict import to_json

    sources = load_sources(thresholds, baseline, base)
    run = _read_reports(reports, sources.policy, thresholds, sources.problems)
    unconfirmed = "" if no_confirm or sources.policy.confirm == "off" else _UNCONFIRMED
    rejudge = partial(
        judge, baseline=sources.baseline, policy=sources.policy, base=sources.base, notes=sources.notes,
        unconfirmed=unconfirmed, changed=sources.changed,
    )  # fmt: skip
    if unconfirmed and sources.base and not run.problems:
        verdict = _judge_with_confirmation(run, sources, thresholds, rejudge, _console(no_color))
    else:
        verdict = rejudge(run)
    if json_file:
        _write(json_file, to_json(verdict))
    if markdown or html:
        from gate.report.summary import verdict_document

        document = verdict_document(verdict)
        for path, suffix in ((markdown, ".md"), (html, ".html")):
            if path:
                _write(path, _render(document, suffix).encode())
    print_verdict(verdict, _console(no_color), quiet=quiet)
    sys.exit(verdict.exit_code)


@app.command("confirm")
@click.argument("subjects", nargs=-1, required=True, metavar="SUBJECT...")
@click.option("--base", required=True, metavar="REF", help="Compare with the merge base with REF.")
@click.option("--head", metavar="REF", help="The commit to judge (default: the work tree as it is).")
@click.option("--budget", metavar="TIME", help="How long it may take (default: as thresholds.yaml says).")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the comparison as JSON.")  # fmt: skip
@common
def confirm_(
    subjects: tuple[str, ...],
    base: str,
    head: str | None,
    budget: str | None,
    json_file: Path | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Compare base and head on this machine for some metrics.

    SUBJECT is a metric, one without its statistic, or a glob, of the last run or of the baseline.
    Exit code 1: something is confirmed to be worse; 3: something stays open.
    """
    from gate.confirm import LaunchError, compare, two_sides
    from gate.git import merge_base, resolve
    from gate.report.comparison import comparison_record, print_comparison
    from gate.sources import load_policy
    from gate.units import UnitError, parse

    policy = load_policy(thresholds)
    root = thresholds.absolute().parent
    try:
        seconds = (parse(budget) if budget else policy.budget).to("s")
    except UnitError as error:
        raise click.UsageError(f"--budget: {error}") from None
    questions = _asked(subjects, policy, thresholds)
    commits = merge_base(root, base), resolve(root, head) if head else ""
    console = _console(no_color)
    try:
        with two_sides(root, *commits) as sides:
            result = compare(
                sides,
                questions,
                seconds,
                lambda line: None if quiet else console.print(line, highlight=False),
            )
    except LaunchError as error:
        _complain(f"{error}")
        sys.exit(EXIT_CODES["error"])
    record = comparison_record(questions, result, *commits)
    if json_file:
        from gate.report.comparison import to_json

        _write(json_file, to_json(record))
    print_comparison(record, console)
    sys.exit(record.exit_code)


@app.group()
def baseline() -> None:
    """The accepted runs that new runs are compared with."""


@baseline.command()
@_REPORTS
@_BASELINE
@click.option("--commit", metavar="SHA", help="The commit that was measured (default: as the report says).")
@common
def update(
    reports: tuple[Path, ...],
    baseline: Path | None,
    commit: str | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Accept a run: add it to the baseline of its environment. The same run twice changes nothing."""
    from gate.baseline import accept, read_baseline, write_suite
    from gate.judge.loads import judge_loads
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    directory = baseline or thresholds.parent / policy.baseline
    known = read_baseline(directory)
    run = _read_reports(reports, policy, thresholds, (), head=commit)
    console = _console(no_color)
    if run.problems:
        for problem in run.problems:
            _complain(f"{problem.subject}: {problem.message}; {problem.remedy}")
        _complain("nothing was accepted")
        sys.exit(EXIT_CODES["error"])
    invalid = [
        f for suite in run.suites.values() for f in judge_loads(suite, policy).findings if f.level == "fail"
    ]
    if invalid:
        for finding in invalid:
            _complain(f"{finding.subject}: {finding.message}; {finding.remedy}")
        _complain("nothing was accepted")
        sys.exit(EXIT_CODES["inconclusive"])
    for suite in run.suites.values():
        measured = commit or suite.commit or _head(thresholds)
        if not measured:
            raise click.UsageError(f"{suite.source} does not say which commit it measured; add --commit SHA")
        updated = accept(known.comparable(suite.name, suite.environment), suite, measured)
        path = write_suite(directory, updated)
        if not quiet:
            failed = sum(test.failed for test in suite.tests.values())
            tail = f", {failed} known failures" if failed else ""
            console.print(
                f"{suite.name}: accepted {measured[:12]} on {suite.environment.id}: "
                f"{len(suite.metrics)} metrics, {len(suite.tests)} tests{tail}; "
                f"{len(updated.runs)} runs in {path}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip


@baseline.command("pin")
@click.argument("commit", default="latest", metavar="[COMMIT|latest]")
@click.option(
    "--reason", default="pinned by hand", show_default=True, metavar="TEXT", help="Why: e.g. a release."
)
@_BASELINE
@common
def pin_reference(
    commit: str, reason: str, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Make the accepted runs of a commit the reference that slow creep is measured from.

    Without a pin the first 5 accepted runs are the reference.
    """
    from gate.baseline import pin, read_baseline, write_suite
    from gate.sources import load_policy

    directory = baseline or thresholds.parent / load_policy(thresholds).baseline
    known = read_baseline(directory)
    pinned = [pin(suite, commit, reason.strip() or "pinned by hand") for suite in known.suites]
    if not any(pinned):
        kept = dict.fromkeys(run.commit[:12] for suite in known.suites for run in reversed(suite.runs))
        here = ", ".join(kept) or "no run at all: gate baseline update"
        raise click.UsageError(f"no accepted run of {commit!r}, or several commits; {directory} keeps {here}")
    for before, suite in zip(known.suites, pinned, strict=True):
        if suite is None:
            where = f"{before.suite} on {before.environment.id}"
            _complain(f"{where}: has no run of {commit}; its reference stays")
            continue
        path = write_suite(directory, suite)
        if not quiet:
            level = suite.pins[0]
            _console(no_color).print(
                f"{suite.suite}: pinned {level.commit[:12]} of {level.created[:10]} on "
                f"{suite.environment.id} ({level.reason}): "
                f"{len(level.values)} metrics over {level.runs} runs in {path}",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip


@baseline.command()
@click.argument("pattern", required=False)
@_BASELINE
@common
def show(pattern: str | None, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Show what the baseline holds; with PATTERN the metrics that match it, with their noise."""
    from gate.baseline import read_baseline
    from gate.report.memory import print_baseline, print_metrics
    from gate.sources import load_policy

    directory = baseline or thresholds.parent / load_policy(thresholds).baseline
    known = read_baseline(directory)
    console = _console(no_color)
    if pattern is None:
        print_baseline(known, directory, console, quiet=quiet)
    elif not print_metrics(known, pattern, console):
        raise click.UsageError(f"no metric of the baseline in {directory} matches {pattern!r}")


@app.command()
@_REPORTS
@_BASELINE
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
    run = _read_reports(reports, sources.policy, thresholds, sources.problems)
    verdict = judge(run, sources.baseline, sources.policy)
    document = baseline_document(run, verdict, sources.policy)
    for path in outputs:
        _write(path, _render(document, path.suffix).encode())
        if not quiet:
            _console(no_color).print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if not outputs:
        click.echo(_render(document, ".md"), nl=False)
    for problem in run.problems:
        _complain(f"{problem.subject}: {problem.message}; {problem.remedy}")
    sys.exit(EXIT_CODES["error"] if run.problems else 0)


@app.command("explain")
@click.argument("subject")
@click.argument("verdict", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False,
                metavar="[VERDICT.json]")  # fmt: skip
@_BASELINE
@common
def explain_subject(
    subject: str, verdict: Path | None, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Say why a metric, a subject, a test or a glob is judged as it is, and how to reproduce it."""
    from gate.baseline import read_baseline
    from gate.explain import UnknownSubject, explain
    from gate.report.explain import print_explanation
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    known = read_baseline(baseline or thresholds.parent / policy.baseline)
    try:
        explanation = explain(subject, known, policy, _read_verdict(verdict) if verdict else None)
    except UnknownSubject as error:
        raise click.UsageError(str(error)) from None
    print_explanation(explanation, _console(no_color), quiet=quiet)


@app.command()
@click.option("--runs", type=click.IntRange(min=2), default=5, show_default=True, help="How often.")
@click.option("--suite", "suites", multiple=True, metavar="SUITE", help="Only this suite; may be repeated.")
@click.option("--budget", metavar="DURATION", help="Begin no further run after this time, e.g. 20 min.")
@click.option("--no-baseline", is_flag=True, help="Do not accept the runs into the baseline.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the raw figures as JSON.")  # fmt: skip
@_BASELINE
@common
def calibrate(
    runs: int,
    suites: tuple[str, ...],
    budget: str | None,
    no_baseline: bool,
    json_file: Path | None,
    baseline: Path | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Repeat the suites on unchanged code: noise of each metric, what can be seen, limits inside the noise.

    Accepts the clean runs into the baseline.
    """
    from gate.calibrate import calibrate as repeat
    from gate.calibrate import write_baseline
    from gate.report.calibration import print_calibration
    from gate.report.progress import run_with_progress
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    chosen = _chosen(suites, policy)
    directory = baseline or thresholds.parent / policy.baseline
    root, console = thresholds.resolve().parent, _console(no_color)
    result = repeat(
        policy, thresholds, directory, count=runs, budget=_seconds(budget),
        measure=partial(run_with_progress, chosen, root, console=console, quiet=quiet),
        listen=lambda line: None if quiet else _say(line, console),
    )  # fmt: skip
    print_calibration(result, console, quiet=quiet)
    if json_file:
        _write(json_file, result.to_json())
    if not no_baseline:
        for suite, number, path in write_baseline(directory, result.runs, _head(thresholds)):
            _say(f"{suite.name}: {number} accepted runs in {path}", console)
    if result.interrupted:
        _complain(f"interrupted; {len(result.runs)} whole runs were used")
    sys.exit(result.exit_code)


@app.command()
@common
def selftest(thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Prove in a throw-away copy of this repository that the gate can turn red, and green.

    Exit code: 0 every case turned out as it must, 1 the gate is blind somewhere, 3 not everything could be
    checked, 4 the suites do not run in the copy.
    """
    from gate.report.rehearsal import rehearse_with_progress
    from gate.sources import load_policy

    policy = load_policy(thresholds)
    sys.exit(rehearse_with_progress(policy, thresholds, _console(no_color), quiet=quiet))


def main() -> NoReturn:
    """Run the command line. A user never sees a traceback; GATE_DEBUG=1 shows it to a developer."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (LocatedError, GitError) as error:
        _complain(str(error))
        sys.exit(EXIT_USAGE)
    except BaselineError as error:
        _complain(f"{error}; {error.remedy}")
        sys.exit(EXIT_CODES["error"])
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; nothing was judged")
        sys.exit(EXIT_CODES["inconclusive"])
    except Exception as error:
        if os.environ.get("GATE_DEBUG"):
            raise
        _complain(f"internal error, no verdict: {type(error).__name__}: {error} (GATE_DEBUG=1 shows where)")
        sys.exit(EXIT_CODES["error"])
    sys.exit(0)


_UNCONFIRMED: Final = "suspects were not measured again on this machine, so none of them is confirmed"


def _judge_with_confirmation(
    run: Run, sources: Sources, thresholds: Path, rejudge: Callable[..., Verdict], console: Console
) -> Verdict:
    """The one loop of the gate: what history leaves open is measured, base beside head, and judged again."""
    from gate.confirm import LaunchError, confirm

    try:
        confirmation = confirm(
            run,
            rejudge(run, liberal=True),
            sources.policy,
            thresholds.absolute().parent,
            sources.base,
            listen=lambda line: console.print(line, highlight=False, markup=False),
        )
    except LaunchError as error:
        problem = Problem("confirm", str(error), "mend what crashes or hangs, or judge with --no-confirm")
        return rejudge(Run(suites=run.suites, problems=(*run.problems, problem)))
    return rejudge(run, confirmation=confirmation)


def _chosen(names: tuple[str, ...], policy: Policy) -> list[Suite]:
    """The suites that were asked for; all of them if none was."""
    unknown = [name for name in names if name not in policy.suites]
    if unknown:
        known = ", ".join(policy.suites)
        raise click.UsageError(f"unknown suite {unknown[0]!r}; thresholds.yaml has: {known}")
    return [policy.suites[name] for name in dict.fromkeys(names)] or list(policy.suites.values())


def _seconds(text: str | None) -> float:
    """A duration such as `20 min` or `60s`; nothing: no end."""
    from gate.units import UnitError, parse

    try:
        seconds = parse(text).to("s") if text else float("inf")
    except UnitError as error:
        raise click.UsageError(f"--budget: {error}") from None
    if seconds <= 0:
        raise click.UsageError(f"--budget: {text!r} leaves no time")
    return seconds


def _read_reports(
    reports: tuple[Path, ...],
    policy: Policy,
    thresholds: Path,
    problems: tuple[Problem, ...],
    *,
    head: str | None = None,
) -> Run:
    """Read the reports of a command, and everything that is wrong with them, into one run."""
    from gate.git import head_commit
    from gate.readers import read_run
    from gate.readers.freshness import stale_reports
    from gate.runner import expand

    files, lost = expand(reports or (REPORTS,), list(policy.suites))
    run = read_run(files, policy)
    checked_out = head_commit(thresholds.resolve().parent) if head is None else ""
    stale = stale_reports(run, checked_out, time.time(), policy.max_age)
    return Run(suites=run.suites, problems=(*problems, *lost, *run.problems, *stale))


def _asked(subjects: tuple[str, ...], policy: Policy, thresholds: Path) -> list[Question]:
    """What a person asks by name, out of the last run and the baseline."""
    import difflib

    from gate.baseline import read_baseline
    from gate.confirm import questions_about
    from gate.readers import read_run
    from gate.runner import expand

    run = read_run(expand((REPORTS,), list(policy.suites))[0], policy)
    metrics = {
        metric.name: metric.as_metric(suite.suite, history[-1])
        for suite in read_baseline(thresholds.parent / policy.baseline).suites
        for metric in suite.metrics.values()
        if (history := suite.history(metric.name))
    } | run.metrics
    questions: dict[str, Question] = {}
    for subject in subjects:
        try:
            found = questions_about(subject, metrics.values(), policy)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if not found:
            names = {*metrics, *(metric.subject for metric in metrics.values())}
            near = (
                ", ".join(difflib.get_close_matches(subject, names, n=3)) or "gate baseline show lists them"
            )
            raise click.UsageError(f"nothing to compare is called {subject!r}; near: {near}")
        questions |= {question.metric: question for question in found}
    return list(questions.values())


def _read_verdict(path: Path) -> Verdict:
    import msgspec

    from gate.verdict import SCHEMA, Verdict

    try:
        verdict = msgspec.json.decode(path.read_bytes(), type=Verdict)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is no verdict ({error}); write one: gate check --json FILE") from None
    if verdict.schema != SCHEMA:
        raise click.UsageError(f"{path} has schema {verdict.schema}; use a gate that reads it")
    return verdict


def _head(thresholds: Path) -> str:
    from gate.git import head_commit

    return head_commit(thresholds.resolve().parent)


def _render(document: Document, suffix: str) -> str:
    from gate.report.html import to_html
    from gate.report.markdown import to_markdown

    return to_html(document) if suffix == ".html" else to_markdown(document)


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None


def _console(no_color: bool) -> Console:
    from rich.console import Console

    # A log file has no width; 120 columns read well in CI.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(no_color=no_color or None, width=width)


def _say(text: str, console: Console) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _complain(text: str) -> None:
    from gate.report.text import log_line

    for line in text.splitlines():
        click.echo(log_line(line), err=True)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt

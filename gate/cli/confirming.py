"""`gate confirm`: base beside head on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli.shared import (
    BASELINE,
    REPORTS,
    common,
    complain,
    complain_of,
    console_for,
    expected_runs,
    run_attempt,
    write_file,
)
from gate.policy import Policy
from gate.verdict import EXIT_CODES

if TYPE_CHECKING:
    from gate.confirm import Question


@click.command("confirm")
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]...")
@click.option("--base", required=True, metavar="REF", help="Compare with the merge base with REF.")
@click.option("--head", metavar="REF", help="The commit to judge (default: the work tree as it is).")
@click.option("--budget", metavar="TIME", help="How long it may take (default: as thresholds.yaml says).")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the comparison as JSON.")  # fmt: skip
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Measure what the last run leaves open, for gate check --confirmation.")  # fmt: skip
@click.option("--report", "reports", type=click.Path(path_type=Path), multiple=True, metavar="REPORT",
              help="With --keep: the report, or a directory of reports, of that run.")  # fmt: skip
@BASELINE
@common
def confirm(
    subjects: tuple[str, ...],
    base: str,
    head: str | None,
    budget: str | None,
    json_file: Path | None,
    keep: Path | None,
    reports: tuple[Path, ...],
    baseline: Path | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Compare base and head on this machine for some metrics.

    SUBJECT is a metric, one without its statistic, or a glob, of the last run or of the baseline.
    Exit code 1: something is confirmed to be worse; 3: something stays open. Without SUBJECT and with
    --keep it measures and does not judge: 0.
    """
    if keep and not subjects:
        if head or json_file or budget:
            raise click.UsageError("--head, --json and --budget are for a comparison by SUBJECT")
        _keep(keep, reports, baseline, base, thresholds, quiet=quiet, no_color=no_color)
        return
    if keep or not subjects:
        raise click.UsageError("name a SUBJECT, or write what the last run leaves open to --keep FILE")
    from gate.confirm import LaunchError, compare, equip_all, two_sides
    from gate.git import merge_base, resolve
    from gate.pipeline.load import load_policy
    from gate.report.comparison import comparison_record, print_comparison
    from gate.units import UnitError, parse

    policy = load_policy(thresholds)
    root = thresholds.absolute().parent
    try:
        seconds = (parse(budget) if budget else policy.budget).to("s")
    except UnitError as error:
        raise click.UsageError(f"--budget: {error}") from None
    questions = _asked(subjects, policy, thresholds)
    after = resolve(root, head) if head else ""
    commits = merge_base(root, base, after or "HEAD"), after
    console = console_for(no_color)

    def listen(line: str) -> None:
        if not quiet:
            console.print(line, highlight=False)

    try:
        with two_sides(root, *commits) as pair:
            commands = dict.fromkeys(question.command for question in questions)
            equipped = equip_all(pair, commands, policy, listen)
            for what in equipped.values():
                for difference in what.unaccounted:
                    complain(f"{difference.what}: {difference.why}")
            sides = {command: found.sides for command, found in equipped.items()}
            result = compare(sides, questions, seconds, listen)
    except LaunchError as error:
        complain(f"{error}")
        sys.exit(EXIT_CODES["error"])
    record = comparison_record(questions, result, *commits)
    if json_file:
        from gate.report.comparison import to_json

        write_file(json_file, to_json(record))
    print_comparison(record, console)
    sys.exit(record.exit_code)


def _asked(subjects: tuple[str, ...], policy: Policy, thresholds: Path) -> list[Question]:
    """What a person asks by name, out of the last run and the baseline."""
    import difflib

    from gate.confirm import questions_about
    from gate.pipeline.apart import Apart
    from gate.readers import read_run
    from gate.runner import expand

    run = read_run(expand((REPORTS,), policy)[0], policy, complete=False)
    expected, _ = expected_runs(None, thresholds, policy)
    apart = Apart.of(run, expected, policy.suites)
    metrics = {
        metric.name: metric.as_metric(suite.suite, history[-1])
        for suite in apart.baseline(expected).suites
        for metric in suite.metrics.values()
        if (history := suite.history(metric.name))
    } | apart.run(run).metrics
    questions: dict[str, Question] = {}
    for subject in subjects:
        try:
            found = questions_about(subject, metrics.values(), policy, run.seconds)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if not found:
            if subject in metrics:
                why = "an exact count" if metrics[subject].exact else "nothing that turns can measure"
                raise click.UsageError(f"{subject} is {why}; gate check compares it without measuring again")
            names = {*metrics, *(metric.subject for metric in metrics.values())}
            near = (
                ", ".join(difflib.get_close_matches(subject, names, n=3)) or "gate baseline show lists them"
            )
            raise click.UsageError(f"nothing to compare is called {subject!r}; near: {near}")
        questions |= {question.metric: question for question in found}
    asked = {question.suite for question in questions.values()}
    if len(asked) > 1 and not asked.isdisjoint(apart.suites):
        raise click.UsageError("these suites have tests of the same names; name subjects of one suite")
    return [apart.names(question.suite).plain_question(question) for question in questions.values()]


def _keep(
    file: Path,
    reports: tuple[Path, ...],
    baseline: Path | None,
    base: str,
    thresholds: Path,
    *,
    quiet: bool,
    no_color: bool,
) -> None:
    """Measure what a run leaves open; judging is for the machine that gets the parts of all suites."""
    from gate.confirm import LaunchError
    from gate.evidence import Confirmation, to_json
    from gate.pipeline.check import Request, measure, open_case
    from gate.report.text import log_line

    file.unlink(missing_ok=True)  # what an earlier call measured is no answer to this one
    event = os.environ.get("GITHUB_EVENT_NAME", "")
    case = open_case(
        Request(thresholds, reports or (REPORTS,), baseline, base, event, run_attempt(), complete=False)
    )
    complain_of(case.run.problems)
    if case.run.problems:
        complain("nothing was measured again")
        sys.exit(EXIT_CODES["error"])
    console = console_for(no_color)

    def listen(line: str) -> None:
        if not quiet:
            console.print(log_line(line), highlight=False, markup=False)

    found = Confirmation(base=case.sources.beside, head=case.run.commit)
    if case.comparable:
        try:
            found = measure(case, listen, apart=len(case.run.suites) == 1, thorough=True)
        except LaunchError as error:
            complain(f"{error}")
            sys.exit(EXIT_CODES["error"])
    write_file(file, to_json(found))
    sys.exit(EXIT_CODES["inconclusive"] if found.interrupted else 0)

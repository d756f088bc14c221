"""`gate explain`, `calibrate` and `selftest`: why it judges so, how well it can, and whether it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli.accepting import list_held
from gate.cli.shared import (
    BASELINE,
    baseline_directory,
    chosen_suites,
    common,
    complain,
    console_for,
    content_of,
    expected_runs,
    remembered_runs,
    say,
    seconds_of,
    write_file,
)

if TYPE_CHECKING:
    from gate.verdict import Verdict


@click.command("explain")
@click.argument("subject")
@click.argument("verdict", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False,
                metavar="[VERDICT.json]")  # fmt: skip
@BASELINE
@common
def explain(
    subject: str, verdict: Path | None, baseline: Path | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Say why a metric, a subject, a test or a glob is judged as it is, and how to reproduce it."""
    from gate.explain import UnknownSubject, explain
    from gate.pipeline.load import load_policy
    from gate.report.explain import print_explanation

    policy = load_policy(thresholds)
    known, _ = remembered_runs(baseline, thresholds, policy)
    try:
        explanation = explain(subject, known, policy, _read_verdict(verdict) if verdict else None)
    except UnknownSubject as error:
        raise click.UsageError(str(error)) from None
    print_explanation(explanation, console_for(no_color), quiet=quiet)


@click.command()
@click.option("--runs", type=click.IntRange(min=2), default=5, show_default=True, help="How often.")
@click.option("--suite", "suites", multiple=True, metavar="SUITE", help="Only this suite; may be repeated.")
@click.option("--budget", metavar="DURATION", help="Begin no further run after this time, e.g. 20 min.")
@click.option("--no-baseline", is_flag=True, help="Do not accept the runs into the baseline.")
@click.option(
    "--new-baseline",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Begin a new baseline with the runs in DIR, for gate baseline rebuild.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the raw figures as JSON.")  # fmt: skip
@BASELINE
@common
def calibrate(
    runs: int,
    suites: tuple[str, ...],
    budget: str | None,
    no_baseline: bool,
    new_baseline: Path | None,
    json_file: Path | None,
    baseline: Path | None,
    thresholds: Path,
    quiet: bool,
    no_color: bool,
) -> None:
    """Repeat the suites on unchanged code: noise of each metric, what can be seen, limits inside the noise.

    Accepts the clean runs into the baseline.

    Exit code: 0, 1 something was not accepted, 3 interrupted, 4 a run failed or left no report.
    """
    from gate.model import Run
    from gate.pipeline.calibrate import calibrate as repeat
    from gate.pipeline.calibrate import write_baseline
    from gate.pipeline.load import load_policy
    from gate.pipeline.run import run_suites
    from gate.report.calibration import print_calibration
    from gate.report.progress import ProgressDisplay

    policy = load_policy(thresholds)
    chosen = chosen_suites(suites, policy)
    directory = new_baseline or baseline_directory(baseline, thresholds, policy, writes=not no_baseline)
    if new_baseline and any(new_baseline.rglob("*.jsonl")):
        raise click.UsageError(f"{new_baseline} holds accepted runs already; name an empty directory")
    root, console = thresholds.resolve().parent, console_for(no_color)
    known, _ = expected_runs(baseline, thresholds, policy)
    result = repeat(
        policy, thresholds, known, count=runs, budget=seconds_of(budget),
        measure=lambda out: run_suites(chosen, policy, ProgressDisplay(console, quiet), root=root, out=out),
        listen=lambda line: None if quiet else say(line, console),
    )  # fmt: skip
    print_calibration(result, console, quiet=quiet)
    if json_file:
        write_file(json_file, result.to_json())
    refused = 0
    if not no_baseline:
        written, held = write_baseline(directory, result.runs, policy, root)
        for suite, number, path in written:
            say(f"{suite.name}: {number} accepted run{'s' * (number != 1)} in {path}", console)
        refused = list_held(held, Run(dict(result.runs[-1])) if result.runs else Run({}))
    if result.interrupted:
        complain(f"interrupted; {len(result.runs)} whole runs were used")
    sys.exit(result.exit_code or refused)


@click.command()
@common
def selftest(thresholds: Path, quiet: bool, no_color: bool) -> None:
    """Prove in a throw-away copy of this repository that the gate can turn red, and green.

    Exit code: 0 every case turned out as it must, 1 the gate missed a case, 3 not everything could be
    checked, 4 the suites do not run in the copy.
    """
    from gate.pipeline.load import load_policy
    from gate.report.rehearsal import rehearse_with_progress

    policy = load_policy(thresholds)
    sys.exit(rehearse_with_progress(policy, thresholds, console_for(no_color), quiet=quiet))


def _read_verdict(path: Path) -> Verdict:
    import msgspec

    from gate.verdict import SCHEMA, Verdict

    try:
        verdict = msgspec.json.decode(content_of(path), type=Verdict)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is no verdict ({error}); write one: gate check --json FILE") from None
    if verdict.schema != SCHEMA:
        raise click.UsageError(f"{path} has schema {verdict.schema}; use a gate that reads it")
    return verdict

"""`gate plan`: what a run of a workflow is about to do."""

import json
import os
from pathlib import Path

import click

from gate.cli.conversing import GATE, conversation
from gate.cli.shared import chosen_suites, common


@click.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@GATE
@click.option("--base", metavar="REF", help="Compare with this ref (default: as the event says).")
@common
@conversation
def plan(
    suites: tuple[str, ...], gate_id: str, base: str | None, thresholds: Path, quiet: bool, no_color: bool
) -> None:
    """Say what a workflow run compares with and how its artifacts are named, as lines for GITHUB_OUTPUT.

    base is a commit, and suites a JSON list. key is the gate's name where GitHub takes no text as it is;
    artifact is where the verdict goes, and measured how the artifacts with reports begin.
    """
    from gate.github.context import context_from
    from gate.github.names import artifact_of, key_of, measured_of
    from gate.github.plan import base_of
    from gate.pipeline.load import load_policy

    found = base_of(context_from(os.environ), thresholds.resolve().parent, base or "")
    if len(found.splitlines()) > 1:
        raise click.UsageError("--base: a ref is one line")
    for name, value in {
        "base": found,
        "key": key_of(gate_id),
        "artifact": artifact_of(gate_id),
        "measured": measured_of(gate_id),
    }.items():
        click.echo(f"{name}={value}")
    chosen = chosen_suites(suites, load_policy(thresholds))
    click.echo(f"suites={json.dumps([suite.name for suite in chosen])}")

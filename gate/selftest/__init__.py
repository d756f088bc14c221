"""`gate selftest`: the gate proves in the user's own repository that it can turn red, and green.

Everything happens in a throw-away copy: the whole of the suites once as they are, then one test or
two with one real change for the worse after the other, each judged by the real commands.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from gate.git import tracked_branch
from gate.model import Run
from gate.policy import Policy
from gate.readers import read_run
from gate.runner import expand
from gate.selftest.cases import Case, NotCheckedError, Stage, green, read_outcome, rehearse, rewritten
from gate.selftest.copies import Copy, throw_away_copy
from gate.selftest.target import choose, narrowed, undivided
from pytest_regression_gate.protocol import selection

__all__ = ["Case", "SelftestError", "exit_code", "selftest"]

_RUNS: Final = 3
"""Quick runs that make the throw-away baseline."""


class SelftestError(Exception):
    """Nothing could be tried: the suites do not run in the copy."""


def selftest(
    policy: Policy, thresholds: Path, listen: Callable[[str], None], show: Callable[[Case], None]
) -> None:
    """Try every case and show each as soon as it is known.

    Args:
        policy: what thresholds.yaml says.
        thresholds: the file, in the user's work tree, which is only read.
        listen: called with every line about the progress.
        show: called with every case.

    Raises:
        SelftestError: the suites do not run in the copy.
        GitError: there is no git to keep the copy with, or no remote that has the baseline.
    """
    root = thresholds.absolute().parent
    with throw_away_copy(root, listen) as copy:
        if branch := policy.baseline_branch:
            copy.track(branch, tracked_branch(root, branch) if copy.versioned else "")
        policy = _undivided(copy, policy, thresholds.name)
        case, run = _unchanged(copy, policy, thresholds.name)
        show(case)
        try:
            stage = _set_the_stage(copy, policy, thresholds.name, run)
        except NotCheckedError as reason:
            raise SelftestError(f"the single tests do not run in the copy: {reason}") from None
        for case in rehearse(stage):
            show(case)


def exit_code(cases: list[Case]) -> int:
    """0: every case turned out as it must; 1: the gate is blind somewhere; 3: not everything was checked."""
    if any(case.ok is False for case in cases):
        return 1
    return 3 if any(case.ok is None for case in cases) else 0


def _undivided(copy: Copy, policy: Policy, thresholds: str) -> Policy:
    """The policy with each suite in one piece: most shards would hold none of the chosen tests."""
    if not any(suite.shards for suite in policy.suites.values()):
        return policy
    rules = copy.root / thresholds
    rules.write_text(rewritten(rules.read_text(encoding="utf-8-sig"), (), undivided), encoding="utf-8")
    copy.commit("each suite in one piece")
    return replace(policy, suites={name: replace(suite, shards=0) for name, suite in policy.suites.items()})


def _unchanged(copy: Copy, policy: Policy, thresholds: str) -> tuple[Case, Run]:
    """The whole of the suites, judged with the repository's own baseline and rules."""
    copy.listen("selftest: unchanged code, all suites")
    begun = time.monotonic()
    out, file = copy.directory / "reports" / "all", copy.directory / "verdict.json"
    said = copy.gate("run", "--out", out, "--thresholds", thresholds)
    if said.code:
        raise SelftestError(f"the suites do not run in a copy of the repository:\n{said.tail}")
    base = ("--base", "HEAD") if copy.versioned else ()
    judged = copy.gate("check", out, *base, "--json", file, "--thresholds", thresholds)
    case = green(read_outcome(file, judged))
    run = read_run(expand([out], policy)[0], policy)
    return replace(case, name="unchanged code", expected="green", seconds=time.monotonic() - begun), run


def _set_the_stage(copy: Copy, policy: Policy, thresholds: str, run: Run) -> Stage:
    """Choose what to rehearse with, and make a baseline of it in the copy.

    Raises:
        SelftestError: no test passes.
        NotCheckedError: the chosen tests do not run.
    """
    target = choose(run, policy)
    if target is None:
        raise SelftestError("no test of the suites passes, so nothing can be seen to break")
    metrics = tuple(metric.name for metric in run.metrics.values() if metric.nodeid in target.tests)
    baseline = copy.root / policy.baseline
    inside = baseline.resolve().is_relative_to(copy.top)
    if not inside:
        baseline = copy.directory / "baseline"
    report = json.loads((copy.directory / "reports" / "all" / f"{target.suite.name}.json").read_bytes())
    stage = Stage(
        copy, policy, target, thresholds, baseline, inside, metrics, Path(report.get("root") or copy.root)
    )
    Path(stage.select).write_bytes(selection(target.tests))
    for file in stage.baseline_files:
        file.unlink()
    rules = copy.root / thresholds
    document = yaml.safe_load(rules.read_text(encoding="utf-8-sig"))
    if narrowed(document, list(metrics)) != document:
        rules.write_text(
            rewritten(rules.read_text(encoding="utf-8-sig"), metrics, narrowed), encoding="utf-8"
        )
    copy.commit("the rules for the chosen tests")
    for number in range(_RUNS):
        copy.listen(f"selftest: throw-away baseline, run {number + 1} of {_RUNS}")
        said = stage.accept(stage.measure(f"accepted-{number}"))
        if said.code:
            raise NotCheckedError(f"the baseline was not written: {said.tail}")
    copy.commit("the throw-away baseline")
    return stage

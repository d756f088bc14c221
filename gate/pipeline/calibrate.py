"""`gate calibrate`: repeat the suites on unchanged code, and say what that teaches."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gate.baseline import Baseline
from gate.baseline.files import alone, read_baseline, write_suite
from gate.diagnostics.calibration import Calibration, learn
from gate.git import head_commit
from gate.model import Run, SuiteRun
from gate.pipeline.accept import Candidate, admit
from gate.pipeline.apart import Apart
from gate.pipeline.check import by_history
from gate.pipeline.load import expected_at
from gate.policy import Policy
from gate.processes import fresh_directory
from gate.readers import read_run
from gate.runner import expand
from gate.verdict import KINDS, Finding


def calibrate(
    policy: Policy,
    thresholds: Path,
    known: Baseline,
    *,
    count: int,
    budget: float,
    measure: Callable[[Path], object],
    listen: Callable[[str], None],
) -> Calibration:
    """Run the suites some times and learn from the clean runs.

    Args:
        policy: the rules.
        thresholds: the file they come from.
        known: the accepted runs.
        count: how many runs.
        budget: seconds after which no further run begins.
        measure: runs the suites once and leaves their reports in the directory it is given.
        listen: called with a line after each run.

    Raises:
        LocatedError: a limit's unit does not fit its metric.
    """
    result = Calibration(count)
    head = head_commit(thresholds.absolute().parent)
    begun = time.monotonic()
    with fresh_directory("gate-calibrate-") as directory:
        for number in range(1, count + 1):
            out = directory / str(number)
            try:
                measure(out)
            except KeyboardInterrupt:
                result.interrupted = True
                break
            run = read(out, policy)
            if problem := _unclean(run, known, policy, head):
                result.refused.append(f"run {number} was not accepted: {problem}")
                listen(result.refused[-1])
            else:
                result.runs.append(run.suites)
            passed = time.monotonic() - begun
            left = passed / number * (count - number)
            listen(f"calibrate: run {number} of {count}, {passed:.0f} s, about {left:.0f} s left")
            if passed > budget and number < count:
                listen(f"calibrate: the budget is used, {count - number} runs were not begun")
                break
    runs = [Run(dict(run)) for run in result.runs]
    learn(result, policy, [Apart.of(run, known, policy.suites).run(run).suites for run in runs])
    return result


def read(out: Path, policy: Policy) -> Run:
    """The run in a directory, and what is wrong with it."""
    files, lost = expand([out], policy)
    run = read_run(files, policy)
    return Run(run.suites, (*lost, *run.problems))


def write_baseline(
    directory: Path, runs: Sequence[Mapping[str, SuiteRun]], policy: Policy, root: Path
) -> tuple[list[tuple[SuiteRun, int, Path]], tuple[Finding, ...]]:
    """Accept every run, as `gate baseline update` does.

    What history calls slower in most of the runs is no noise: it is held back, too.

    Returns:
        Per suite its last run, how many runs are accepted now, and the file; and what was held back.
    """
    with alone(directory):
        memory = read_baseline(directory)
        before = expected_at(memory, root)
        found = [by_history(Run(dict(run)), before, policy).findings for run in runs]
        slower = Counter(
            f.subject for one in found for f in one if f.kind == "regression" and f.level == "fail"
        )
        often = {subject for subject, times in slower.items() if times > len(runs) / 2}
        held: dict[tuple[str, str], Finding] = {}
        for run, findings in zip(runs, found, strict=True):
            out = tuple(f for f in findings if f.subject in often and f.kind == "regression")
            commit = next((suite.commit for suite in run.values() if suite.commit), "") or head_commit(root)
            admitted = admit(Candidate(Run(dict(run)), commit, root, policy, held=out, limits=False), memory)
            memory = admitted.memory
            held |= {(f.kind, f.subject): f for f in admitted.held}
        last = {suite.name: suite for run in runs for suite in run.values()}
        written = [
            (suite, len(known.read), write_suite(directory, known))
            for suite in last.values()
            if (known := memory.of(suite.name, suite.environment))
        ]
    return written, tuple(held.values())


def _unclean(run: Run, baseline: Baseline, policy: Policy, head: str) -> str:
    """Why a run is no run of the same, sound code; empty if it is."""
    for suite in run.suites.values():
        if head and suite.commit and suite.commit != head:
            return f"the checked-out commit changed to {suite.commit[:12]}"
    for finding in by_history(run, baseline, policy).findings:
        if KINDS[finding.kind].unclean and finding.level == "fail":
            return f"{finding.kind} {finding.subject}: {finding.message}"
    return ""

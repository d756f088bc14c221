"""Report files -> one run, with everything that is wrong with them."""

import time
from collections.abc import Sequence
from pathlib import Path

from gate.git import head_commit
from gate.model import Problem, Run
from gate.policy import Policy
from gate.readers import one_run, read_files
from gate.readers.freshness import stale_reports
from gate.runner import expand


def read_reports(
    reports: Sequence[Path],
    policy: Policy,
    root: Path,
    problems: Sequence[Problem] = (),
    *,
    head: str | None = None,
    complete: bool = True,
) -> Run:
    """Read the reports of a command, and everything that is wrong with them, into one run.

    Args:
        reports: files and directories.
        policy: the suites.
        root: the directory of thresholds.yaml; its repository is what should have been measured.
        problems: what is wrong already.
        head: the commit that was measured, where somebody says so.
        complete: whether a shard of a suite that is not there is a problem.
    """
    files, lost = expand(reports, policy)
    found, unreadable = read_files(files, policy)
    checked_out = head_commit(root) if head is None else ""
    stale = stale_reports(found, checked_out, time.time(), policy.max_age)
    run = one_run(found, (*lost, *unreadable, *stale), policy, complete=complete)
    return Run(suites=run.suites, problems=(*problems, *run.problems))

"""Load, read, align, judge, confirm, judge: the way of a run to its verdict, the same for all commands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gate.baseline import Baseline
from gate.baseline.records import hash_of
from gate.confirm import Earlier, LaunchError, confirm
from gate.evidence import Confirmation, together
from gate.git import head_commit
from gate.judge import Inputs, judge
from gate.model import Problem, Run
from gate.pipeline.align import align, with_reruns
from gate.pipeline.apart import Apart
from gate.pipeline.load import (
    Sources,
    beside_accepted,
    load_sources,
    moves_of,
    untouched_suites,
    up_to_base,
)
from gate.pipeline.read import read_reports
from gate.policy import Policy
from gate.sides.manifests import equips
from gate.units import Quantity
from gate.verdict import Verdict
from gate.waivers import NO_WAIVERS, Waivers

_SCHEDULE: Final = "schedule"
_OF_THE_BRANCH: Final = frozenset({"push", _SCHEDULE})
"""Events of GitHub that judge the branch itself: what nobody has accepted there stays red. So does a manual
run of a commit that is its own base; of another branch it judges the change."""
_MOST_TIMES: Final = 3
_MANUAL: Final = "workflow_dispatch"
_UNCONFIRMED: Final = "suspects were not measured again on this machine, so none of them is confirmed"


@dataclass(frozen=True)
class Request:
    """What a command is asked to judge."""

    thresholds: Path
    reports: Sequence[Path]
    baseline: Path | None = None
    """The directory of accepted runs; None: as the policy says."""
    base: str | None = None
    """Judge by the merge base with this ref; None: by the work tree."""
    event: str = ""
    """What GitHub calls the event; empty elsewhere."""
    attempt: int = 1
    """Which attempt of a workflow's run it is: a further one gets twice, then three times the budget."""
    complete: bool = True
    """Whether a shard of a suite that is not there is a problem."""
    only: frozenset[str] = frozenset()
    """Suites to judge; empty: all."""

    @property
    def root(self) -> Path:
        """The directory of thresholds.yaml."""
        return self.thresholds.absolute().parent


@dataclass(frozen=True)
class Case:
    """A run in the names and units of the baseline, and all that it is judged by."""

    request: Request
    sources: Sources
    run: Run
    inputs: Inputs
    apart: Apart
    """The suites of which the names are qualified."""

    @property
    def comparable(self) -> bool:
        """Whether base and head can be measured beside each other, and shall be."""
        return bool(self.sources.beside) and self.sources.policy.confirm != "off" and not self.run.problems

    def judged(self, confirmation: Confirmation | None = None, *problems: Problem) -> Verdict:
        """The verdict, with what base and head showed and what went wrong meanwhile."""
        run = with_reruns(self.run, self.inputs.baseline, confirmation) if confirmation else self.run
        run = Run(suites=run.suites, problems=(*self.run.problems, *problems))
        return judge(run, self.inputs, confirmation)


def open_case(
    request: Request, *, waivers: Waivers = NO_WAIVERS, strict: bool = False, confirms: bool = True
) -> Case:
    """Load policy and baseline, read the reports, and align both.

    Args:
        request: what to judge.
        waivers: permissions.
        strict: warnings fail, too.
        confirms: suspects are to be measured again, by whomever; else history alone decides.

    Raises:
        LocatedError: thresholds.yaml is missing or wrong.
        GitError: the base cannot be found.
    """
    sources = load_sources(request.thresholds, request.baseline, request.base)
    run = read_reports(
        request.reports, sources.policy, request.root, sources.problems, complete=request.complete
    )
    if request.only:
        run = Run({name: suite for name, suite in run.suites.items() if name in request.only}, run.problems)
    own_base = bool(sources.base) and sources.base == head_commit(request.root)
    of_branch = (
        sources.same
        or (own_base and request.event == _MANUAL)
        or (bool(sources.base) and request.event in _OF_THE_BRANCH)
    )
    if of_branch:
        sources = beside_accepted(sources, run, request.root)
    elif sources.base:
        sources = up_to_base(sources, run, request.root)
    inputs = Inputs(
        sources.policy,
        sources.baseline,
        base=sources.base,
        alone=not sources.beside,
        of_branch=of_branch,
        scheduled=request.event == _SCHEDULE,
        changed=sources.changed,
        touched=sources.touched,
        untouched=untouched_suites(run, sources, request.root, of_branch=of_branch),
        behind=sources.behind,
        equips=any(map(equips, sources.touched)),
        proposed=sources.proposed,
        moved=moves_of(
            run, sources.baseline, sources.policy, request.root, "" if of_branch else sources.base
        ),
        reports={name: hash_of(suite) for name, suite in run.suites.items()},
        waivers=waivers,
        strict=strict,
        only=request.only,
        unconfirmed=_UNCONFIRMED if confirms and sources.policy.confirm != "off" else "",
        notes=sources.notes,
    )
    apart = Apart.of(run, inputs.baseline, inputs.policy.suites)
    return Case(request, sources, *align(run, inputs, apart), apart)


def check(
    case: Case, listen: Callable[[str], None], *, earlier: Confirmation | None = None
) -> tuple[Verdict, Confirmation | None]:
    """The one loop of the gate: what history leaves open is measured, base beside head, and judged again.

    Args:
        case: what to judge.
        listen: called with a line about the progress.
        earlier: what an earlier check of the same run showed; only what that leaves open is measured.

    Returns:
        The verdict, and what it rests on beside history.
    """
    if not case.comparable:
        return case.judged(), None
    try:
        found = measure(case, listen, earlier=earlier)
    except LaunchError as error:
        remedy = "fix what crashes or hangs, or judge with --no-confirm"
        return case.judged(None, Problem("confirm", str(error), remedy)), None
    return case.judged(found), found


def measure(
    case: Case,
    listen: Callable[[str], None],
    *,
    apart: bool = False,
    thorough: bool = False,
    earlier: Confirmation | None = None,
) -> Confirmation:
    """Measure what history leaves open, base beside head.

    Args:
        case: what is to be judged.
        listen: called with a line about the progress.
        apart: other machines measure the other suites of the policy, each one suite.
        thorough: somebody else judges, and may permit what is confirmed here: it does not end the comparison.
        earlier: what an earlier check of the same run showed; only what that leaves open is measured, and has
            three times the budget.

    Raises:
        LaunchError: a side crashed or hangs.
        GitError: the base cannot be checked out.
    """
    left = _left_open(case, earlier) if earlier else frozenset[str]()
    if earlier and not left:
        listen("confirm: the last check left nothing open")
        return earlier
    history = judge(case.run, case.inputs, liberal=True)
    sources = case.sources
    times = _MOST_TIMES if earlier else min(max(case.request.attempt, 1), _MOST_TIMES)
    if times > 1 and sources.policy.confirm != "all":
        why = "what is still open" if earlier else f"attempt {case.request.attempt} of this run"
        listen(f"confirm: {why}, so {times} times the budget")
    fresh = {name for name in case.run.suites if sources.baseline.latest(name) is None}
    layers = case.apart.layers(case.run) or [frozenset(case.run.suites)]
    parts: list[Confirmation] = []
    for layer in layers:  # suites with the same names one after the other, in names that pytest knows
        names = case.apart.names(next((name for name in case.apart.suites if name in layer), ""))
        run = Run({name: names.plain_suite(case.run.suites[name]) for name in layer})
        found = confirm(
            run,
            names.plain_verdict(history, layer),
            replace(sources.policy, budget=_times(sources.policy.budget, times / len(layers))),
            case.request.root,
            sources.beside,
            listen=listen,
            apart=apart,
            first=sources.first,
            behind=() if case.inputs.of_branch else sources.behind | fresh,
            thorough=thorough or bool(case.inputs.waivers.granted),
            earlier=Earlier(names.plain_confirmation(earlier), frozenset(map(names.plain, left)))
            if earlier
            else None,
        )
        parts.append(names.confirmation(found, run))
    return together(parts) if len(parts) > 1 else parts[0]


def _left_open(case: Case, earlier: Confirmation) -> frozenset[str]:
    """Metrics, loads and tests that a verdict leaves open."""
    undecided = {f.subject for f in case.judged(earlier).findings if f.state == "inconclusive"}
    return frozenset(undecided | {test for test, rerun in earlier.reruns.items() if rerun.unclear})


def _times(quantity: Quantity, number: float) -> Quantity:
    return Quantity(number * quantity.value, quantity.unit)


def by_history(run: Run, baseline: Baseline, policy: Policy) -> Verdict:
    """The verdict of history alone, without a base: of a run that may be accepted or reported."""
    return judge(*align(run, Inputs(policy, baseline)))

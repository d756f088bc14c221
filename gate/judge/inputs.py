"""What a run is judged by, beside what base and head showed on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.baseline import Baseline
from gate.policy import Policy
from gate.verdict import Finding
from gate.waivers import NO_WAIVERS, Waivers


@dataclass(frozen=True)
class Inputs:
    """Rules, memory, and what is known of the change."""

    policy: Policy
    baseline: Baseline
    base: str = ""
    """The commit that policy and baseline were read from; empty: the work tree."""
    alone: bool = False
    """There is no commit to measure beside the head."""
    of_branch: bool = False
    """The branch itself is judged: that its own commit fails as well excuses no test."""
    scheduled: bool = False
    """Nobody's change is judged, but the state of the branch on a certain day."""
    changed: bool = True
    """Whether any file differs from the base."""
    touched: frozenset[str] = frozenset()
    """Files that the change touches, relative to the directory of thresholds.yaml."""
    untouched: frozenset[str] = frozenset()
    """Suites since whose acceptance no file has changed; of a change, since its base."""
    behind: frozenset[str] = frozenset()
    """Suites whose accepted runs are older than the base: changes of others lie between."""
    equips: bool = True
    """The change may decide with which interpreter, distributions and variables the suites run."""
    proposed: Policy | None = None
    """The rules as the change leaves them; None: it leaves them alone."""
    moved: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By suite what its tests are called at the base, if it is another name, by nodeid."""
    reports: Mapping[str, str] = field(default_factory=dict[str, str])
    """Hash of what each suite measured."""
    waivers: Waivers = NO_WAIVERS
    strict: bool = False
    """Warnings fail, too."""
    only: frozenset[str] = frozenset()
    """Suites that somebody asked for; empty: all."""
    unconfirmed: str = ""
    """What to say about suspects that nobody confirmed or cleared; empty: nothing."""
    notes: tuple[Finding, ...] = ()
    """Findings from outside the run, such as a policy change."""

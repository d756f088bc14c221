"""A repository through a year in fast motion, against a plain list of facts.

Changes, merges of every kind, merges in spite of red, waivers, acceptances by hand, two kinds of runners of
which one skips a test, wrong clocks, runs that end late, races, flaky days, and files written anew. Of every
verdict it is known what it must be: nothing worse than what is expected is green unless somebody permitted
it, nothing unchanged is red.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from msgspec import structs

from gate.baseline import Permission
from gate.baseline.ancestry import Ancestry
from gate.baseline.expected import expected
from gate.baseline.files import parse_baseline, to_lines
from gate.baseline.pruning import pruned
from gate.baseline.records import Memory, SuiteRecords, Where, record_of, united
from gate.evidence import Confirmation, Rerun
from gate.judge import Inputs, judge
from gate.model import Run
from gate.pipeline.accept import subjects_of
from gate.pipeline.align import align
from gate.policy import Policy
from gate.thresholds import parse_policy
from gate.verdict import Verdict
from gate.waivers import Waiver, Waivers
from tests.gate.build import CREATED, MACHINE, OTHER_MACHINE, metric, outcome, policy_of, run_of, suite_run

EVENTS: Final = 60
CALLS, COUNTS, WORKS = "db.calls", "t.py::test_counts", "t.py::test_works"
POLICY = policy_of()
EXPECTING = parse_policy(
    f"version: 1\nsuites: {{api: {{run: pytest tests}}}}\nknown_failures:\n  {WORKS}: {{until: 2999-01-01}}\n"
)


@dataclass(frozen=True)
class Code:
    """What the service does."""

    calls: int = 3
    works: bool = True


@dataclass
class Fact:
    """Something that was accepted, at a commit of main."""

    place: int
    subject: str
    value: float
    permitted: bool


@dataclass
class World:
    """The repository, its memory, and the list of facts."""

    chance: random.Random
    main: list[Code] = field(default_factory=lambda: [Code()])
    waived: dict[int, set[str]] = field(default_factory=dict)
    """What a waiver was given for, by the commit that it was merged as."""
    memory: Memory = field(default_factory=Memory)
    facts: list[Fact] = field(default_factory=list)
    entry: bool = False
    """Whether the rules have an entry for the test that works or not."""
    number: int = 0
    losses: int = 0
    """How many real losses were judged; a simulation without any shows nothing."""

    @property
    def policy(self) -> Policy:
        return EXPECTING if self.entry else POLICY

    def ancestry(self, place: int) -> Ancestry:
        names = range(place, -1, -1)
        return Ancestry.parse(f"c{n} t{n} {f'c{n - 1}' if n else ''}" for n in names)

    def run(self, code: Code, *, skips: bool = False, flaky: bool = False) -> Run:
        """What a runner reports; its clock says anything."""
        self.number += 1
        tests = [
            outcome(WORKS, "passed" if code.works else "failed", signature="S"),
            outcome(COUNTS, "skipped" if skips else "passed"),
        ]
        if flaky:
            tests[0] = structs.replace(tests[0], attempts=2)
        counted = [] if skips else [metric(CALLS, code.calls, "count", exact=True, nodeid=COUNTS)]
        created = CREATED + self.number / 10 + self.chance.choice([0, 0, 0, -9e6, 9e6])
        where = OTHER_MACHINE if skips else MACHINE
        return run_of(suite_run(counted, tests, environment=where, created=created))

    def known(self, place: int, subject: str) -> Fact | None:
        """The plain truth: what was accepted nearest; at one commit the permitted or the strictest."""
        there = [fact for fact in self.facts if fact.subject == subject and fact.place <= place]
        if not there:
            return None
        nearest = max(fact.place for fact in there)
        last = [fact for fact in there if fact.place == nearest]
        strictness = 1 if subject == CALLS else -1
        return min([f for f in last if f.permitted] or last, key=lambda fact: strictness * fact.value)


def named(run: Run) -> list[str]:
    """What a run tells of."""
    ran = [name for suite in run.suites.values() for name, test in suite.tests.items() if not test.silent]
    return [*run.metrics, *ran]


def red(verdict: Verdict) -> set[str]:
    return {name for f in verdict.findings if f.level == "fail" for name in subjects_of(f)}


def change(world: World) -> None:
    """A pull request: judged against its base, and merged, perhaps in spite of what was said."""
    chance = world.chance
    place = max(0, len(world.main) - 1 - chance.choice([0, 0, 0, 1, 3]))
    base = world.main[place]
    head = chance.choice(
        [base, base, replace(base, calls=base.calls + chance.randint(1, 5)),
         replace(base, calls=max(1, base.calls - chance.randint(1, 5))), replace(base, works=not base.works)]
    )  # fmt: skip
    skips = chance.random() < 0.2
    run = world.run(head, skips=skips)
    baseline = expected(world.memory, world.ancestry(place))
    known = baseline.latest("api")
    behind = known is not None and (
        known.accepted_by(named(run)) != f"c{place}" or not run.metrics.keys() <= known.places.keys()
    )
    reruns = {} if head.works else {WORKS: Rerun((4, 4), (0, 3) if base.works else (3, 3))}
    counts = {CALLS: float(base.calls)} if behind and not skips else {}
    inputs = Inputs(
        world.policy,
        baseline,
        base=f"c{place}",
        behind=frozenset({"api"} if behind else ()),
        changed=head != base,
    )
    said = red(judge(*align(run, inputs), Confirmation(reruns=reruns, counts=counts)))
    if known is not None:
        lost = {CALLS} if head.calls > base.calls and not skips else set[str]()
        lost |= {WORKS} if base.works and not head.works and not world.entry else set[str]()
        world.losses += bool(lost)
        assert lost <= said, f"{base} → {head} is green"
        assert head != base or not said, f"unchanged {base} is red: {said}"
    if said and chance.random() < 0.6:
        return
    waived = {CALLS} & said if chance.random() < 0.5 else set[str]()
    tip = world.main[-1]
    merged = replace(
        tip,
        calls=max(1, tip.calls + head.calls - base.calls),
        works=head.works if head.works != base.works else tip.works,
    )
    world.main.append(merged)
    world.waived[len(world.main) - 1] = waived


def push(world: World, *, by_hand: bool = False) -> SuiteRecords | None:
    """A run of main is judged and enters, perhaps one of a commit long ago."""
    chance = world.chance
    place = max(0, len(world.main) - 1 - chance.choice([0, 0, 0, 0, 1, 2, 5]))
    code, before = world.main[place], place - 1
    skips, flaky = chance.random() < 0.25, chance.random() < 0.1
    run = world.run(code, skips=skips, flaky=flaky and code.works)
    baseline = expected(world.memory, world.ancestry(before)) if place else expected(Memory())
    known = baseline.latest("api")
    behind = known is not None and known.accepted_by(named(run)) != f"c{before}"
    granted = tuple(Waiver(subject, "kim", "wanted") for subject in world.waived.get(place, ()))
    inputs = Inputs(
        world.policy, baseline, base=f"c{before}", of_branch=True,
        behind=frozenset({"api"} if behind else ()), waivers=Waivers(f"c{place}", granted),
    )  # fmt: skip
    verdict = judge(*align(run, inputs))
    said = red(verdict)
    calls, works = world.known(before, CALLS), world.known(before, WORKS)
    permitted = bool(granted) and not behind
    if calls and not skips:
        worse = code.calls > calls.value
        world.losses += worse
        assert not worse or permitted or CALLS in said, f"{calls} → {code.calls} is green"
        assert worse or CALLS not in said, f"{calls} → {code.calls} is red"
    if works:
        permits = world.entry or (works.value == 0 and works.permitted)
        fails = not code.works and not permits
        world.losses += fails
        assert (WORKS in said) == fails, f"{works} → {code}"
    permissions = [Permission(name, "kim", "accepted") for name in sorted(said)] if by_hand else []
    permissions += [Permission(f.subject, "kim", "wanted") for f in verdict.findings if f.state == "waived"]
    held = set() if by_hand else said
    if not code.works and WORKS not in said and works and works.value == 0 and works.permitted:
        permissions.append(Permission(WORKS, "kim", "as before"))
    # of a squash or a merge queue the measured commit is gone, and its tree is that of the commit
    commit = f"gone{world.number}" if chance.random() < 0.3 else f"c{place}"
    where = Where(commit, f"t{place}", f"c{len(world.main) - 1}")
    names = {one.subject for one in permissions}
    if not skips and CALLS not in held:
        world.facts.append(Fact(place, CALLS, code.calls, CALLS in names))
    if WORKS not in held and not (flaky and code.works):
        world.facts.append(Fact(place, WORKS, 1 if code.works else 0, WORKS in names))
    (suite,) = run.suites.values()
    return record_of(suite, where, held=held, waived=tuple(permissions))


def live(seed: int) -> World:
    world = World(random.Random(seed))
    for _ in range(EVENTS):
        event = world.chance.random()
        if event < 0.4:
            change(world)
        elif event < 0.85:
            found = push(world, by_hand=world.chance.random() < 0.15)
            if found:
                world.memory = united([world.memory, Memory((found,))])
        elif event < 0.93:  # written anew, by whatever merged the lines
            files = {f"{s.environment.id}/{s.suite}.jsonl": to_lines(s) for s in world.memory.suites}
            for name, data in files.items():
                header, *lines = data.splitlines()
                world.chance.shuffle(lines)
                files[name] = b"\n".join([header, *lines, *lines[:2]])
            world.memory = parse_baseline(files)
        elif event < 0.96:
            world.entry = not world.entry
        else:
            world.memory = pruned(world.memory, world.ancestry(len(world.main) - 1))
    return world


@pytest.mark.parametrize("seed", range(12))
def test_a_year(seed: int):
    live(seed)


@pytest.mark.long
def test_five_hundred_years():
    losses = sum(live(seed).losses for seed in range(500))
    assert losses > 2000, "there was something to lose"

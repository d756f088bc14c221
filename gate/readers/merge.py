"""Several reports of one suite -> one run of it. Pure.

A suite is used whole or not at all: what is missing, or there twice, is a problem and never fewer tests.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeVar

from gate.model import Problem, Shard, SuiteRun, TestOutcome
from gate.policy import Policy
from gate.readers.naming import report_stem
from pytest_regression_gate.metrics import MIXED, Environment

T = TypeVar("T")

_SPLIT: Final = "let the suite's command pick its share by GATE_SHARD and GATE_SHARDS"


def merge(
    reports: Iterable[SuiteRun], policy: Policy, *, complete: bool = True
) -> tuple[dict[str, SuiteRun], list[Problem]]:
    """Put the reports of each suite together, in whatever order they come.

    Args:
        reports: what was read, each with the file it came from.
        policy: says how many reports make a suite whole; what it leaves open, the reports say.
        complete: whether a share that is not there is a problem.

    Returns:
        The suites that are whole, and why the others are not.
    """
    parts: dict[str, list[SuiteRun]] = defaultdict(list)
    for report in reports:
        parts[report.name].append(report)
    suites: dict[str, SuiteRun] = {}
    problems: list[Problem] = []
    for name, of_suite in parts.items():
        of_suite.sort(key=_place)
        known = policy.suites.get(name)
        wrong = [
            *(_count(of_suite, known.shards if known else 0, complete=complete) or _overlaps(of_suite)),
            *_commits(of_suite),
        ]
        if complete and not wrong and not any(part.tests for part in of_suite):
            remedy = "check the suite's 'run' command: it selects nothing"
            wrong = [Problem(of_suite[0].source, "no share of the suite holds a test", remedy)]
        problems += wrong
        if not wrong:
            suites[name] = merged(of_suite)
    return suites, problems


def merged(parts: Sequence[SuiteRun]) -> SuiteRun:
    """One run of a suite out of shards that do not contradict each other; one alone stays as it is.

    Shards of different machines get an environment that no history compares with. A test that other
    shards skipped counts where it ran.
    """
    if len(parts) == 1:
        return parts[0]
    ordered = sorted(parts, key=_place)
    seen = [machine for part in ordered for machine in part.machines or (part.environment,)]
    by_id = {machine.id: machine for machine in sorted(seen, key=lambda machine: (machine.id, machine.cpu))}
    machines = tuple(by_id.values())
    tests: dict[str, TestOutcome] = {}
    executed: dict[str, frozenset[str]] = {}
    for part in ordered:
        for test in part.tests.values():
            tests[test.nodeid] = max(tests.get(test.nodeid, test), test, key=_weight)
        for subject, code in part.executed.items():
            executed[subject] = executed.get(subject, frozenset()) | code
    return SuiteRun(
        name=ordered[0].name,
        environment=_together(machines),
        machines=machines if len(machines) > 1 else (),
        commit=max(part.commit for part in ordered),
        created=max(part.created for part in ordered),
        tests=_by_name(tests.items()),
        metrics=_by_name(item for part in ordered for item in part.metrics.items()),
        source=", ".join(sorted({source for part in ordered for source in part.source.split(", ")})),
        loads=_by_name(item for part in ordered for item in part.loads.items()),
        executed=_by_name(executed.items()),
        seconds=max(part.seconds for part in ordered),
        uncommitted=tuple(sorted({name for part in ordered for name in part.uncommitted})),
        uses=_agreed(part.uses for part in ordered),
        invalid=tuple(value for part in ordered for value in part.invalid),
    )


def _agreed(parts: Iterable[dict[str, str]]) -> dict[str, str]:
    """What none of the shards contradicts."""
    said: dict[str, set[str]] = defaultdict(set)
    for name, version in (item for part in parts for item in part.items()):
        said[name].add(version)
    return {name: versions.pop() for name, versions in sorted(said.items()) if len(versions) == 1}


def _place(part: SuiteRun) -> tuple[int, str]:
    return part.shard.number if part.shard else 0, part.source


def _weight(test: TestOutcome) -> tuple[bool, str, float]:
    """Of two outcomes of a test the one that ran; of two that did not, always the same one."""
    return test.outcome != "skipped", test.reason, test.duration


def _by_name(items: Iterable[tuple[str, T]]) -> dict[str, T]:
    return dict(sorted(items, key=itemgetter(0)))


def _together(machines: Sequence[Environment]) -> Environment:
    """What the machines have in common; the CPU of several says that they are several."""
    first = machines[0]
    if len(machines) == 1:
        return first
    return Environment(
        cpu=MIXED,
        cores=first.cores if len({machine.cores for machine in machines}) == 1 else 0,
        os=first.os if len({machine.os for machine in machines}) == 1 else MIXED,
        python=first.python if len({machine.python for machine in machines}) == 1 else MIXED,
    )


def _count(parts: Sequence[SuiteRun], expected: int, *, complete: bool) -> list[Problem]:
    """What is wrong with the number of reports, or with the numbers they bear."""
    name, numbered = parts[0].name, [part for part in parts if part.shard]
    if not numbered:
        return _unnumbered(parts, expected, complete=complete)
    if len(numbered) < len(parts):
        known = f"{numbered[0].source} is shard {numbered[0].shard}"
        return [
            Problem(
                part.source,
                f"does not say which shard of suite {name!r} it is, and {known}",
                f"remove it if it is left over, or call it {name}.K-of-N{Path(part.source).suffix}",
            )
            for part in parts
            if not part.shard
        ]
    return _numbered(numbered, expected, complete=complete)


def _unnumbered(parts: Sequence[SuiteRun], expected: int, *, complete: bool) -> list[Problem]:
    name, count, files = parts[0].name, len(parts), ", ".join(part.source for part in parts)
    if not expected:
        says = f"a second report of suite {name!r}, the first is {parts[0].source}"
        remedy = f"give the suite one report, or say how many make it whole: suites.{name}.shards: {count}"
        return [Problem(part.source, says, remedy) for part in parts[1:]]
    if count > expected or (complete and count < expected):
        says = f"{count} of the {expected} reports of suite {name!r} are there: {files}"
        remedy = f"read the log of the job whose report is missing, or run all of them: gate run {name}"
        if count > expected:
            says = f"{count} reports of suite {name!r} are there, thresholds.yaml says {expected}: {files}"
            remedy = "remove what is left over from another run"
        return [Problem(name, says, remedy)]
    return []


def _numbered(parts: Sequence[SuiteRun], expected: int, *, complete: bool) -> list[Problem]:
    name, first = parts[0].name, parts[0]
    shards = [(part, part.shard) for part in parts if part.shard]
    totals = {shard.of for _, shard in shards}
    if expected and totals != {expected}:
        says = f"thresholds.yaml says that suite {name!r} has {expected} shards"
        return [
            Problem(part.source, f"is shard {shard}, but {says}", f"run it in {expected} shards")
            for part, shard in shards
            if shard.of != expected
        ]
    if len(totals) > 1:
        known = ", ".join(f"{part.source} is {shard}" for part, shard in shards)
        return [
            Problem(
                name,
                f"the shards of suite {name!r} do not agree how many there are: {known}",
                "remove what is left over from another run",
            )
        ]
    problems: list[Problem] = []
    given: dict[int, SuiteRun] = {}
    for part, shard in shards:
        if (other := given.setdefault(shard.number, part)) is not part:
            says = f"is shard {shard} of suite {name!r}, and so is {other.source}"
            problems.append(Problem(part.source, says, "give each shard once"))
    for number in range(1, totals.pop() + 1) if complete else ():
        if number not in given:
            shard = Shard(number, shards[0][1].of)
            file = Path(first.source).with_name(report_stem(name, shard) + Path(first.source).suffix)
            remedy = f"read the log of the job that should have left it: gate run {name} --shard {shard}"
            problems.append(Problem(str(file), f"shard {shard} of suite {name!r} is missing", remedy))
    return problems


def _commits(parts: Sequence[SuiteRun]) -> list[Problem]:
    dated = [part for part in parts if part.commit]
    if len({part.commit for part in dated}) < 2:
        return []
    measured = ", ".join(f"{part.source} {part.commit[:10]}" for part in dated)
    says = f"the shards of suite {parts[0].name!r} measured different commits: {measured}"
    return [Problem(parts[0].name, says, "run all shards on one commit")]


def _overlaps(parts: Sequence[SuiteRun]) -> Iterator[Problem]:
    """Tests that ran in two shards, or else metrics that two recorded: one of the two would be lost."""
    ran = [[test.nodeid for test in part.tests.values() if _counts_once(test)] for part in parts]
    recorded = [[*part.metrics] for part in parts]
    found = list(_shared(parts, "test", ran, _SPLIT))
    yield from found or _shared(
        parts, "metric", recorded, "give it one home, or a label that tells the two apart"
    )


def _counts_once(test: TestOutcome) -> bool:
    """Whether a test is one shard's alone. Every shard meets a file that cannot be collected."""
    return test.outcome != "skipped" and not (test.outcome == "error" and "::" not in test.nodeid)


def _shared(
    parts: Sequence[SuiteRun], what: str, names: Sequence[Sequence[str]], remedy: str
) -> Iterator[Problem]:
    owners: dict[str, SuiteRun] = {}
    for part, own in zip(parts, names, strict=True):
        twice = sorted(name for name in own if owners.setdefault(name, part) is not part)
        if twice:
            more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
            yield Problem(part.source, f"{what} {twice[0]}{more} is in {owners[twice[0]].source} too", remedy)

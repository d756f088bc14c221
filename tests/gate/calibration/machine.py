"""Trials on this machine: how often `gate confirm` accuses unchanged code, and what it sees of a change.

Every trial is a line of `machine.jsonl`; a run that is stopped goes on where it was.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import expm1
from pathlib import Path
from statistics import median
from typing import Any, Final

from gate.confirm import Question, changed_in, compare, two_sides
from gate.confirm.plan import questions_about
from gate.git import changed_files
from gate.model import Metric
from gate.pipeline.load import load_policy
from gate.policy import Policy
from gate.readers import read_run
from gate.sides.impact import reaches
from pytest_regression_gate.environment import this_environment
from pytest_regression_gate.metrics import statistic_of, subject_of
from tests.gate.calibration.workshop import (
    CACHE,
    LOADS,
    PLACES,
    Place,
    copy_of_repository,
    inject,
    neutral_edit,
    noisy_neighbour,
    remark_everywhere,
    remember,
)

RECORD: Final = "machine.jsonl"
_STATISTICS: Final = ("p50", "cpu", "p95", "throughput")
_TOLERANCES: Final = {0.10: 0.05, 0.05: 0.02, 0.03: 0.01}
"""Injected change -> tolerance it is judged by."""


@dataclass(frozen=True)
class Trial:
    """One trial; its name is its identity."""

    kind: str
    number: int
    size: float = 0.0
    """Injected relative change of the CPU time."""
    neighbour: bool = False
    """Beside a busy loop on every core."""
    budget: float = 180.0
    """Seconds."""

    @property
    def name(self) -> str:
        """E.g. `power +5% noisy #3`."""
        size = f" +{100 * self.size:.0f}%" if self.size else ""
        return f"{self.kind}{size}{' noisy' * self.neighbour} {self.budget:.0f}s #{self.number}"


def plan() -> Iterator[Trial]:
    """All trials, so mixed that every kind has some when the time is over early.

    A trial of `power` or `same` asks about four operations, so that eight of them are over thirty; one of
    `throughput` about three loads.
    """
    for number in range(20):
        if number < 8:
            yield from (Trial("power", number, size, budget=120) for size in _TOLERANCES)
            yield Trial("power", number, 0.10, neighbour=True, budget=120)
            yield Trial("same", number, neighbour=True, budget=60)
        if number < 15:
            yield Trial("same", number, budget=60)
        if number < 10:
            yield from (Trial("throughput", number, size, budget=120) for size in _TOLERANCES)
            yield Trial("whole", number, 0.20)
            yield Trial("whole", number, 0.20, neighbour=True)
        yield Trial("whole", number, 0.05)
        yield Trial("whole", number, 0.10, budget=60)
        yield Trial("neutral", number, budget=60)
        yield Trial("unchanged", number, budget=60 if number % 4 else 180)


def main(directory: Path, minutes: float, kinds: Collection[str] = ()) -> None:
    """Run trials that are not recorded yet until the time is over.

    Two calls that have a core each (`taskset`) may run side by side with different kinds.

    Args:
        directory: where the record is.
        minutes: no trial begins after them.
        kinds: only these; none: all.
    """
    record, turns = directory / RECORD, directory / TURNS
    cpu = this_environment().cpu
    measured = json.loads(turns.read_text()) if turns.exists() else {}
    _doubling.update(measured.get(cpu, {}))
    done = (
        {json.loads(line)["name"] for line in record.read_text().splitlines()} if record.exists() else set()
    )
    deadline = time.monotonic() + minutes * 60
    todo = [trial for trial in plan() if trial.name not in done and (not kinds or trial.kind in kinds)]
    for place, trial in enumerate(todo, start=1):
        left = deadline - time.monotonic()
        if left <= 0:
            print(f"time is over; {len(todo) - place + 1} trials are left for the next run")
            return
        begun = time.monotonic()
        found = _KINDS[trial.kind](trial)
        total = round(time.monotonic() - begun, 1)
        if _doubling:
            turns.write_text(json.dumps(measured | {cpu: _doubling}, indent=1) + "\n")
        line = {"name": trial.name, **asdict(trial), "cpu": cpu, "total_seconds": total, **found}
        with record.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{place}/{len(todo)}, {left / 60:.0f} min left: {trial.name}: {found['summary']}", flush=True)


def _power(trial: Trial) -> dict[str, Any]:
    """Several operations get slower at once; each is asked about like a suspect of its own."""
    return _compared(trial, _TOLERANCES[trial.size])


def _throughput(trial: Trial) -> dict[str, Any]:
    """Every request gets slower; three loads of many users are asked about."""
    return _compared(trial, _TOLERANCES[trial.size])


def _same(trial: Trial) -> dict[str, Any]:
    """The same code on both sides, with a tolerance as small as the noise."""
    return _compared(trial, 0.02)


def _compared(trial: Trial, tolerance: float) -> dict[str, Any]:
    places = _places_of(trial)
    _turns()  # in a copy of its own
    with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), "10 %") as root:
        policy, metrics = load_policy(root / "thresholds.yaml"), _metrics()
        if trial.size:
            _inject(root, places, trial.size)
        questions = _questions(places, metrics, policy, tolerance)
        with noisy_neighbour(wanted=trial.neighbour), two_sides(root, "HEAD") as pair:
            sides = {question.command: pair for question in questions}
            result = compare(sides, questions, trial.budget)
    answers = [
        {
            "metric": question.metric,
            "decision": result.decisions.get(question.metric, "inconclusive"),
            "launches": [round(ratio, 5) for ratio in shown.ratios],
            "errors": [round(error, 5) for error in shown.errors],
            "change": round(shown.change, 5),
            "interval": [round(bound, 5) for bound in shown.interval],
        }
        for question in questions
        if (shown := result.evidence.get(question.metric))
    ]
    confirmed = sum(answer["decision"] == "confirmed" for answer in answers)
    return {
        "tolerance": tolerance,
        "seconds": round(result.seconds, 1),
        "subjects": len(places),
        "answers": answers,
        "summary": f"{confirmed} of {len(answers)} confirmed in {result.seconds:.0f} s",
    }


def _places_of(trial: Trial) -> tuple[Place, ...]:
    """Four of the places, other ones each time, so that a trial is short and the order is mixed."""
    if trial.kind == "throughput":
        return LOADS
    return tuple(random.Random(trial.name).sample(PLACES, 4))


def _questions(
    places: tuple[Place, ...], metrics: dict[str, Metric], policy: Policy, tolerance: float
) -> list[Question]:
    found = [
        question
        for place in places
        for question in questions_about(place.subject, metrics.values(), policy)
        if statistic_of(question.metric) in _STATISTICS
        and "profile=" not in question.metric
        and (place not in LOADS or statistic_of(question.metric) == "throughput")
    ]
    return [replace(question, tolerance=tolerance, floor=0.0) for question in found]


_measured: dict[str, Metric] = {}


def _metrics() -> dict[str, Metric]:
    """The metrics of one run on this machine; measured once per process."""
    if not _measured:
        with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), "10 %") as root:
            _gate(root, "run", "performance", "load", "--quiet")
            reports = [root / ".gate" / f"{suite}.json" for suite in ("performance", "load")]
            run = read_run(reports, load_policy(root / "thresholds.yaml"))
            _measured.update(run.metrics)
    return _measured


TURNS: Final = "turns.json"
_doubling: dict[str, float] = {}
_ATTEMPT: Final = 0.5
_TURN: Final = 15e-9
"""Seconds of a turn of the injected loop, roughly: the first attempt need not be exact."""


def _turns() -> dict[str, float]:
    """Turns of the loop that double the time of each operation; measured once per CPU model.

    Base beside head: whatever the machine's speed, the ratio of loop and operation is the same.
    """
    if not _doubling:
        metrics = _metrics()
        for places in ((*PLACES, CACHE), LOADS):
            with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), "10 %") as root:
                attempt = {place: round(_ATTEMPT * _seconds(place, metrics) / _TURN) for place in places}
                for place in places[: 1 if places is LOADS else None]:
                    inject(root, place, attempt[place])
                questions = _questions(places, metrics, load_policy(root / "thresholds.yaml"), 0.0)
                with two_sides(root, "HEAD") as pair:
                    sides = {question.command: pair for question in questions}
                    shown = compare(sides, questions, 120).evidence
            for place in places:
                change = expm1(abs(shown[_metric_of(place)].estimate))
                _doubling[place.subject] = attempt[places[0] if places is LOADS else place] / change
    return _doubling


def _inject(root: Path, places: tuple[Place, ...], size: float) -> None:
    """Make operations slower by a share of what they take."""
    if places == LOADS:  # one function of all of them
        inject(root, places[0], round(size * median(_turns()[place.subject] for place in places)))
        return
    for place in places:
        inject(root, place, round(size * _turns()[place.subject]))


def _metric_of(place: Place) -> str:
    name, brace, labels = place.subject.partition("{")
    return f"{name}.{'throughput' if place in LOADS else 'p50'}{brace}{labels}"


def _seconds(place: Place, metrics: dict[str, Metric]) -> float:
    """What the operation takes in the suites, a request of a load on average."""
    value = metrics[_metric_of(place)].value
    return 1 / value if place in LOADS else value / 1e3


_ACCEPTED: Final = 5
_accepted: dict[str, bytes] = {}


def _memory() -> dict[str, bytes]:
    """The baseline with accepted runs of this machine, by path; measured once per process.

    Without them history would say nothing of times here, and could accuse nobody.
    """
    if not _accepted:
        with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), "10 %") as root:
            for number in range(_ACCEPTED):
                _gate(root, "run", "--quiet")
                _gate(root, "baseline", "update", "--commit", f"{number:040x}")
            files = (root / "tests" / "baseline").rglob("*.jsonl")
            _accepted.update({str(file.relative_to(root)): file.read_bytes() for file in files})
    return _accepted


def _whole(trial: Trial) -> dict[str, Any]:
    """The whole line: one function gets slower, `gate run`, then `gate check --base`."""
    place = random.Random(trial.name).choice((*PLACES, CACHE))
    _turns()  # in a copy of its own
    with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), _tolerances(trial)) as root:
        _inject(root, (place,), trial.size)
        found = _checked(root, trial)
    named = [subject for subject in found["confirmed"] if subject.startswith(place.subject)]
    summary = f"{place.subject} {'named' if named else 'MISSED'}; confirmed: {found['confirmed']}"
    return {**found, "place": place.subject, "named": bool(named), "summary": summary}


def _neutral(trial: Trial) -> dict[str, Any]:
    """The whole line with an edit that changes nothing."""
    memory = _memory()
    with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), _tolerances(trial)) as root:
        remember(root, memory)
        edit = neutral_edit(root, trial.number)
        found = _checked(root, trial)
    return {**found, "edit": edit, "summary": f"{edit}; {_outcome(found)}"}


def _unchanged(trial: Trial) -> dict[str, Any]:
    """The whole line, and not a single instruction differs; yet every file of the service does.

    Without any difference there would be no comparison: a suspicion would be the machine's.
    """
    memory = _memory()
    with tempfile.TemporaryDirectory() as name, copy_of_repository(Path(name), _tolerances(trial)) as root:
        remember(root, memory)
        remark_everywhere(root)
        found = _checked(root, trial)
    return {**found, "summary": _outcome(found)}


def _outcome(found: Mapping[str, Any]) -> str:
    return f"exit {found['exit']}, red: {found['red']}, confirmed: {found['confirmed']}"


def _tolerances(trial: Trial) -> str:
    """Half the change that is looked for; the default tolerance for neutral edits."""
    share = {0.10: "5 %", 0.05: "2 %"}.get(trial.size, "10 %")
    return f"{share}, budget: {trial.budget:.0f} s"


def _checked(root: Path, trial: Trial) -> dict[str, Any]:
    with noisy_neighbour(wanted=trial.neighbour):
        _gate(root, "run", "--quiet")
        begun = time.monotonic()
        code = _gate(root, "check", "--base", "HEAD", "--json", "verdict.json", "--quiet")
        seconds = time.monotonic() - begun
    verdict = json.loads((root / "verdict.json").read_text())
    by_state: dict[str, list[str]] = {"confirmed": [], "inconclusive": [], "cleared": []}
    for finding in verdict["findings"]:
        if finding["kind"] == "regression" and finding.get("state") in by_state:
            by_state[finding["state"]].append(finding["subject"])
    red = [f"{f['kind']} {f['subject']}" for f in verdict["findings"] if f["level"] == "fail"]
    missed = next((f["message"] for f in verdict["findings"] if f["subject"] == "confirmation"), "")
    by_state["unrelated"] = _unrelated(root, by_state["confirmed"])
    return {**by_state, "exit": code, "red": red, "check_seconds": round(seconds, 1), "not_reached": missed}


def _unrelated(root: Path, confirmed: list[str]) -> list[str]:
    """Accused metrics of operations that run nothing of what was changed."""
    policy = load_policy(root / "thresholds.yaml")
    reports = [root / ".gate" / f"{suite}.json" for suite in policy.suites]
    suites = read_run(reports, policy).suites.values()
    executed = {name: code for suite in suites for name, code in suite.executed.items()}
    changed = changed_in(root, "HEAD", changed_files(root, "HEAD"))
    return [metric for metric in confirmed if not reaches(changed, executed.get(subject_of(metric), ()))]


def _gate(root: Path, *arguments: str) -> int:
    command = [sys.executable, "-c", "from gate.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode not in {0, 1, 3}:
        raise RuntimeError(f"gate {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode


_KINDS: Final[dict[str, Callable[[Trial], dict[str, Any]]]] = {
    "power": _power,
    "throughput": _throughput,
    "same": _same,
    "whole": _whole,
    "neutral": _neutral,
    "unchanged": _unchanged,
}

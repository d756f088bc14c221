"""Replay recorded CI histories: how often does a rule cry wolf, and how many injected changes does it see?

Every rule is a score for one metric of one run; it raises an alarm where the score is over a parameter.
So each rule, swept over its parameter, is a whole curve, and rules are compared where they cry wolf equally
often.
"""

import csv
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.judge.screening import Candidate, screen_suite
from gate.model import Metric
from gate.policy import Policy
from gate.segments import present_level
from gate.statistics import screen, t_quantile
from gate.thresholds import parse_policy
from tests.gate.calibration.pages import draw, page

DATA = Path(__file__).parents[1] / "data" / "ci-histories"
WINDOW, LONG_WINDOW, AFTER = 20, 64, 5
CHANGES = (1.05, 1.10, 1.20)
RATES = (0.03, 0.10, 0.25)
GRID = (0.005, 0.01, 0.015, 0.02, *(round(0.01 * k, 2) for k in range(3, 41)))


@dataclass(frozen=True)
class Series:
    """One metric: which runs of its suite measured it, and what it cost (lower is better)."""

    name: str
    runs: list[int]
    costs: list[float]


@dataclass(frozen=True)
class Case:
    """One metric of one run, with all that came before."""

    series: Series
    at: int

    @property
    def value(self) -> float:
        return self.series.costs[self.at]

    def before(self, window: int) -> list[float]:
        return self.series.costs[max(0, self.at - window) : self.at]

    def runs_before(self, window: int) -> list[int]:
        return self.series.runs[max(0, self.at - window) : self.at]

    @property
    def judged(self) -> bool:
        """First verdict at run 21; the next five runs must exist to tell a false alarm from a true one."""
        return WINDOW <= self.at < len(self.series.runs) - AFTER

    @property
    def stays(self) -> bool:
        """Whether an alarm is true: the value was up, and the median of the next five keeps half of it."""
        centre = float(np.median(self.before(WINDOW)))
        after = float(np.median(self.series.costs[self.at + 1 : self.at + 1 + AFTER]))
        return self.value > centre and after - centre >= (self.value - centre) / 2


@dataclass(frozen=True)
class Occasion:
    """A run with at least one metric to judge; `cases` are all of its metrics that have a history."""

    project: str
    cases: tuple[Case, ...]


def read(directory: Path = DATA) -> Iterator[tuple[str, list[Series]]]:
    """Every suite of every project with its metrics; runs in order of time."""
    for path in sorted(directory.glob("*.csv.gz")):
        suites: dict[str, dict[tuple[int, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        with gzip.open(path, "rt", newline="") as lines:
            for row in csv.DictReader(lines):
                if (cost := float(row["cost"])) > 0:
                    suites[row["suite"]][int(row["unix_ms"]), row["commit"]][row["metric"]] = cost
        for suite in sorted(suites):
            runs = [suites[suite][key] for key in sorted(suites[suite])]
            names = sorted({name for run in runs for name in run})
            series = []
            for name in names:
                measured = [i for i, run in enumerate(runs) if name in run]
                series.append(Series(name, measured, [runs[i][name] for i in measured]))
            yield path.name.removesuffix(".csv.gz"), series


def occasions(directory: Path = DATA) -> list[Occasion]:
    """All runs to judge, project by project."""
    found = []
    for project, series in read(directory):
        at_run: dict[int, list[Case]] = defaultdict(list)
        for one in series:
            for at, run in enumerate(one.runs):
                if at:
                    at_run[run].append(Case(one, at))
        runs = (tuple(at_run[run]) for run in sorted(at_run))
        found += [Occasion(project, cases) for cases in runs if any(case.judged for case in cases)]
    return found


# Rules: for one run, the score of each metric as it is, and with each change injected into it alone.

Scores = list[tuple[float, ...]]
Rule = Callable[[Occasion], Scores]
FACTORS = (1.0, *CHANGES)


def one_by_one(score: Callable[[Case, float], float]) -> Rule:
    """A rule that looks at one metric alone."""
    return lambda occasion: [
        tuple(score(case, case.value * factor) for factor in FACTORS) if case.judged else ()
        for case in occasion.cases
    ]


def ratio(case: Case, value: float) -> float:
    """Value over the last run's."""
    return value / case.before(1)[-1]


def t_test(case: Case, value: float) -> float:
    """Distance from the mean of the last 64 runs, in units of Student's bound at 0.99."""
    history = np.array(case.before(LONG_WINDOW))
    spread = max(float(history.std(ddof=1)), 1e-12 * value)
    return (value - float(history.mean())) / (spread * t_quantile(0.99, len(history) - 1))


def outlying_change(case: Case, value: float) -> float:
    """How many interquartile ranges the change from the last run lies over the upper quartile of 30."""
    history = np.array(case.before(31))
    lower, upper = np.quantile(history[1:] / history[:-1] - 1, [0.25, 0.75])
    return (value / history[-1] - 1 - float(upper)) / max(float(upper - lower), 1e-9)


def ours(*, liberal: bool = False) -> Rule:
    """The product's own screen of a suite: worsening over its bound."""
    rule = Policy.rule(parse_policy("version: 1\nsuites: {s: {run: pytest}}\n"), _metric("m", 1.0))

    def score(occasion: Occasion) -> Scores:
        members = [
            Candidate(
                _metric(f"m{number}.p50", case.value),
                rule,
                present_level(case.before(WINDOW)),
                case.runs_before(WINDOW),
            )
            for number, case in enumerate(occasion.cases)
        ]
        screened = screen_suite(members, len(members), liberal=liberal)
        # The metric's own value enters neither the machine's part nor the bound (a test holds that).
        return [
            tuple((seen.worse + math.log(factor)) / seen.bound for factor in FACTORS) if case.judged else ()
            for case, seen in zip(occasion.cases, screened, strict=True)
        ]

    return score


def _metric(name: str, value: float) -> Metric:
    return Metric(name, "s", "lower", value, 10_000, False, "s", "t::m")


def alone(case: Case, value: float) -> float:
    """Our screen of one metric, without the others of its suite."""
    seen = screen(case.before(WINDOW), value, "lower")
    return seen.worse / seen.bound


RULES: dict[str, Rule] = {
    "ratio of the last run": one_by_one(ratio),
    "t-test, window 64": one_by_one(t_test),
    "Q3 + k·IQR of the last 30 changes": one_by_one(outlying_change),
    "our screen, each metric alone": one_by_one(alone),
    "our screen": ours(),
    "our screen, asked liberally": ours(liberal=True),
}
OTHERS = tuple(RULES)[:3]
OURS = "our screen"
NATIVE = {
    "ratio 200 % of the last run": ("ratio of the last run", 2.0),
    "ratio 120 % of the last run": ("ratio of the last run", 1.2),
    "mean:10 % of the last run": ("ratio of the last run", 1.1),
    "t-test boundary 0.99, window 64": ("t-test, window 64", 1.0),
    "Q3 + 3·IQR of the last 30 changes": ("Q3 + k·IQR of the last 30 changes", 3.0),
    "our screen, strict (`--no-confirm`)": (OURS, 1.0),
    "our screen, liberal (orders the confirmation)": ("our screen, asked liberally", 1.0),
}


@dataclass(frozen=True)
class Replay:
    """What a rule says of all tests. Arrays over the tests; `scores` has a column per factor."""

    scores: np.ndarray
    stays: np.ndarray
    run: np.ndarray
    project: np.ndarray

    def of(self, chosen: np.ndarray) -> "Replay":
        _, run = np.unique(self.run[chosen], return_inverse=True)
        return Replay(self.scores[chosen], self.stays[chosen], run, self.project[chosen])

    @property
    def worst(self) -> np.ndarray:
        """For each run the highest score whose alarm would be false, highest run first."""
        worst = np.full(int(self.run.max()) + 1, -np.inf)
        np.maximum.at(worst, self.run, np.where(self.stays, -np.inf, self.scores[:, 0]))
        return np.sort(worst)[::-1]

    def parameter_at(self, rate: float) -> float:
        """The lowest parameter with at most this rate of runs with a false alarm."""
        worst = self.worst
        return float(worst[int(rate * len(worst) + 1e-9)])

    def at(self, parameter: float) -> dict[str, float]:
        """Rate of runs with a false alarm, and the share of each injected change that is seen."""
        seen = (self.scores[:, 1:] > parameter).mean(axis=0)
        power = {
            f"+{round(100 * (change - 1))} %": float(share)
            for change, share in zip(CHANGES, seen, strict=True)
        }
        return {"parameter": parameter, "false alarms": float((self.worst > parameter).mean()), **power}


def replay(rule: Rule, runs: list[Occasion]) -> Replay:
    """Ask a rule about every test."""
    rows = [
        (scores, case.stays, number, occasion.project)
        for number, occasion in enumerate(runs)
        for case, scores in zip(occasion.cases, rule(occasion), strict=True)
        if case.judged
    ]
    scores, stays, run, project = (np.array(column) for column in zip(*rows, strict=True))
    return Replay(scores, stays, run, project)


def measure(runs: list[Occasion]) -> dict[str, object]:
    """All figures of the page, rounded so that they are the same everywhere."""
    replays = {name: replay(rule, runs) for name, rule in RULES.items()}
    first = replays[OURS]
    projects = sorted(set(first.project.tolist()))
    return _rounded(
        {
            "runs": len(runs),
            "tests": len(first.run),
            "native": {label: replays[name].at(parameter) for label, (name, parameter) in NATIVE.items()},
            "equal": {
                name: {str(rate): one.at(one.parameter_at(rate)) for rate in RATES}
                for name, one in replays.items()
            },
            "projects": {project: _project(project, replays) for project in projects},
            "curves": {
                name: [one.at(one.parameter_at(rate)) for rate in GRID] for name, one in replays.items()
            },
        }
    )


def _project(project: str, replays: dict[str, Replay]) -> dict[str, object]:
    """One project: rules at 10 % there, and ours with the bound that the other projects would choose."""
    here = {name: one.of(one.project == project) for name, one in replays.items()}
    elsewhere = replays[OURS].of(replays[OURS].project != project)
    power = {name: here[name].at(here[name].parameter_at(0.10))["+10 %"] for name in (*OTHERS, OURS)}
    return {
        "runs": int(here[OURS].run.max()) + 1,
        "tests": len(here[OURS].run),
        "ours": power[OURS],
        "best other": max(power[name] for name in OTHERS),
        "carried over": here[OURS].at(elsewhere.parameter_at(0.10)),
        "strict": here[OURS].at(1.0),
    }


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def main(directory: Path) -> None:
    """Write figures, picture and page."""
    figures = measure(occasions())
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    (directory / "histories.json").write_text(text, encoding="utf-8")
    (directory / "histories.svg").write_text(draw(figures), encoding="utf-8")
    (directory / "histories.md").write_text(page(figures, OTHERS, OURS), encoding="utf-8")

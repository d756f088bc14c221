"""Suites with tests or metrics of the same names, kept apart by the name of their suite. Pure.

The tests of two such suites (one code on two databases) are called `sqlite:tests/test_a.py::test_x` while a
run is judged, and their metrics get a label: `api.calls{suite=sqlite}`. What is stored, and what pytest is
asked for, has the names that pytest knows.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from msgspec import structs

from gate.baseline import Baseline
from gate.confirm import Question
from gate.evidence import Confirmation, Rerun
from gate.model import InvalidValue, Metric, Run, SuiteRun
from gate.moves import Moved, everywhere, renamed
from gate.nodeids import bare, qualified
from gate.verdict import Finding, Verdict
from pytest_regression_gate.metrics import join_name, split_name

LABEL = "suite"


@dataclass(frozen=True)
class Apart:
    """The suites of a run that share names.

    Attributes:
        suites: their names, in alphabetical order.
    """

    suites: tuple[str, ...]

    @classmethod
    def of(cls, run: Run, baseline: Baseline, suites: Collection[str]) -> "Apart":
        """The suites of which a test or a metric has the name of another one's.

        Args:
            run: what is judged, maybe some suites alone.
            baseline: what is expected; a suite that is not judged now is known from it.
            suites: those of the policy.
        """
        owners: dict[str, set[str]] = defaultdict(set)
        known = [(one.suite, one) for one in baseline.overall if one.suite in suites]
        for suite, one in (*run.suites.items(), *known):
            for name in (*one.tests, *one.metrics):
                owners[name].add(suite)
        return cls(tuple(sorted({name for shared in owners.values() if len(shared) > 1 for name in shared})))

    def names(self, suite: str) -> "Names":
        """How the names of a suite are written."""
        return Names(suite if suite in self.suites else "")

    def run(self, run: Run) -> Run:
        """The run with the names of these suites qualified."""
        return structs.replace(
            run, suites={name: _suite(suite, self.names(name)) for name, suite in run.suites.items()}
        )

    def baseline(self, baseline: Baseline) -> Baseline:
        """What is expected, with the names of these suites qualified."""
        if not self.suites:
            return baseline
        return everywhere(
            baseline,
            lambda suite: (
                renamed(suite, self.names(suite.suite).test, self.names(suite.suite).metric)
                if suite.suite in self.suites
                else suite
            ),
        )

    def moved(self, moved: Moved) -> Moved:
        """Names at the base by names of the head, qualified."""
        return {
            suite: {self.names(suite).test(new): self.names(suite).test(old) for new, old in names.items()}
            for suite, names in moved.items()
        }

    def layers(self, run: Run) -> list[frozenset[str]]:
        """Suites that can be measured together under their own names."""
        others = frozenset(run.suites.keys() - {*self.suites})
        shared = map(frozenset[str], ([name] for name in self.suites if name in run.suites))
        return [layer if place else layer | others for place, layer in enumerate(shared)]


@dataclass(frozen=True)
class Names:
    """The names of one suite's tests and metrics.

    Attributes:
        suite: by which they are qualified; empty: not at all.
    """

    suite: str

    def test(self, nodeid: str) -> str:
        """A test's name while its run is judged."""
        return qualified(self.suite, nodeid) if self.suite else nodeid

    def metric(self, name: str) -> str:
        """A metric's name, or its subject, while its run is judged."""
        if not self.suite:
            return name
        base, labels = split_name(name)
        own = _labels_of_suites(labels)
        return join_name(base, {**labels, f"{own[-1]}_" if own else LABEL: self.suite})

    def plain(self, name: str) -> str:
        """The name of a test or metric as pytest and the stored runs have it."""
        if not self.suite:
            return name
        if name.startswith(qualified(self.suite, "")):
            return bare(name)
        try:
            base, labels = split_name(name)
        except ValueError:  # a test or a file
            return name
        own = _labels_of_suites(labels)
        if not own or labels[own[-1]] != self.suite:
            return name
        return join_name(base, {key: value for key, value in labels.items() if key != own[-1]})

    def plain_suite(self, suite: SuiteRun) -> SuiteRun:
        """A qualified run of the suite as pytest left it."""
        return _with_names(suite, self.plain, self.plain) if self.suite else suite

    def plain_finding(self, finding: Finding) -> Finding:
        """A finding of the suite in names that pytest knows."""
        if not self.suite:
            return finding
        return structs.replace(
            finding, subject=self.plain(finding.subject), nodeids=tuple(map(self.plain, finding.nodeids))
        )

    def plain_question(self, question: Question) -> Question:
        """What is asked about the suite, in names that pytest knows."""
        return replace(question, metric=self.plain(question.metric), nodeid=self.plain(question.nodeid))

    def plain_verdict(self, verdict: Verdict, suites: Iterable[str]) -> Verdict:
        """What a verdict says of some suites, of which this is one."""
        wanted = {*suites, ""}
        found = tuple(self.plain_finding(f) for f in verdict.findings if f.suite in wanted)
        return structs.replace(verdict, findings=found)

    def plain_confirmation(self, shown: Confirmation) -> Confirmation:
        """What base and head showed of the suite, in names that pytest knows."""
        return _confirmation(shown, self.plain, self.plain)

    def confirmation(self, shown: Confirmation, run: Run) -> Confirmation:
        """What base and head showed of this suite among others, qualified.

        Args:
            shown: in names that pytest knows.
            run: what was asked about, in the same names.
        """
        suite = run.suites.get(self.suite)
        if suite is None:
            return shown
        return _confirmation(
            shown,
            lambda nodeid: self.test(nodeid) if nodeid in suite.tests else nodeid,
            lambda name: self.metric(name) if name in suite.metrics else name,
        )


def _labels_of_suites(labels: Iterable[str]) -> list[str]:
    """Labels called `suite`, `suite_`, ... in this order: a metric may have one of its own."""
    return sorted((key for key in labels if key.rstrip("_") == LABEL), key=len)


def _suite(suite: SuiteRun, names: Names) -> SuiteRun:
    return _with_names(suite, names.test, names.metric) if names.suite else suite


Rename = Callable[[str], str]


def _with_names(suite: SuiteRun, test: Rename, metric: Rename) -> SuiteRun:
    def invalid(value: InvalidValue) -> InvalidValue:
        rename = test if value.subject == value.nodeid else metric
        try:
            subject = rename(value.subject)
        except ValueError:  # no name of a metric
            subject = value.subject
        return structs.replace(value, subject=subject, nodeid=test(value.nodeid))

    return structs.replace(
        suite,
        tests={test(name): structs.replace(one, nodeid=test(name)) for name, one in suite.tests.items()},
        metrics={metric(m.name): _metric(m, test, metric) for m in suite.metrics.values()},
        loads={metric(name): load for name, load in suite.loads.items()},
        executed={metric(name): functions for name, functions in suite.executed.items()},
        invalid=tuple(map(invalid, suite.invalid)),
    )


def _metric(one: Metric, test: Rename, metric: Rename) -> Metric:
    return structs.replace(one, name=metric(one.name), nodeid=test(one.nodeid))


def _confirmation(shown: Confirmation, test: Rename, metric: Rename) -> Confirmation:
    def rerun(one: Rerun) -> Rerun:
        return replace(one, metrics=tuple(_metric(m, test, metric) for m in one.metrics))

    return replace(
        shown,
        evidence={metric(name): replace(one, metric=metric(name)) for name, one in shown.evidence.items()},
        reruns={test(nodeid): rerun(one) for nodeid, one in shown.reruns.items()},
        counts={metric(name): count for name, count in shown.counts.items()},
        not_reached=tuple(map(metric, shown.not_reached)),
        not_comparable=tuple(map(metric, shown.not_comparable)),
        account=replace(
            shown.account, tests={test(nodeid): one for nodeid, one in shown.account.tests.items()}
        ),
    )

"""Tests that go by another name at the head: moved, renamed, or with other parameters. Pure.

A test that is gone and one that is new are the same if the syntax trees of their functions are: decorators
included, name and docstring not. Only a unique match counts. A test whose code differs is missing: nobody
could tell a rewritten test from a removed one.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from gate.baseline import Baseline, KnownMetric, KnownTest, SuiteBaseline
from gate.model import Run, SuiteRun
from gate.nodeids import file_of, function_of
from pytest_regression_gate.metrics import duration_name

Moved = Mapping[str, Mapping[str, str]]
"""By suite: what its tests are called in the baseline, by their names of now."""


def unmatched(suite: SuiteRun, baseline: Baseline) -> tuple[list[str], list[str]]:
    """Nodeids that the baseline alone has, and those that the run alone has; none without an accepted run."""
    latest = baseline.latest(suite.name)
    if latest is None:
        return [], []
    gone = [nodeid for nodeid in latest.tests if nodeid not in suite.tests]
    return gone, [nodeid for nodeid in suite.tests if nodeid not in latest.tests]


def find_moves(
    run: Run,
    baseline: Baseline,
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    excused: Callable[[str], bool] = lambda _: False,
) -> dict[str, str]:
    """Which tests of the run are which of the baseline under another name.

    Args:
        run: the run of the head.
        baseline: the accepted runs.
        before: changed test files as of the base, by path; without them only parameters are matched.
        after: the same of the head.
        excused: whether the rules permit that a test of the baseline fails.

    Returns:
        The name at the base, by nodeid of the head. A function that lost some parameters and gained as many
        keeps them in order; but a failure stays where it was, as nobody can tell that it is the same. So does
        one, known or excused, of a function whose code stands in another place of the changed files as well.
    """
    moved: dict[str, str] = {}
    there, here = _code(before), _code(after)
    for suite in run.suites.values():
        gone, new = unmatched(suite, baseline)
        latest = baseline.latest(suite.name)
        failing = {old for old in gone if latest and latest.tests[old].failed}
        functions, often = _moved_functions(gone, new, there, here), _often(there, here)
        for old in gone:
            function = function_of(old)
            name = functions.get(function, "") + old.removeprefix(function)
            if function not in functions or name not in suite.tests:
                continue
            permitted = suite.tests[name].failed and (old in failing or excused(old))
            if not permitted or there[function] not in often:
                moved[name] = old
        moved |= _other_parameters([old for old in gone if old not in failing], new)
    return moved


def followed(baseline: Baseline, moved: Moved) -> Baseline:
    """The baseline with the names of the head, as if it had always known them."""
    names = {suite: {old: new for new, old in of_suite.items()} for suite, of_suite in moved.items()}
    if not any(names.values()):
        return baseline
    return everywhere(baseline, lambda suite: _followed(suite, names.get(suite.suite, {})))


class Since(NamedTuple):
    """What the base has done to the tests of a suite since its youngest accepted run."""

    moved: dict[str, str]
    """Accepted name, by the name at the base; nodeids."""
    removed: frozenset[str]


def since_accepted(
    suite: SuiteRun, baseline: Baseline, before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> Since:
    """Of tests that the head does not have under their accepted name: where they are at the base.

    Args:
        suite: the run of the head.
        baseline: the accepted runs.
        before: files that the base has changed since the youngest of them, as they were then, by path.
        after: the same at the base.
    """
    gone, _ = unmatched(suite, baseline)
    there, here = _code(before), _code(after)
    latest = baseline.latest(suite.name)
    functions, often = _moved_functions(gone, here, there, here), _often(there, here)
    held = {file: _names_in(after.get(file)) for file in before}
    moved: dict[str, str] = {}
    removed: set[str] = set()
    for nodeid in gone:
        function = function_of(nodeid)
        failing = latest is not None and latest.tests[nodeid].failed
        if function in functions and not (failing and there[function] in often):
            moved[functions[function] + nodeid.removeprefix(function)] = nodeid
        elif function in there and _is_gone(function, held[file_of(nodeid)]):
            removed.add(nodeid)
    return Since(moved, frozenset(removed))


def caught_up(baseline: Baseline, suite: str, since: Since) -> Baseline:
    """The baseline as if it had known all the time what the base has done to a suite's tests."""

    def left(known: SuiteBaseline) -> SuiteBaseline:
        if known.suite != suite:
            return known
        tests = {name: test for name, test in known.tests.items() if name not in since.removed}
        return msgspec.structs.replace(known, tests=tests)

    return followed(everywhere(baseline, left), {suite: since.moved})


def everywhere(baseline: Baseline, change: Callable[[SuiteBaseline], SuiteBaseline]) -> Baseline:
    """The baseline with each of its suites changed."""
    return msgspec.structs.replace(
        baseline,
        suites=tuple(map(change, baseline.suites)),
        overall=tuple(map(change, baseline.overall)),
    )


def signature_in(signature: str, old: str, new: str) -> str:
    """A failure's signature (`type | file | message`) after its test moved to another nodeid."""
    kind, _, rest = signature.partition(" | ")
    file, bar, message = rest.partition(" | ")
    return f"{kind} | {file_of(new)}{bar}{message}" if file == file_of(old) else signature


def _often(there: Mapping[str, str], here: Mapping[str, str]) -> frozenset[str]:
    """Code that stands in more than one function of a side: what is permitted of one is not of another."""
    return frozenset(
        code for side in (there, here) for code, number in Counter(side.values()).items() if number > 1
    )


def _moved_functions(
    gone: Iterable[str], new: Iterable[str], there: Mapping[str, str], here: Mapping[str, str]
) -> dict[str, str]:
    """Head name by base name of functions that only one side has, with the same code."""
    lost = {name for nodeid in gone if (name := function_of(nodeid)) in there and name not in here}
    found = {name for nodeid in new if (name := function_of(nodeid)) in here and name not in there}
    moved: dict[str, str] = {}
    for named in (True, False):  # equal code is common, equal code under an equal name is not

        def key(name: str, code: str, named: bool = named) -> tuple[str, str]:
            return code, name.partition("::")[2] if named else ""

        old = _unique((key(name, there[name]), name) for name in lost - moved.keys())
        now = _unique((key(name, here[name]), name) for name in found - set(moved.values()))
        moved |= {old[same]: now[same] for same in old.keys() & now.keys()}
    return moved


def _is_gone(function: str, names: frozenset[str] | None) -> bool:
    """Whether none of these names is the test's, or that of a class around it."""
    return names is not None and names.isdisjoint(function.split("::")[1:])


def _names_in(source: bytes | None) -> frozenset[str] | None:
    """What a test of a file may be called, imported and inherited ones too; None: anything."""
    if source is None:
        return frozenset()
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return None
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes):
        return None
    plain = {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef) and not (node.bases or node.keywords or node.decorator_list)
    }
    return frozenset(re.findall(r"\w+", source.decode(errors="replace"))) - plain


def _unique(pairs: Iterable[tuple[tuple[str, str], str]]) -> dict[tuple[str, str], str]:
    """What is there once."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, name in pairs:
        names[key].append(name)
    return {key: found[0] for key, found in names.items() if len(found) == 1}


def _other_parameters(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    lost, gained = _by_function(gone), _by_function(new)
    return {
        now: old
        for function in lost.keys() & gained.keys()
        if len(lost[function]) == len(gained[function])
        for old, now in zip(lost[function], gained[function], strict=True)
    }


def _by_function(nodeids: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for nodeid in sorted(nodeids):
        if "[" in nodeid:
            groups[function_of(nodeid)].append(nodeid)
    return groups


def _code(files: Mapping[str, bytes]) -> dict[str, str]:
    """What stands in the functions of some files, by their nodeids without parameters."""
    return {name: code for file, source in files.items() for name, code in _functions(file, source)}


def _functions(file: str, source: bytes) -> list[tuple[str, str]]:
    """Functions of a file and its classes, as nodeids without parameters, and what stands in them."""
    try:
        return list(_below(ast.parse(source), file))
    except (SyntaxError, ValueError, RecursionError):  # not for this Python: nothing in it is recognised
        return []


def _below(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterable[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _below(node, f"{prefix}::{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name, node.name = node.name, ""
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
            yield f"{prefix}::{name}", ast.dump(node)


def _followed(suite: SuiteBaseline, names: Mapping[str, str]) -> SuiteBaseline:
    durations = {duration_name(old): duration_name(new) for old, new in names.items()}
    return renamed(suite, lambda test: names.get(test, test), lambda metric: durations.get(metric, metric))


def renamed(suite: SuiteBaseline, test: Callable[[str], str], metric: Callable[[str], str]) -> SuiteBaseline:
    """What is expected of a suite, under other names.

    Args:
        suite: as it is.
        test: gives a test's new name.
        metric: gives that of a metric.
    """

    def values(known: Mapping[str, float]) -> dict[str, float]:
        return {metric(name): value for name, value in known.items()}

    def tests(known: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        return {place: frozenset(map(test, found)) for place, found in known.items()}

    def known_test(known: KnownTest) -> KnownTest:
        new = test(known.nodeid)
        signature = signature_in(known.signature, known.nodeid, new)
        return msgspec.structs.replace(known, nodeid=new, signature=signature)

    def known_metric(known: KnownMetric) -> KnownMetric:
        return msgspec.structs.replace(known, name=metric(known.name), nodeid=test(known.nodeid))

    names = {name: test(name) for name in suite.tests} | {name: metric(name) for name in suite.metrics}
    return msgspec.structs.replace(
        suite,
        metrics={known.name: known for known in map(known_metric, suite.metrics.values())},
        tests={known.nodeid: known for known in map(known_test, suite.tests.values())},
        runs=tuple(msgspec.structs.replace(run, values=values(run.values)) for run in suite.runs),
        pins=tuple(msgspec.structs.replace(pin, values=values(pin.values)) for pin in suite.pins),
        exact=values(suite.exact),
        places={names.get(name, name): place for name, place in suite.places.items()},
        ran=tests(suite.ran),
        skips=tests(suite.skips),
        lacks=tests(suite.lacks),
        outdated=frozenset(map(metric, suite.outdated)),
    )

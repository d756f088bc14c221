"""The pytest plugin: the `measure` fixture, and what it leaves in pytest's own reports.

Registered by the entry point `pytest11: gate`. It is silent unless a test asks for the fixture; in
the JSON report it adds one key per run, `gate`, with the environment and the commit.

Every pytest of its environment loads it, also where nobody measures: what is not in pytest itself is imported
when it is needed, and before the first test.
"""

import json
import os
import shlex
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_regression_gate import clock, side
from pytest_regression_gate.benchmarks import is_benchmark, timed_by_benchmark
from pytest_regression_gate.uses import Uses
from pytest_regression_gate.variables import (
    CACHE_VARIABLE,
    LIBRARIES_VARIABLE,
    LOCKSTEP_VARIABLE,
    PROBE_VARIABLE,
    PROGRESS_VARIABLE,
    SELECT_VARIABLE,
    SESSION_VARIABLE,
    SHARD_VARIABLE,
    SHARDS_VARIABLE,
    SUITE_VARIABLE,
    WATCH_VARIABLE,
)

if TYPE_CHECKING:
    from pytest_regression_gate.metrics import Measurement
    from pytest_regression_gate.pipes import Address
    from pytest_regression_gate.protocol import Progress
    from pytest_regression_gate.recorder import Measure
    from pytest_regression_gate.worker import Worker

_EARLY: Final = clock
"""Imported before a test can freeze or patch anything; what measures comes later."""

RUN_SCHEMA: Final = "gate.run/1"
_LONGEST: Final = 300
"""Characters of a failure that another attempt followed."""

_IN_A_COMPARISON: Final[dict[str, Any]] = {
    "numprocesses": None, "dist": "no", "distload": False, "tx": [], "maxfail": 0,
}  # fmt: skip
"""Options of pytest-xdist, as they are without it: its workers take no turns. And a test that
fails ends nothing."""

_ON_A_SIDE: Final[dict[str, Any]] = {
    "lf": False, "failedfirst": False, "newfirst": False, "stepwise": False, "cacheclear": False,
    "randomly_reorganize": False,
}  # fmt: skip
"""Options of pytest's cache and of pytest-randomly, so that both sides run the same in the same order."""

_RUN_NOTHING: Final = (
    "collectonly",
    "showfixtures",
    "show_fixtures_per_test",
    "markers",
    "help",
    "version",
    "setupplan",
    "setuponly",
    "cacheshow",
)
"""Options with which pytest tells something and ends."""

_measures = pytest.StashKey["Measure"]()
_benchmarked = pytest.StashKey["list[Measurement]"]()
_untimed = pytest.StashKey[bool]()
_owners = pytest.StashKey[dict[str, str]]()
_worker = pytest.StashKey["Worker | None"]()
_selection = pytest.StashKey[str]()
_durations = pytest.StashKey[dict[str, float]]()
_attempts = pytest.StashKey[int]()
_failure = pytest.StashKey[str]()
_told = pytest.StashKey[tuple[int, int]]()
_subtests = pytest.StashKey[dict[str, list[tuple[str, str]]]]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before the project's own code: become one of a side; or say what the environment is, and end."""
    side.enter(late=True)
    if (file := os.environ.get(PROBE_VARIABLE)) and not _nested(early_config):
        from pytest_regression_gate.probe import write_probe

        write_probe(Path(file))
        os._exit(0)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """In a comparison: one process, to its end, whatever the command says; on both sides the same order."""
    wanted = dict[str, Any]()
    if os.environ.get(side.SIDE) and not _nested(config):
        wanted |= _ON_A_SIDE
        if not isinstance(getattr(config.option, "randomly_seed", 0), int):  # by the clock, or the last one
            wanted["randomly_seed"] = int(os.environ.get("PYTHONHASHSEED", "0"))
    if os.environ.get(LOCKSTEP_VARIABLE) and not _nested(config):
        wanted |= _IN_A_COMPARISON
    for name, value in wanted.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; remember the commit before the first test can change it."""
    config.addinivalue_line(
        "markers", "measure(iterations=10, warmup=3): how often the `measure` fixture repeats an operation"
    )
    config.stash[_owners] = {}
    nested = _nested(config)
    cache: Any = getattr(config, "cache", None)
    if (directory := os.environ.get(CACHE_VARIABLE)) and hasattr(cache, "_cachedir"):
        cache._cachedir = Path(directory)  # of a side; the user's own keeps what it holds
    config.stash[_selection] = "" if nested else os.environ.get(SELECT_VARIABLE, "")
    config.stash[_worker] = None if nested else _worker_of_a_comparison()
    config.stash[_subtests] = {}
    config.pluginmanager.register(_Subtests(config.stash[_subtests]), "gate-subtests")
    uses = Uses(os.environ.get(WATCH_VARIABLE, "").split())
    config.pluginmanager.register(uses, "gate-uses")
    if not hasattr(config, "workerinput") and not nested:
        _begin_session(config)
    if not nested:
        _keep_report_to_itself(config)
    if not hasattr(config, "workerinput"):  # of a distributed run only the controller writes the report
        metadata = _RunMetadata(config.rootpath, uses)
        if config.getoption("json_report", False):
            metadata.look()
        config.pluginmanager.register(metadata, "gate-run-metadata")
        if (address := os.environ.get(PROGRESS_VARIABLE)) and not nested:
            from pytest_regression_gate.pipes import Address

            config.pluginmanager.register(_Progress(Address.from_text(address)), "gate-progress")


def _worker_of_a_comparison() -> "Worker | None":
    if not os.environ.get(LOCKSTEP_VARIABLE):
        return None
    from pytest_regression_gate.worker import Worker

    return Worker.from_environment()


def _nested(config: pytest.Config) -> bool:
    """Whether a test of a suite started this pytest: what the gate asks of the suite's own is not for it."""
    return bool(os.environ.get(SESSION_VARIABLE)) and not hasattr(config, "workerinput")


def _begin_session(config: pytest.Config) -> None:
    """Tell a pytest that a test starts from the suite's own; refuse a second one of the suite's command.

    A suite has one report: another pytest, then or at the same time, would write over that of the first.
    """
    if any(os.environ.get(name) for name in (SUITE_VARIABLE, LOCKSTEP_VARIABLE, SELECT_VARIABLE)):
        os.environ[SESSION_VARIABLE] = "1"
    if not os.environ.get(SUITE_VARIABLE):
        return
    report = _own_report(config)
    if report is None or any(config.getoption(name, False) for name in _RUN_NOTHING):
        return
    from pytest_regression_gate.protocol import TWICE, begun

    report.parent.mkdir(parents=True, exist_ok=True)  # the suite's command may have cleaned up
    try:
        begun(report).touch(exist_ok=False)
    except FileExistsError:
        report.unlink(missing_ok=True)  # half a suite is none
        begun(report).write_text(TWICE)  # also if the first goes on, and writes its report
        raise pytest.UsageError(
            f"suite {os.environ[SUITE_VARIABLE]!r} starts pytest more than once, and the second run would "
            "overwrite the first report; define one suite for each pytest command"
        ) from None


def _keep_report_to_itself(config: pytest.Config) -> None:
    """A pytest that a test starts inherits the options, and would write over the report of the suite.

    With pytest-xdist tests run in workers, which need the options themselves when they start.
    """
    if getattr(config.option, "tx", None) and not hasattr(config, "workerinput"):
        return
    if _own_report(config):
        options = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
        kept = [option for option in options if not option.startswith("--json-report")]
        os.environ["PYTEST_ADDOPTS"] = shlex.join(kept)


def _own_report(config: pytest.Config) -> Path | None:
    """The report that the gate asked for; None: it did not, or the suite writes it elsewhere."""
    file = config.getoption("json_report_file", None)
    asked = f"--json-report-file={file}" in shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    return Path(file) if file and asked else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the tests that a comparison asks for, whatever the suite's own command selects."""
    if file := config.stash[_selection]:
        from pytest_regression_gate.protocol import selected

        wanted = selected(Path(file).read_bytes())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Iterator["Measure"]:
    """Measure operations and record values: see `pytest_regression_gate.Measure`."""
    from pytest_regression_gate.latency import Turns
    from pytest_regression_gate.recorder import Measure

    node: pytest.Item = request.node
    marker = node.get_closest_marker("measure")
    try:
        turns = Turns(**(marker.kwargs if marker else {}))
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{node.nodeid}: wrong @pytest.mark.measure: {error}") from None
    root = node.config.invocation_params.dir
    measures = Measure(node.nodeid, root, turns, node.config.stash[_owners], node.config.stash[_worker])
    node.stash[_measures] = measures
    yield measures
    measures.finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """In a comparison: a test that is measured as a whole runs while the other side waits.

    What one measured that did not pass at once is no measurement.
    """
    side.test_begins(item.nodeid)
    worker = item.config.stash[_worker]
    if worker is None:
        return (yield)
    worker.begin(item.nodeid)
    try:
        return (yield)
    finally:
        from pytest_regression_gate.metrics import join_name
        from pytest_regression_gate.protocol import Value

        values: dict[str, Value] | None = None
        if _durations in item.stash and item.stash[_attempts] == 1:
            values = {
                join_name(m.name, m.labels): Value(m.value, m.unit)
                for m in _recorded_by(item)
                if m.value is not None
            } | {name: Value(seconds, "s") for name, seconds in item.stash[_durations].items()}
        worker.end(values)


def pytest_exception_interact(call: pytest.CallInfo[Any]) -> None:
    """Where a comparison looks: note what stops this side, and where."""
    if not side.observed() or call.excinfo is None:
        return
    error: BaseException = call.excinfo.value
    if isinstance(error, pytest.Collector.CollectError) and error.__cause__:
        error = error.__cause__
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    where = f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last else ""
    message = f"{type(error).__name__}: {error}".splitlines()[0].replace("\t", " ")
    side.raised(where, message)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Import what tests measure with, before one changes anything. In a comparison: say which will run."""
    if any("measure" in getattr(item, "fixturenames", ()) for item in session.items):
        import_module("pytest_regression_gate.recorder")
    if worker := session.config.stash[_worker]:
        worker.announce([item.nodeid for item in session.items])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In a comparison: say how it ended; a wrapper around pytest has exit codes of its own."""
    if worker := session.config.stash[_worker]:
        worker.close(int(exitstatus))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count the attempts of a retried test, and forget what an earlier one measured."""
    # What was tried in a worker that died is known to pytest-rerunfailures alone.
    item.stash[_attempts] = max(item.stash.get(_attempts, 0) + 1, getattr(item, "execution_count", 1))
    if _measures in item.stash:
        del item.stash[_measures]
    item.stash[_benchmarked] = []
    item.config.stash[_subtests].pop(item.nodeid, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Take over what another plugin timed, of each attempt."""
    try:
        return (yield)
    finally:
        _read_benchmark(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Put the measurements into JUnit's properties, if a JUnit file is written."""
    if call.when == "call" and _recorded_by(item) and item.config.getoption("xmlpath", None):
        others = [(name, value) for name, value in item.user_properties if name != "gate.metrics"]
        import msgspec

        text = json.dumps(msgspec.to_builtins(_recorded_by(item)))
        item.user_properties[:] = [*others, ("gate.metrics", text)]
    if call.when == "call" and not call.excinfo and item.config.stash[_worker]:
        from pytest_regression_gate.metrics import duration_name

        item.stash[_durations] = {duration_name(item.nodeid): call.duration}
    if call.when == "teardown" and call.excinfo and _durations in item.stash:
        del item.stash[_durations]
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_json_runtest_metadata(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, Any] | None:
    """Put the measurements, and how often it was tried, into the JSON report's metadata of the test.

    Each attempt of a retried test replaces what the one before left.
    """
    found: dict[str, Any] = {}
    if item.stash.get(_attempts, 1) > 1:
        found = {"attempts": item.stash[_attempts], "failure": item.stash.get(_failure, "")}
    if call.excinfo and not call.excinfo.errisinstance((pytest.skip.Exception, pytest.xfail.Exception)):
        item.stash[_failure] = call.excinfo.exconly().partition("\n")[0][:_LONGEST]
        if examples := _failed_examples(call.excinfo.value):
            item.config.stash[_subtests][item.nodeid] = examples
    if call.when != "setup" and (failed := item.config.stash[_subtests].get(item.nodeid)):
        found["subtests"] = failed
    if call.when != "setup" and (measured := _recorded_by(item)):
        import msgspec

        measures = item.stash.get(_measures, None)
        found |= {
            "metrics": msgspec.to_builtins(measured),
            "executed": dict(measures.executed) if measures else {},
        }
    if call.when != "setup" and item.stash.get(_untimed, False):
        found["untimed"] = True
    told = item.stash.get(_attempts, 1), len(found.get("metrics", ()))
    if call.when == "teardown" and told == item.stash.get(_told, (1, 0)):
        return None  # but what fixtures record at their end counts, and attempts since: pytest-retry's
    item.stash[_told] = told
    if not found:
        return None
    _say_what_is_no_json(item)
    return {"gate": found}


def _say_what_is_no_json(item: pytest.Item) -> None:
    """Put its text in place of metadata that is no JSON: else pytest-json-report drops ours with it."""
    extra: Any = getattr(item, "_json_report_extra", {})
    metadata: dict[Any, Any] = extra.get("metadata", {})
    for key, value in list(metadata.items()):
        try:
            json.dumps({key: value})
        except (TypeError, ValueError, RecursionError):
            del metadata[key]
            metadata[str(key)] = repr(value)[:_LONGEST]


def _read_benchmark(item: pytest.Item) -> None:
    """Take over what another plugin's `benchmark` fixture timed in the test."""
    fixture = getattr(item, "funcargs", {}).get("benchmark")
    item.stash[_untimed] = False
    if is_benchmark(fixture):
        timed = timed_by_benchmark(item.nodeid, fixture)
        item.stash[_benchmarked] = [timed] if timed else []
        item.stash[_untimed] = timed is None


def _recorded_by(item: pytest.Item) -> "list[Measurement]":
    """What a test measured so far."""
    measures = item.stash.get(_measures, None)
    return [*(measures.measurements if measures else ()), *item.stash.get(_benchmarked, ())]


def _shard() -> dict[str, int] | None:
    """Which share of the suite runs; None where it runs whole."""
    number, of = (os.environ.get(name, "") for name in (SHARD_VARIABLE, SHARDS_VARIABLE))
    if not number.isdecimal() or not of.isdecimal() or int(of) < 2:
        return None
    return {"number": int(number), "of": int(of)}


class _Subtests:
    """Notes which subtests failed, and how: the report of their test has their number alone."""

    def __init__(self, failed: dict[str, list[tuple[str, str]]]) -> None:
        self._failed = failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        context = getattr(report, "context", None)  # pytest 9, pytest-subtests
        if report.failed and context is not None:
            about = [context.msg] if context.msg is not None else []
            about += [f"{name}={value}" for name, value in context.kwargs.items()]
            crash = getattr(report.longrepr, "reprcrash", None)
            how = crash.message if crash else str(report.longrepr or "")
            self._failed.setdefault(report.nodeid, []).append(_part(", ".join(map(str, about)), how))


def _part(about: str, how: str) -> tuple[str, str]:
    """Which part of a test failed, and how."""
    return about[:_LONGEST], how.partition("\n")[0][:_LONGEST]


def _failed_examples(error: BaseException) -> list[tuple[str, str]]:
    """Which examples of a doctest failed, and how; nothing of another exception."""
    if (doctest := sys.modules.get("doctest")) is None:
        return []
    failures: list[Any] = getattr(error, "failures", None) or [error]
    return [
        _part(f">>> {one.example.source.strip()}", f"expected {one.example.want!r}, got {one.got!r}")
        for one in failures
        if isinstance(one, doctest.DocTestFailure)
    ]


class _RunMetadata:
    """Adds to the JSON report what holds for the whole run."""

    def __init__(self, directory: Path, uses: Uses) -> None:
        self._directory = directory
        self._uses = uses
        self._checked_out: tuple[str, Sequence[str]] | None = None

    def look(self) -> tuple[str, Sequence[str]]:
        """The commit and what differs from it, as the first call finds them."""
        from pytest_regression_gate.environment import checked_out_commit

        if self._checked_out is None:
            self._checked_out = checked_out_commit(self._directory)
        return self._checked_out

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Give pytest-json-report what it asks for, also where `-p no:legacypath` has taken it away."""
        added = not hasattr(session, "fspath")
        if added:
            session.fspath = session.path  # pyright: ignore[reportAttributeAccessIssue]
        try:
            return (yield)
        finally:
            if added:
                del session.fspath

    @pytest.hookimpl(optionalhook=True)
    def pytest_json_modifyreport(self, json_report: dict[str, Any]) -> None:
        import msgspec

        from pytest_regression_gate.environment import this_environment

        commit, uncommitted = self.look()
        json_report["gate"] = {
            "schema": RUN_SCHEMA,
            "suite": os.environ.get(SUITE_VARIABLE, ""),
            "commit": commit,
            "uncommitted": uncommitted,
            "environment": msgspec.to_builtins(
                this_environment(os.environ.get(LIBRARIES_VARIABLE, "").split())
            ),
            "uses": self._uses.together(),
        }
        if shard := _shard():
            json_report["gate"]["shard"] = shard


class _Progress:
    """Tells `gate run` about each test, as long as it can be reached."""

    def __init__(self, address: "Address") -> None:
        from pytest_regression_gate.protocol import Progress, say

        self._address = address
        self._event = Progress
        self._send = say

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._say(self._event(total=len(session.items)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._say(self._event(total=len(ids)))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._say(self._event(started=nodeid))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._say(self._event(finished=nodeid))

    def _say(self, event: "Progress") -> None:
        with suppress(OSError, UnicodeError):  # nobody listens, or a name that is no text: the run goes on
            self._send(self._address, event)

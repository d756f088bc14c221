"""Plugins of pytest and styles of tests, one small project each: judged right when green and when red.

The gate and all plugins are installed into one environment, from a package index. Each project switches off
what would disturb it.
"""

import json
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.gate.e2e.test_confirm import git
from tests.gate.e2e.test_layouts import Place
from tests.gate.e2e.test_own_base import write

PYTEST: Final = ("pytest==9.2.0",)
PLUGINS: Final = (
    "anyio==4.16.0",
    "django==5.2.19",
    "freezegun==1.5.5",
    "gevent==26.9.0",
    "hypothesis==6.170.15",
    "pytest-asyncio==1.5.0",
    "pytest-bdd==9.0.1",
    "pytest-django==4.14.0",
    "pytest-rerunfailures==16.7",
    "pytest-retry==1.7.0",
    "pytest-trio==0.8.0",
    "pytest-xdist==3.8.0",
    "time-machine==3.6.0",
    "trio==0.35.0",
)
EARLIER: Final = ("pytest==8.4.2", "pytest-subtests==0.15.0")
"""Subtests are a part of pytest since 9.0."""

RULES = """version: 1
suites: {api: {run: %r}}
defaults: {budget: 30 s, confirm: suspects}
metrics:
  "*.p50": {tolerance: off}
  "*.p95": {tolerance: off}
  "*.cpu": {tolerance: off}
  "*.peak": {tolerance: off}
"""
"""Times say nothing here: tests and work counts are judged."""
IGNORED = ".gate\n__pycache__\nverdict.json\n.hypothesis\n.pytest_cache\n"

SHOP = """
def total(prices):
    '''Sum up.

    >>> total([1, 2])
    3
    '''
    return sum(prices)


def fetch(store, keys):
    for key in keys:
        store.append(key)
"""
TOTAL = """
import shop

def test_total():
    assert shop.total([1, 2]) == 3

def test_other():
    pass
"""
FETCH = """
def test_fetch(measure):
    store = []
    shop.fetch(store, "abc")
    measure.count("shop.fetch.calls", len(store))
"""
TIME = """
def fetched(keys):
    store = []
    shop.fetch(store, keys)
    return len(store)

def test_time(measure):
    measure.count("shop.time.calls", measure("shop.time", fetched, "abc"))
    with measure.resources("shop.time"):
        sum(range(1_000_000))
"""
PLAIN = TOTAL + FETCH
TIMED = PLAIN + TIME
FETCHED: Final = {"shop.fetch.calls": 3}
BOTH: Final = FETCHED | {"shop.time.calls": 3}


@dataclass(frozen=True)
class Row:
    """A project, and what is to be said of it."""

    tests: str = TIMED
    red: tuple[str, ...] = ("test_total",)
    """Tests that fail where `total` adds one too many."""
    counts: dict[str, int] = field(default_factory=lambda: BOTH)
    """Work counts, doubled where `fetch` looks up twice."""
    flaky: tuple[str, ...] = ()
    """Tests that pass at their second attempt."""
    passed: int = 4
    options: str = ""
    """Of the suite's command."""
    files: dict[str, str] = field(default_factory=dict[str, str])
    """Beside the tests and the code."""
    code: str = "shop.py"
    adds: tuple[str, str] = ("return sum(prices)", "return sum(prices) + 1")
    twice: tuple[str, str] = ("store.append(key)", "store.extend((key, key))")
    slower: tuple[str, str] = ("in keys:", "in list(keys) * 2000:")
    time: str = "shop.time.p50"
    earlier: bool = False
    """With pytest 8."""


def without(*names: str) -> str:
    """Options that switch plugins off."""
    return " ".join(f"-p no:{name}" for name in names)


RETRIED = f"""{PLAIN}
attempts = []

def test_late(measure):
    attempts.append(1)
    store = []
    shop.fetch(store, "abc" if len(attempts) > 1 else "a")
    measure.count("shop.late.calls", len(store))
    assert len(attempts) > 1, "not yet"
"""
SUBTESTS = f"""{PLAIN}
def test_parts(subtests):
    for price in (1, 2):
        with subtests.test(price=price):
            assert shop.total([price]) == price
"""
HYPOTHESIS = f"""{TIMED}
from hypothesis import given, strategies

@given(strategies.lists(strategies.integers()))
def test_any(prices):
    assert shop.total(prices) == sum(prices)
"""
ASYNC = """
import LIBRARY
import pytest
import shop

async def fetched(keys):
    store = []
    await LIBRARY.sleep(0)
    shop.fetch(store, keys)
    return len(store)

@pytest.mark.LIBRARY
async def test_total():
    await LIBRARY.sleep(0)
    assert shop.total([1, 2]) == 3

@pytest.mark.LIBRARY
async def test_fetch(measure, backend):
    measure.count("shop.fetch.calls", await fetched("abc"), loop=backend)

@pytest.mark.LIBRARY
async def test_time(measure, backend):
    await measure(f"shop.time{{loop={backend}}}", fetched, "abc")

def test_other():
    pass
"""
BACKEND = """
import pytest

@pytest.fixture
def backend(FIXTURE):
    return VALUE
"""


def asynchronous(library: str, *others: str, loops: tuple[str, ...] = ("own",)) -> Row:
    """The same tests as coroutines; with several event loops, each test once for each."""
    several = len(loops) > 1
    fixture, value = ("anyio_backend_name", "anyio_backend_name") if several else ("", repr(loops[0]))
    return Row(
        ASYNC.replace("LIBRARY", library),
        tuple(f"test_total[{loop}]" for loop in loops) if several else ("test_total",),
        {f"shop.fetch.calls{{loop={loop}}}": 3 for loop in loops},
        passed=3 * len(loops) + 1,
        options=without(*others),
        files={"conftest.py": BACKEND.replace("FIXTURE", fixture).replace("VALUE", value)},
        time=f"shop.time.p50{{loop={loops[-1]}}}",
    )


FEATURE = """Feature: Prices
  Scenario: The sum
    Given the prices 1 and 2
    Then their sum is 3

  Scenario: Looking up
    When abc is looked up
    Then the store was asked
"""
BDD = """
import shop
from pytest_bdd import given, parsers, scenarios, then, when

scenarios("shop.feature")

@given(parsers.parse("the prices {one:d} and {two:d}"), target_fixture="prices")
def _(one, two):
    return [one, two]

@then(parsers.parse("their sum is {number:d}"))
def _(prices, number):
    assert shop.total(prices) == number

@when(parsers.parse("{keys} is looked up"), target_fixture="store")
def _(keys):
    store = []
    shop.fetch(store, keys)
    return store

@then("the store was asked")
def _(store, measure):
    measure.count("shop.fetch.calls", len(store))
"""
UNITTEST = """
import unittest
import pytest
import shop

class Prices(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def take(self, measure):
        self.measure = measure

    def test_total(self):
        self.assertEqual(shop.total([1, 2]), 3)

    def test_parts(self):
        for price in (1, 2):
            with self.subTest(price=price):
                self.assertEqual(shop.total([price]), price)

    def test_fetch(self):
        store = []
        self.measure("shop.time", shop.fetch, [], "abc")
        shop.fetch(store, "abc")
        self.measure.count("shop.fetch.calls", len(store))

class Waiting(unittest.IsolatedAsyncioTestCase):
    async def test_total(self):
        self.assertEqual(shop.total([1, 2]), 3)
"""
DJANGO = {
    "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = config\n",
    "config.py": """
SECRET_KEY = "none"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["store"]
""",
    "store/__init__.py": "",
    "store/models.py": """
from django.db import models

class Item(models.Model):
    price = models.IntegerField()
""",
    "shop.py": """
from store.models import Item

def total(prices):
    Item.objects.bulk_create(Item(price=price) for price in prices)
    prices = Item.objects.values_list("price", flat=True)
    return sum(prices)

def fetch(keys):
    for key in keys:
        Item.objects.filter(price=key).exists()
""",
}
QUERIES = """
import pytest
import shop
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

@pytest.mark.django_db
def test_total():
    assert shop.total([1, 2]) == 3

class Prices(TestCase):
    def test_total(self):
        self.assertEqual(shop.total([1, 2]), 3)

@pytest.mark.django_db
def test_fetch(measure):
    with CaptureQueriesContext(connection) as queries:
        shop.fetch(range(3))
    measure.count("shop.fetch.calls", len(queries))

@pytest.mark.django_db
def test_time(measure):
    measure("shop.time", shop.fetch, range(3))

def test_other():
    pass
"""
FROZEN = """
import datetime
import MODULE
import pytest

@pytest.fixture(autouse=True)
def frozen():
    with MODULE.FREEZE:
        yield
        assert datetime.date.today() == datetime.date(2030, 1, 1)
"""


def frozen(module: str, freeze: str) -> str:
    """A clock that stands still around each test."""
    return FROZEN.replace("MODULE", module).replace("FREEZE", freeze)


GEVENT = f"""{TIMED}
import gevent

def apart(keys):
    gevent.sleep(0)
    return fetched(keys)

def together():
    tasks = [gevent.spawn(apart, key) for key in "abc"]
    gevent.joinall(tasks)
    return sum(task.value for task in tasks)

def test_green(measure):
    measure.count("shop.green.calls", measure("shop.green", together))
    with measure.resources("shop.green"):
        sum(range(5_000_000))
"""
NESTED = f"""{PLAIN}
import subprocess
import sys
from pathlib import Path

ROOT = str(Path(shop.__file__).parent)
PATH = "import sys; sys.path.insert(0, %r)" % ROOT
INNER = '''
import shop

def test_inner():
    assert shop.total([1, 2]) == 3

def test_records(measure):
    measure.count("shop.fetch.calls", 1)
'''
OFF = ("-p", "no:pytest-retry", "-p", "no:cacheprovider")  # it cannot be configured twice

def test_inside(pytester):
    pytester.makeconftest(PATH)
    pytester.makepyfile(INNER)
    pytester.runpytest(*OFF).assert_outcomes(passed=2)

def test_child(pytester):
    pytester.makeconftest(PATH)
    pytester.makepyfile(INNER)
    pytester.runpytest_subprocess(*OFF).assert_outcomes(passed=2)

def test_own_child(tmp_path):
    (tmp_path / "test_inner.py").write_text(INNER)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
"""
FIXTURE = """
import pytest

@pytest.fixture
def measure(ARGUMENTS):
    return VALUE
"""
OWN, OURS = (
    FIXTURE.replace("ARGUMENTS", name).replace("VALUE", value)
    for name, value in (("", "lambda number: 2 * number"), ("measure", "measure"))
)

ROWS: Final = {
    "own package called gate": Row(
        TIMED.replace("import shop", "import gate as shop"), code="gate/__init__.py"
    ),
    "own fixture called measure": Row(
        f"{TOTAL}\ndef test_own(measure):\n    assert measure(3) == 6\n",
        counts={}, passed=3, files={"conftest.py": OWN},
    ),
    "fixture around ours": Row(files={"conftest.py": OURS}),
    "xdist": Row(options="-n 2"),
    "rerunfailures": Row(
        RETRIED, counts=FETCHED | {"shop.late.calls": 3}, flaky=("test_late",),
        options=f"--reruns 1 {without('pytest-retry')}",
    ),
    "retry": Row(
        RETRIED, counts=FETCHED | {"shop.late.calls": 3}, flaky=("test_late",),
        options=f"--retries 1 {without('rerunfailures')}",
    ),
    "subtests": Row(SUBTESTS, ("test_total", "test_parts"), FETCHED),
    "subtests of pytest 8": Row(SUBTESTS, ("test_total", "test_parts"), FETCHED, earlier=True),
    "hypothesis": Row(HYPOTHESIS, ("test_total", "test_any"), passed=5),
    "anyio": asynchronous("anyio", "asyncio", "trio", loops=("asyncio", "trio")),
    "asyncio": asynchronous("asyncio", "trio"),
    "trio": asynchronous("trio", "asyncio", "anyio"),
    "bdd": Row(BDD, ("test_the_sum",), FETCHED, passed=2, files={"tests/shop.feature": FEATURE}),
    "doctest": Row(
        PLAIN, ("shop.py::shop.total", "test_total"), FETCHED, passed=4, options="--doctest-modules shop.py",
    ),
    "unittest": Row(UNITTEST, ("Prices::test_total", "Prices::test_parts", "Waiting::test_total"), FETCHED),
    "django": Row(
        QUERIES, ("test_total", "Prices::test_total"), FETCHED, passed=5, files=DJANGO,
        twice=("price=key).exists()", "price=key).exists() or Item.objects.count()"),
    ),
    "freezegun": Row(files={"conftest.py": frozen("freezegun", "freeze_time('2030-01-01')")}),
    "time-machine": Row(files={"conftest.py": frozen("time_machine", "travel('2030-01-01', tick=False)")}),
    "gevent": Row(
        GEVENT, counts=BOTH | {"shop.green.calls": 3}, passed=5, time="shop.green.p50",
        files={"conftest.py": "from gevent import monkey\n\nmonkey.patch_all()\n"},
    ),
    "nested": Row(
        NESTED, ("test_total", "test_inside", "test_child", "test_own_child"),
        FETCHED, passed=6, files={"conftest.py": "pytest_plugins = 'pytester'\n"},
    ),
}  # fmt: skip
TURNS: Final = ("trio", "freezegun", "gevent")
"""Rows in which something waits, freezes or runs beside what is measured."""


def environment(root: Path, wheel: Path, *plugins: str) -> Place:
    """The gate and plugins; what else the gate needs is that of this environment."""
    venv.create(root / "venv")
    packages = next((root / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(root / "venv/bin/python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    done = subprocess.run([*pip, *plugins], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and "(from versions: none)" in done.stderr:
        pytest.skip(f"no package index: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return Place(root / "venv/bin")


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One environment for nearly all rows."""
    return environment(tmp_path_factory.mktemp("plugins"), wheel, *PYTEST, *PLUGINS)


@pytest.fixture(scope="module")
def earlier(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """And one for what a newer pytest replaced."""
    return environment(tmp_path_factory.mktemp("earlier"), wheel, *EARLIER)


class Judged:
    """A project whose runs are judged one after the other."""

    def __init__(self, place: Place, root: Path, row: Row) -> None:
        self._place, self._root, self._row = place, root, row
        run = f"python -m pytest -q tests -p no:cacheprovider {row.options}".strip()
        rules = {"thresholds.yaml": RULES % run, ".gitignore": IGNORED}
        self._files = {row.code: SHOP, "tests/test_a.py": row.tests, **row.files}
        write(root, rules | self._files)
        git(root, "init", "-q", "-b", "main")
        self.commit()

    def commit(self) -> None:
        git(self._root, "add", "--all")
        git(self._root, "commit", "-q", "-m", "change")

    def change(self, *changes: tuple[str, str]) -> None:
        """Commit other code."""
        code = self._files[self._row.code]
        for old, new in changes:
            assert old in code
            code = code.replace(old, new)
        write(self._root, {self._row.code: code})
        self.commit()

    def gate(self, *arguments: str) -> None:
        """A command that succeeds."""
        self._place.checked(self._root, "gate", *arguments)

    def told(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """The exit code of a command, the document that it writes, and what it says."""
        file = self._root / "verdict.json"
        file.unlink(missing_ok=True)
        done = self._place.run(self._root, "gate", *arguments, "--json", file.name)
        text = done.stdout + done.stderr
        assert file.exists(), text
        return done.returncode, json.loads(file.read_text()), text

    def green(self) -> None:
        """All tests passed, those that were tried again are flaky, and nothing is wrong."""
        code, verdict, text = self.told("check")
        assert code == 0, text
        assert subjects(verdict, level="fail") == {}, text
        assert verdict["summary"]["tests"] == {"passed": self._row.passed, "failed": 0, "skipped": 0}, text
        flaky = subjects(verdict, kind="flaky")
        assert set(flaky) == set(self._row.flaky), text
        for one in flaky.values():
            assert one["message"] == "passed only in attempt 2; before: AssertionError: not yet"


def subjects(verdict: dict[str, Any], **wanted: str) -> dict[str, dict[str, Any]]:
    """Findings by what they are about; a test without its file."""
    return {
        one["subject"].removeprefix("tests/test_a.py::"): one
        for one in verdict["findings"]
        if wanted.items() <= one.items()
    }


@pytest.mark.long
@pytest.mark.parametrize("name", ROWS)
def test_is_judged_right(request: pytest.FixtureRequest, tmp_path: Path, name: str):
    """Green as accepted and again; red by name where a function is broken and work is done twice."""
    row = ROWS[name]
    judged = Judged(request.getfixturevalue("earlier" if row.earlier else "place"), tmp_path, row)
    judged.gate("run")
    judged.gate("baseline", "update")
    judged.green()
    judged.commit()
    judged.gate("run")
    judged.green()

    judged.change(row.adds, *([row.twice] if row.counts else []))
    judged.gate("run")
    code, verdict, text = judged.told("check")
    assert code == 1, text
    failed = subjects(verdict, level="fail", kind="new-failure")
    worse = subjects(verdict, level="fail", kind="regression")
    assert subjects(verdict, level="fail") == failed | worse, text
    assert set(failed) == set(row.red), text
    assert all(test.rpartition("::")[2] in text for test in row.red), text
    doubled = {metric: (number, 2 * number) for metric, number in row.counts.items()}
    assert {metric: (one["baseline"], one["head"]) for metric, one in worse.items()} == doubled, text


@pytest.mark.long
@pytest.mark.parametrize("name", TURNS)
def test_base_and_head_take_turns(place: Place, tmp_path: Path, name: str):
    """Many times the work is slower, whatever waits, freezes or runs beside it."""
    row = ROWS[name]
    judged = Judged(place, tmp_path, row)
    judged.gate("run")
    judged.gate("baseline", "update")
    judged.commit()
    judged.change(row.slower)
    code, record, text = judged.told("confirm", row.time, "--base", "HEAD~1", "--budget", "60 s")
    assert code == 1, text
    assert record["not_comparable"] == record["not_reached"] == [], text
    assert [shown["metric"] for shown in record["metrics"]] == [row.time]

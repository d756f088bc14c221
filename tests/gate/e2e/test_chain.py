"""Consecutive commits of a real project, each run for real: what a person would say of it, the gate says.

The project is the reference service with its own tests. Main is judged after every commit, as a push
is: against the commit before it. Accepted is what passes, and what somebody wants all the same.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gate.report.comment import comment
from gate.verdict import Verdict, read_verdict
from tests.gate.e2e.conftest import Project
from tests.gate.github.rig import TOP, git

RULES = """version: 1
suites:
  agents: {run: python -m pytest tests/agents -p no:cacheprovider}
defaults: {confirm: off}
"""
PYTEST = '[tool.pytest.ini_options]\nasyncio_mode = "auto"\npythonpath = ["."]\n'
Change = tuple[str, str, str]
"""A file, what stands in it, and what takes its place."""
LIGHT = ("test_parsers.py", "test_scoring.py")
"""Tests that do not start the service, which takes most of the time."""
FILES = ("conftest.py", *LIGHT, "test_seller_bot.py", "test_services.py")


@dataclass(frozen=True)
class Story:
    """What the gate said of a commit."""

    verdict: Verdict
    comment: str

    @property
    def word(self) -> str:
        return self.verdict.verdict

    @property
    def found(self) -> dict[str, int]:
        """Findings by kind, remarks on the environment left out."""
        return dict(Counter(f.kind for f in self.verdict.findings if f.kind != "environment"))


class Chain(Project):
    """A repository whose main gets one commit after the other."""

    def step(self, *edits: Callable[[Path], object], because: str = "") -> Story:
        """Edit, commit, run, judge; then accept what passed, or what somebody wants all the same.

        What is neither passed nor wanted must be refused.
        """
        before = git(self.root, "rev-parse", "HEAD")
        for edit in edits:
            edit(self.root)
        self._commit("change")
        self.gate("run", "--quiet")
        result = self.gate("check", "--base", before, "--json", "verdict.json")
        verdict = read_verdict((self.root / "verdict.json").read_bytes())
        assert result.code == verdict.exit_code
        if because:
            accepted = self.gate("baseline", "accept", "--by", "kim", "--reason", because)
            assert accepted.code == 0, accepted.text
        else:
            updated = self.gate("baseline", "update", "--verdict", "verdict.json")
            assert updated.code == verdict.exit_code, updated.text
        self._commit("chore(baseline)")
        return Story(verdict, comment(verdict))

    @property
    def accepted(self) -> int:
        """How many runs the memory holds; every line of it is read."""
        assert self.gate("baseline", "verify").code == 0
        (file,) = (self.root / "tests" / "baseline").rglob("*.jsonl")
        return file.read_text().count('"kind":"accepted"')

    def _commit(self, message: str) -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message", message)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return begun(tmp_path / "chain", FILES)


@pytest.fixture
def light(tmp_path: Path) -> Chain:
    return begun(tmp_path / "chain", LIGHT)


def begun(root: Path, files: Sequence[str]) -> Chain:
    """The service with some of its tests, as the first commit."""
    shutil.copytree(
        TOP / "tests" / "jorge", root / "tests" / "jorge", ignore=shutil.ignore_patterns("__pycache__")
    )
    (root / "tests" / "agents").mkdir()
    for name in files:
        shutil.copy(TOP / "tests" / "agents" / name, root / "tests" / "agents" / name)
    (root / "tests" / "__init__.py").touch()
    (root / "pyproject.toml").write_text(PYTEST)
    (root / "thresholds.yaml").write_text(RULES)
    (root / ".gitignore").write_text(".gate\n__pycache__\nverdict.json\n")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "begin")
    return Chain(root)


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        file = root / name
        text = file.read_text()
        assert old in text, f"{old!r} is not in {name}"
        file.write_text(text.replace(old, new, 1))

    return edit


def append(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text((root / name).read_text() + text)


def back(change: Change) -> Callable[[Path], None]:
    return replace(change[0], change[2], change[1])


SCORING, PARSERS, READING = (f"tests/agents/test_{name}.py" for name in ("scoring", "parsers", "reading"))
NO_IMPORT: Change = (SCORING, "import pytest\n", "import pytest\nimport nowhere_to_be_found\n")
NO_SERVICE: Change = (
    "tests/jorge/scoring.py",
    "from statistics",
    "import nowhere_to_be_found\nfrom statistics",
)
NO_FIXTURE: Change = (
    "tests/jorge/fixtures.py", "simulation = Simulation.start()", 'raise RuntimeError("no simulation")'
)  # fmt: skip
SKIPPED: Change = (READING, "def test_of_the_day", "@pytest.mark.skip(reason='later')\ndef test_of_the_day")
DEAD: Change = (READING, "    assert len", "    __import__('os')._exit(3)\n    assert len")
NO_TESTS: Change = ("thresholds.yaml", "pytest tests/agents", "pytest tests/jorge")
TEST_OF_THE_DAY = """

def test_of_the_day():
    assert len("monday") == 7
"""


@pytest.mark.long
def test_a_project_breaks_and_is_mended(chain: Chain):
    first = chain.step()
    assert (first.word, first.found) == ("passed", {})
    assert first.verdict.summary.tests.passed > 100

    # A file of tests cannot be imported; the next commit does not know of it. No test is called missing.
    for edit in (replace(*NO_IMPORT), append("tests/jorge/phrases.py", "\n")):
        broken = chain.step(edit)
        assert (broken.word, broken.found) == ("error", {"report-error": 1})
        assert f"collection of {SCORING} failed: ModuleNotFoundError: No module named" in said(broken)
    mended = chain.step(back(NO_IMPORT))
    assert (mended.word, mended.found) == ("passed", {}), "it never failed in an accepted run"

    # The service cannot be imported: pytest ends before it writes a report.
    dead = chain.step(replace(*NO_SERVICE))
    assert (dead.word, dead.found) == ("error", {"report-error": 1})
    assert "wrote no report: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in said(dead)
    assert chain.step(back(NO_SERVICE)).word == "passed"

    # A fixture fails, and with it every test that uses it. One line says so; all of them are listed.
    many = chain.step(replace(*NO_FIXTURE))
    failed = many.verdict.summary.tests.failed
    assert (many.word, many.found) == ("failed", {"new-failure": failed})
    assert failed > 30
    open_part = many.comment.partition("<details>")[0]
    assert f"{failed} tests alike in 2 files: RuntimeError: no simulation" in open_part
    assert open_part.count("RuntimeError") == 1
    assert many.comment.count("RuntimeError: no simulation") == failed + 1

    # While that lasts somebody adds a test that fails for another reason: it has a line of its own.
    worse = chain.step(append(PARSERS, TEST_OF_THE_DAY))
    assert (worse.word, worse.found) == ("failed", {"new-failure": failed + 1})
    assert "assert 6 == 7" in worse.comment.partition("<details>")[0]

    mended = chain.step(back(NO_FIXTURE), replace(PARSERS, "== 7", "== 6"))
    assert (mended.word, mended.found) == ("passed", {"new-test": 1})
    assert chain.accepted == 6, "a red test does not keep out what else is learned"


@pytest.mark.long
def test_tests_fail_for_long_move_vanish_and_return(light: Chain):
    wanted = light.step(append(PARSERS, TEST_OF_THE_DAY), because="it is monday")
    assert (wanted.word, wanted.found) == ("failed", {"new-failure": 1})
    known = light.step(append("pyproject.toml", "# more prose\n"))
    assert (known.word, known.found) == ("passed", {"known-failure": 1})
    other = light.step(replace(PARSERS, "== 7", "== absent"))
    assert (other.word, other.found) == ("failed", {"changed-failure": 1})
    fixed = light.step(replace(PARSERS, "== absent", "== 6"))
    assert (fixed.word, fixed.found) == ("passed", {"fixed": 1})

    # The file moves with all its tests, is deleted, and comes back.
    moved = light.step(lambda root: (root / PARSERS).rename(root / READING))
    assert (moved.word, moved.found) == ("passed", {"moved-test": 1})
    gone = light.step(lambda root: (root / READING).unlink())
    missing = moved.verdict.summary.tests.passed - gone.verdict.summary.tests.passed
    assert (gone.word, gone.found) == ("failed", {"missing-test": missing, "policy-change": 1})
    assert f"`{READING}` | missing test: {missing} tests alike" in gone.comment
    again = light.step(lambda root: git(root, "checkout", "HEAD~2", "--", READING))
    assert (again.word, again.found) == ("passed", {})

    # A test is skipped, the process dies in the middle, no test is found at all.
    skipped = light.step(replace(*SKIPPED))
    assert (skipped.word, skipped.found) == ("failed", {"newly-skipped": 1})
    killed = light.step(back(SKIPPED), replace(*DEAD))
    assert (killed.word, killed.found) == ("error", {"report-error": 1})
    empty = light.step(back(DEAD), replace(*NO_TESTS))
    assert (empty.word, empty.found) == ("error", {"report-error": 1, "policy-change": 1})

    # In the end all is well, and the memory is that of the runs that were accepted.
    last = light.step(back(NO_TESTS))
    assert last.word == "passed"
    assert last.verdict.summary.tests == moved.verdict.summary.tests
    assert light.accepted == 9


def said(story: Story) -> str:
    """The message of the only failure."""
    (finding,) = story.verdict.of_level("fail")
    return finding.message

"""What a year does to the accepted runs: each of these came out green, or red, against the truth."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project, Result
from tests.gate.github.rig import git

APP = "CALLS = 3\nMS = 10.0\ndef ok(): return True\n"
TESTS = """\
import os, pytest
import app

@pytest.mark.skipif("NOLLM" in os.environ, reason="no model here")
def test_calls(measure): measure.count("db.calls", app.CALLS)
def test_ms(measure): measure.record("page", app.MS, unit="ms")
def test_ok(): assert app.ok()
"""
OK = "tests/test_a.py::test_ok"


class Year(Project):
    """A repository whose service has three tests, and what happens to it."""

    def edit(self, old: str, new: str, file: str = "app.py") -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        text = (self.root / file).read_text()
        assert old in text
        (self.root / file).write_text(text.replace(old, new))

    def commit(self, message: str = "change") -> str:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message", message)
        return git(self.root, "rev-parse", "HEAD")

    def change(self, old: str, new: str, file: str = "app.py") -> str:
        self.edit(old, new, file)
        return self.commit()

    def run(self) -> None:
        assert self.gate("run", "--quiet").code == 0

    def accept(self, times: int = 1, *more: str) -> None:
        for _ in range(times):
            self.run()
            command = ("accept", "--by", "kim", *more) if more else ("update",)
            assert self.gate("baseline", *command).code == 0
            self.commit("accept")

    def red(self, *arguments: str | Path, confirm: bool = False) -> tuple[dict[str, str], Result]:
        """The kinds of what is red, by subject."""
        more = () if confirm else ("--no-confirm",)
        result = self.gate("check", *arguments, *more, "--json", "v.json")
        verdict: dict[str, Any] = json.loads((self.root / "v.json").read_text())
        failing = {f["subject"]: f["kind"] for f in verdict["findings"] if f["level"] == "fail"}
        assert (result.code == 0) == (not failing)
        return failing, result


@pytest.fixture
def year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Year:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # an edit may leave size and second alike
    (tmp_path / "tests").mkdir()
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "tests" / "test_a.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (tmp_path / ".gitignore").write_text("__pycache__\n.gate\nv.json\nw.json\n.pytest_cache\n")
    (tmp_path / "thresholds.yaml").write_text(
        "version: 1\nsuites: {api: {run: pytest tests}}\ndefaults: {budget: 20 s}\n"
    )
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    project = Year(tmp_path)
    project.commit("first")
    return project


@pytest.fixture
def event(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    return lambda name: monkeypatch.setenv("GITHUB_EVENT_NAME", name)


def test_the_run_of_an_old_push_that_is_started_again_is_not_the_nearest(year: Year):
    old = year.change("CALLS = 3", "CALLS = 5")
    year.accept()
    year.change("CALLS = 5", "CALLS = 3")
    year.accept()
    git(year.root, "worktree", "add", "--quiet", "c1.d", old)
    again = Year(year.root / "c1.d")
    again.run()
    where = ("--baseline", str(year.root / "tests" / "baseline"), "--commit", old)
    assert again.gate("baseline", "update", *where).code == 0
    git(year.root, "worktree", "remove", "--force", "c1.d")
    year.commit("the run of an old push")
    year.change("CALLS = 3", "CALLS = 5")
    year.run()
    assert year.red("--base", "HEAD~1")[0] == {"db.calls": "regression"}


def test_calibrate_lets_in_no_more_than_an_update(year: Year):
    year.accept(5)
    year.edit("def test_ok(): assert app.ok()\n", "", "tests/test_a.py")
    year.edit("MS = 10.0", "MS = 30.0")
    year.change("CALLS = 3", "CALLS = 9")
    result = year.gate("calibrate", "--runs", "3", "--quiet")
    assert result.code == 1
    for subject in (
        f"{OK}: missing test: is in",
        "db.calls: regression: 3 → 9",
        "page: regression: 10 ms → 30 ms",
    ):
        assert subject in result.err
    year.commit("calibrated")
    year.run()
    red, _ = year.red()
    assert {"db.calls", OK} <= red.keys()


def test_a_runner_that_skips_a_test_does_not_hide_what_it_counts(year: Year, monkeypatch: pytest.MonkeyPatch):
    year.accept(2)
    monkeypatch.setenv("NOLLM", "1")
    year.run()
    monkeypatch.delenv("NOLLM")
    year.report.write_text(re.sub(r'"cpu": *"[^"]*"', '"cpu": "Intel Xeon"', year.report.read_text()))
    elsewhere = year.report.read_bytes()
    because = ("baseline", "accept", "--by", "kim", "--reason", "that runner has no model")
    assert year.gate(*because).code == 0
    year.commit("accept")
    report = json.loads(elsewhere)
    report["gate"]["commit"] = git(year.root, "rev-parse", "HEAD")
    year.report.write_text(json.dumps(report))
    assert year.red()[0] == {}, "what was accepted there is no news there"
    year.change("CALLS = 3", "CALLS = 9")
    year.run()
    assert year.red("--base", "HEAD~1")[0] == {"db.calls": "regression"}


def test_what_two_branches_measured_in_other_units_is_joined(year: Year):
    year.accept()
    git(year.root, "checkout", "--quiet", "-b", "side")
    year.change('app.MS, unit="ms"', 'app.MS / 1000, unit="s"', "tests/test_a.py")
    year.accept()
    git(year.root, "checkout", "--quiet", "main")
    for number in range(2):
        (year.root / "note").write_text(str(number))
        year.commit()
        year.accept()
    (file,) = (year.root / "tests" / "baseline").rglob("*.jsonl")
    other = git(year.root, "show", f"side:{file.relative_to(year.root)}")
    git(year.root, "merge", "--quiet", "--strategy-option", "ours", "side")
    file.write_text(f"{file.read_text()}<<<<<<< ours\n{other}\n>>>>>>> theirs\n")
    assert year.gate("baseline", "repair").code == 0
    assert year.gate("baseline", "verify").code == 0
    year.commit("merged")
    shown = year.gate("history", "page").out
    assert len(re.findall(r"\b10 ms", shown)) == 4
    assert "10 s" not in shown


@pytest.mark.long
def test_a_direction_that_is_turned_is_told_and_changes_nothing_until_it_is_accepted(year: Year):
    year.accept(5)
    year.change('unit="ms"', 'unit="ms", better="higher"', "tests/test_a.py")
    year.run()
    red, result = year.red("--base", "HEAD~1")
    assert red == {}
    assert "says now that higher is better; it is judged as before" in " ".join(result.out.split())
    assert year.gate("baseline", "update", "--verdict", "v.json").code == 0
    year.commit("accept")
    year.change("MS = 10.0", "MS = 30.0")
    year.run()
    assert "page" in year.red()[0]
    year.change("MS = 30.0", "MS = 10.0")
    year.accept(1, "--subject", "page", "--reason", "it is a rate")
    year.change("MS = 10.0", "MS = 3.0")
    year.run()
    assert "page" in year.red()[0]


@pytest.mark.long
def test_a_waiver_takes_no_older_red_along(year: Year, event: Callable[[str], None]):
    year.accept()
    year.change("CALLS = 3", "CALLS = 8")
    event("push")
    year.run()
    assert year.red("--base", "HEAD~1")[0] == {"db.calls": "regression"}
    update = ("baseline", "update", "--verdict", "v.json")
    assert year.gate(*update).code == 1
    year.commit("accept the rest")
    head = year.change("CALLS = 8", "CALLS = 9")
    granted = {"subject": "db.calls", "by": "lead", "reason": "one more call", "source": "u"}
    (year.root / "w.json").write_text(json.dumps({"head": head, "granted": [granted]}))
    year.run()
    red, result = year.red("--base", "HEAD~1", "--waivers", "w.json")
    assert red == {"db.calls": "regression"}
    assert "The waiver by lead does not apply" in " ".join(result.out.split())
    assert year.gate(*update).code == 1
    assert "9" not in year.gate("history", "db.calls", "--quiet").out


def test_an_entry_does_not_end_by_being_removed(year: Year, event: Callable[[str], None]):
    year.accept()
    rules = (year.root / "thresholds.yaml").read_text()
    entry = f"known_failures:\n  {OK}: {{until: 2099-01-01}}\n"
    (year.root / "thresholds.yaml").write_text(rules + entry)
    year.change("return True", "return False")
    year.run()
    assert year.gate("baseline", "update").code == 0
    year.commit("accept")
    (year.root / "thresholds.yaml").write_text(rules)
    year.commit("remove the entry")
    year.run()
    event("pull_request")
    red, result = year.red("--base", "HEAD~1")
    assert red == {OK: "known-failure"}
    assert "this change removes the entry" in " ".join(result.out.split())
    event("schedule")
    year.run()
    assert year.red()[0] == {OK: "new-failure"}


def test_a_rename_is_no_news_to_the_next_push_nor_to_an_update(year: Year, event: Callable[[str], None]):
    year.accept()
    year.change("test_ok", "test_fine", "tests/test_a.py")
    year.change("def ok", "# a comment\ndef ok")
    year.run()
    event("push")
    assert year.red("--base", "HEAD~1")[0] == {}
    assert year.gate("baseline", "update").code == 0


def test_a_verdict_is_about_the_run_that_it_judged(year: Year, monkeypatch: pytest.MonkeyPatch):
    year.change("return True", 'import os; return "BAD" not in os.environ')
    year.accept()
    year.run()
    assert year.red()[0] == {}
    monkeypatch.setenv("BAD", "1")
    year.run()
    refused = year.gate("baseline", "update", "--verdict", "v.json")
    assert (refused.code, "judges another run" in refused.err) == (4, True)
    assert year.red()[0] == {OK: "new-failure"}


@pytest.mark.long
def test_the_base_is_asked_where_the_memory_is_older(year: Year):
    year.change("CALLS = 3", "CALLS = 10")
    year.accept()
    year.change("CALLS = 10", "CALLS = 3")
    year.change("CALLS = 3", "CALLS = 9")
    year.run()
    red, result = year.red("--base", "HEAD~1", confirm=True)
    assert red == {"db.calls": "regression"}, result.text
    assert "3 → 9" in result.out
    assert year.red("--base", "HEAD~1")[1].out.count("improvement") == 0, "nor is it called better unasked"


@pytest.mark.long
def test_what_was_mended_and_is_broken_again_is_new(year: Year):
    year.accept()
    year.change("return True", "return False")
    year.accept(1, "--reason", "ticket 7")
    year.change("return False", "return True")
    year.change("return True", "return False")
    year.run()
    assert year.red("--base", "HEAD~1", confirm=True)[0] == {OK: "new-failure"}
    git(year.root, "checkout", "--quiet", "HEAD~2")
    (year.root / "note").write_text("a bystander")
    year.commit()
    year.run()
    assert year.red("--base", "HEAD~1", confirm=True)[0] == {}, "of the permission as long as it lasts"


@pytest.mark.long
def test_a_flaky_warning_is_no_permission(year: Year, tmp_path_factory: pytest.TempPathFactory):
    seen = tmp_path_factory.mktemp("seen")
    year.accept(2)
    now_and_then = (
        f"import os; n = len(os.listdir({str(seen)!r})); open(os.path.join({str(seen)!r}, str(n)), 'w')"
    )
    year.edit("def ok(): return True", f"def ok():\n    {now_and_then}\n    return n % 2 == 1")
    year.commit("flaky")
    year.run()
    assert year.red("--base", "HEAD~1", confirm=True)[0] == {}
    assert year.gate("baseline", "update", "--verdict", "v.json").code == 0
    year.commit("accept")
    (year.root / "app.py").write_text(APP.replace("True", "False"))
    year.commit("broken for good")
    year.run()
    assert year.red("--base", "HEAD~1", confirm=True)[0] == {OK: "new-failure"}


@pytest.mark.parametrize("brought", [True, False], ids=["with the accepted runs", "without"])
def test_a_history_that_was_written_anew_passes_nothing_worse(year: Year, *, brought: bool):
    year.accept()
    where: tuple[str, ...] = ()
    if not brought:
        (year.root / "tests" / "baseline").rename(year.root / ".gate" / "kept")
        where = ("--baseline", ".gate/kept")
    git(year.root, "checkout", "--quiet", "--orphan", "anew")
    (year.root / "other.py").write_text("ONE = 1\n")
    year.commit("the same code, another history")
    for branch in ("main",):
        git(year.root, "branch", "--quiet", "-D", branch)
    git(year.root, "reflog", "expire", "--expire=now", "--all")
    git(year.root, "gc", "--quiet", "--prune=now")
    year.run()
    undecided = {} if brought else {"baseline": "environment"}
    assert year.red(*where)[0] == undecided
    year.change("CALLS = 3", "CALLS = 9")
    year.run()
    assert year.red(*where)[0] == undecided | {"db.calls": "regression"}
    if not brought:  # what an update holds back is not forgotten
        assert year.gate("baseline", "update", *where).code == 1
        year.commit("next")
        year.run()
        assert year.red(*where)[0] == {"db.calls": "regression"}


@pytest.mark.parametrize("workers", ["", " -n 2"])
def test_a_red_names_what_else_changed_since_the_last_accepted_run(
    year: Year, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, workers: str
):
    installed = tmp_path_factory.mktemp("installed")

    def install(version: str, milliseconds: float) -> None:
        for old in installed.glob("*.dist-info"):
            shutil.rmtree(old)
        metadata = installed / f"dep-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dep\nVersion: {version}\n")
        (metadata / "top_level.txt").write_text("dep\n")
        (installed / "dep.py").write_text(f"MS = {milliseconds}\n")

    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("MODE", "fast")
    install("1.0", 10.0)
    year.edit("MS = 10.0", "from dep import MS")
    year.edit(
        "version: 1\n", "version: 1\nwatch: MODE\nmetrics: {page: {critical: 12 ms}}\n", "thresholds.yaml"
    )
    year.change("run: pytest tests", f"run: pytest tests{workers}", "thresholds.yaml")
    year.accept()
    assert "fast" not in next((year.root / "tests" / "baseline").rglob("api.jsonl")).read_text()
    install("2.0", 30.0)
    monkeypatch.setenv("MODE", "slow")
    year.change("CALLS = 3", "CALLS = 2")
    year.run()
    assert year.red("--base", "HEAD~1")[0].keys() == {"page"}
    messages = [finding["message"] for finding in json.loads((year.root / "v.json").read_text())["findings"]]
    said = "since the last accepted run, beside the code: variable MODE changed, dep 1.0 → 2.0"
    assert f"{said}; not by this change" in messages


def accepted_on_a_topic(year: Year) -> None:
    """A branch asks more often, and brings along that this is accepted; main has moved on."""
    git(year.root, "checkout", "--quiet", "-b", "topic")
    year.change("CALLS = 3", "CALLS = 9")
    year.accept(1, "--reason", "nine are wanted")
    git(year.root, "checkout", "--quiet", "main")
    (year.root / "other.py").write_text("ONE = 1\n")
    year.commit("main moves on")


def test_what_a_squashed_change_brought_along_counts_where_it_was_merged(year: Year):
    year.accept()
    accepted_on_a_topic(year)
    year.accept()
    git(year.root, "checkout", "--quiet", "topic")
    git(year.root, "merge", "--quiet", "--no-edit", "main", "-X", "ours")
    assert year.gate("baseline", "repair").code == 0
    year.commit("merge main")
    git(year.root, "checkout", "--quiet", "main")
    git(year.root, "merge", "--quiet", "--squash", "topic")
    year.commit("topic (#1)")
    git(year.root, "branch", "--quiet", "-D", "topic")
    year.run()
    assert year.red()[0] == {}
    year.change("CALLS = 9", "CALLS = 10")
    year.run()
    assert year.red("--base", "HEAD~1")[0] == {"db.calls": "regression"}


def test_uncommitted_code_is_not_accepted(year: Year):
    year.accept()
    year.edit("CALLS = 3", "CALLS = 2")
    year.run()
    refused = year.gate("baseline", "update")
    assert refused.code == 2
    assert "measured uncommitted changes of app.py; commit them" in refused.err
    year.commit()
    year.accept()


def test_what_a_permission_was_given_for_lasts_through_plain_runs(year: Year):
    year.change("def ok(): return True", "def ok(): return False")
    year.gate("run", "--quiet")
    assert (
        year.gate("baseline", "accept", "--by", "kim", "--reason", "old", "--until", "2999-01-01").code == 0
    )
    for _ in range(2):
        year.commit("accept")
        year.gate("run", "--quiet")
        assert year.red()[0] == {}
        assert year.gate("baseline", "update").code == 0
    longer = ("accept", "--by", "kim", "--subject", OK, "--reason", "longer", "--until", "2999-02-01")
    assert year.gate("baseline", *longer).code == 0
    assert "longer" in year.gate("baseline", "show").out


def test_a_suite_that_the_rules_forgot_is_missed_on_the_branch(year: Year):
    year.accept()
    year.edit("suites: {api:", "suites: {web:", "thresholds.yaml")
    year.commit("another name")
    shutil.rmtree(year.root / ".gate")
    year.run()
    assert year.red()[0] == {"api": "missing-test"}
    (kept,) = (year.root / "tests" / "baseline").rglob("api.jsonl")
    kept.unlink()
    year.commit("and without what was accepted")
    year.run()
    assert year.red()[0] == {}


@pytest.mark.long
def test_what_was_removed_before_is_not_accepted_again(year: Year):
    year.accept()
    for name in ("x", "y"):
        year.run()
        into = ("calibrate", "--runs", "2", "--quiet", "--new-baseline", f".gate/{name}")
        assert year.gate(*into).code == 0
        assert year.gate("baseline", "rebuild", f".gate/{name}", "--by", "kim", "--reason", name).code == 0
    again = year.gate("baseline", "rebuild", ".gate/x", "--by", "kim", "--reason", "back")
    assert again.code == 2
    assert "was removed before (y); nothing was changed" in again.err


@pytest.mark.long
def test_what_a_revert_took_out_counts_again_where_it_is_landed_again(year: Year):
    (year.root / ".gitattributes").write_text("*.jsonl merge=union\n")
    year.commit("attributes")
    year.accept()
    accepted_on_a_topic(year)
    git(year.root, "merge", "--quiet", "--squash", "topic")
    squashed = year.commit("topic (#1)")
    git(year.root, "branch", "--quiet", "-D", "topic")
    git(year.root, "revert", "--no-edit", squashed)
    year.run()
    assert year.red()[0] == {}
    year.accept()
    git(year.root, "revert", "--no-edit", "HEAD~1")
    year.run()
    assert year.red()[0] == {}


def test_a_shallow_clone_knows_what_the_whole_one_does(year: Year, tmp_path_factory: pytest.TempPathFactory):
    """A revert at the tip has the tree of what was accepted long ago: it is not that commit."""
    kept = tmp_path_factory.mktemp("kept")
    where = ("--baseline", str(kept))
    first = year.change("CALLS = 3", "CALLS = 9")
    year.run()
    assert year.gate("baseline", "accept", "--by", "kim", "--reason", "nine", *where).code == 0
    year.change("CALLS = 9", "CALLS = 3")
    year.run()
    assert year.gate("baseline", "update", *where).code == 0
    year.change("CALLS = 3", "CALLS = 9")
    assert git(year.root, "diff", first, "HEAD") == ""
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "--quiet", "--depth", "2", f"file://{year.root}", ".")
    for root in (year.root, clone):
        again = Year(root)
        again.run()
        assert again.red(*where)[0] == {"db.calls": "regression"}

"""What a person would expect of `gate check` after a change: real runs of a real project."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.verdict import read_verdict
from tests.gate.e2e.conftest import TESTS, Project, begin_history

NAMES_SUBTESTS = pytest.version_tuple >= (9,)

HEAD = "version: 1\nsuites: {api: {run: pytest}}\n"
RECORD = '    measure.record("cache.hit_rate", 0.8, unit="ratio", better="higher")\n'


def failing(verdict: dict[str, Any]) -> dict[str, list[str]]:
    """Subjects of failing findings by kind."""
    found: dict[str, list[str]] = {}
    for finding in verdict["findings"]:
        if finding["level"] == "fail":
            found.setdefault(finding["kind"], []).append(finding["subject"])
    return found


def change(project: Project, before: str, after: str) -> None:
    """Edit the project's code and run its suite again."""
    file = project.root / "test_api.py"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    assert project.gate("run").code == 0


def test_unchanged_code_passes(project: Project):
    project.accept(5)
    project.gate("run")
    result, verdict = project.check()
    assert (result.code, failing(verdict)) == (0, {}), result.text


def test_without_any_baseline_limits_and_failures_still_count(project: Project):
    result, verdict = project.check()
    assert result.code == 0
    assert "no accepted run of suite 'api' yet" in str(verdict["findings"])
    change(project, "assert True", "assert 1 == 2")
    result, verdict = project.check()
    assert result.code == 1
    assert failing(verdict) == {"new-failure": ["test_api.py::test_other", "test_api.py::test_third"]}


def test_a_slowdown_is_found_by_name(project: Project):
    project.accept(5)
    change(project, "range(2000)", "range(2000) if [i for i in range(60_000)] else [0]")
    result, verdict = project.check()
    assert result.code == 1
    assert "api.home.p50" in failing(verdict)["regression"]
    assert "api.home.p50" in result.text


def test_one_more_call_is_a_regression_on_one_run(project: Project):
    project.accept()
    change(project, 'calls", 1', 'calls", 2')
    result, verdict = project.check()
    assert result.code == 1
    finding = next(f for f in verdict["findings"] if f["subject"] == "api.home.calls{service=store}")
    assert (finding["kind"], finding["state"], finding["baseline"], finding["head"]) == (
        "regression",
        "confirmed",
        1.0,
        2.0,
    )


def test_failure_new_known_changed_fixed(project: Project):
    project.accept()
    change(project, "def test_other():\n    assert True", "def test_other():\n    assert [] == [1]")
    result, verdict = project.check()
    assert (result.code, failing(verdict)) == (1, {"new-failure": ["test_api.py::test_other"]})

    because = ("--reason", "we know", "--by", "kim")
    assert project.gate("baseline", "accept", "--commit", "broken", *because).code == 0
    result, verdict = project.check()
    assert result.code == 0
    assert [f["kind"] for f in verdict["findings"]] == ["known-failure"]

    change(project, "assert [] == [1]", "raise KeyError('other')")
    result, verdict = project.check()
    assert (result.code, failing(verdict)) == (1, {"changed-failure": ["test_api.py::test_other"]})

    change(project, "raise KeyError('other')", "pass")
    result, verdict = project.check()
    assert result.code == 0
    assert [f["kind"] for f in verdict["findings"]] == ["fixed"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("def test_third", "def not_a_test", {"missing-test": ["test_api.py::test_third"]}),
        ("skipif(False", "skipif(True", {"newly-skipped": ["test_api.py::test_third"]}),
        ('@pytest.mark.skipif(False, reason="never")\ndef test_third():\n    assert True',
         '@pytest.mark.xfail\ndef test_third():\n    assert False',
         {"newly-skipped": ["test_api.py::test_third"]}),
        (RECORD, "", {"missing-metric": ["cache.hit_rate"]}),
        ('measure("api.home", home)', "home()", {"missing-metric": ["api.home"]}),
    ],
)  # fmt: skip
def test_what_vanished_is_named(project: Project, before: str, after: str, expected: dict[str, list[str]]):
    project.accept()
    change(project, before, after)
    result, verdict = project.check()
    assert result.code == 1, result.text
    assert failing(verdict) == expected
    for subjects in expected.values():
        assert subjects[0] in result.text


def test_new_tests_and_metrics_are_welcome(project: Project):
    project.accept()
    change(
        project,
        "def test_other",
        "def test_more(measure):\n    measure.record('a.b', 1, unit='ms')\n\ndef test_other",
    )
    result, verdict = project.check()
    assert result.code == 0
    assert sorted(f["kind"] for f in verdict["findings"]) == ["new-metric", "new-test"]


def test_durations_for_a_suite_that_records_nothing(project: Project):
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(thresholds.read_text().replace("run: pytest", "durations: true, run: pytest"))
    project.accept(5)
    change(project, "def test_other():", "def test_other():\n    import time; time.sleep(0.2)")
    result, verdict = project.check()
    assert result.code == 1
    assert "test.duration{test=test_api.py::test_other}" in failing(verdict)["regression"]


def test_the_verdict_is_the_same_bytes_each_time(project: Project):
    project.accept(3)
    change(project, "assert True", "assert 0")
    project.check()
    first = (project.root / "verdict.json").read_bytes()
    project.check()
    assert (project.root / "verdict.json").read_bytes() == first
    assert str(project.root).encode() not in first


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("version: 1\nsuites:\n\tapi: {run: pytest}\n", "3:1", "a tab"),
        (f"{HEAD}default: {{tolerance: 10 %}}\n", "3:1", "did you mean 'defaults'?"),
        (f"{HEAD}metrics:\n  a.p50: {{warning: 150 mss}}\n", "4:20", "did you mean 150 ms?"),
        (f"{HEAD}version: 1\n", "3:1", "duplicate key"),
        ("version: 1\nsuites: [pytest]\n", "2:9", "must be a mapping"),
        ("", "1:1", "the file is empty"),
        (f"{HEAD}metrics:\n  api.home.p50: {{target: 3 req/s}}\n", "4:26", "measured in ms"),
    ],
)  # fmt: skip
def test_a_wrong_policy_is_exit_code_2(project: Project, text: str, place: str, words: str):
    (project.root / "thresholds.yaml").write_text(text)
    result = project.gate("check", "--no-confirm")
    assert result.code == 2, result.text
    assert result.err.startswith(f"thresholds.yaml:{place}: ")
    assert words in result.err
    assert "Traceback" not in result.text


def test_usage_errors_are_exit_code_2(project: Project):
    (project.root / "thresholds.yaml").rename(project.root / "policy.yaml")
    assert "write the file" in project.gate("check").err
    for arguments in (("check", "--nonsense"), ("run", "nosuch", "--thresholds", "policy.yaml"), ("nosuch",)):
        result = project.gate(*arguments)
        assert result.code == 2
        assert "Traceback" not in result.text
    assert "thresholds.yaml has: api" in project.gate("run", "nosuch", "--thresholds", "policy.yaml").err


def test_a_corrupt_baseline_is_an_error_by_file_and_line(project: Project):
    project.accept(2)
    file = next((project.root / "tests/baseline").rglob("*.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], b'{"kind": "metr\n', *lines[3:]]))
    result, verdict = project.check()
    assert result.code == 4
    assert verdict["verdict"] == "error"
    assert f"{file.name}:4: damaged line" in result.out
    assert project.gate("baseline", "show").code == 4
    before = file.read_bytes()
    assert project.gate("baseline", "update", "--commit", "x").code == 4
    assert file.read_bytes() == before


def test_update_refuses_an_unusable_report(project: Project):
    project.report.write_text("{")
    result = project.gate("baseline", "update", "--commit", "x")
    assert result.code == 4
    assert "nothing was accepted" in result.err
    assert not (project.root / "tests/baseline").exists()


def test_update_needs_to_know_the_commit(project: Project):
    result = project.gate("baseline", "update")
    assert result.code == 2
    assert "--commit SHA" in result.err


def test_show_lists_runs_and_noise(project: Project):
    project.accept(3)
    assert "c0" in project.gate("baseline", "show").out
    assert "api.home.p50" in project.gate("baseline", "show", "api.*").out
    assert project.gate("baseline", "show", "nosuch.*").code == 2


def test_outputs_are_written(project: Project):
    result = project.gate(
        "check", "--no-confirm", "--json", "o/v.json", "--markdown", "o/v.md", "--html", "o/v.html"
    )
    assert result.code == 0
    assert json.loads((project.root / "o/v.json").read_text())["schema"] == "gate.verdict/1"
    assert (project.root / "o/v.md").read_text().startswith("# passed: ")
    assert (project.root / "o/v.html").read_text().startswith("<!doctype html>")
    assert project.gate("report", "-o", "o/r.md", "-o", "o/r.html").code == 0
    assert "## Response times" in (project.root / "o/r.md").read_text()
    assert project.gate("report", "-o", "o/r.txt").code == 2
    assert project.gate("report").out == (project.root / "o/r.md").read_text()


def test_quiet_is_two_lines(project: Project):
    assert len(project.gate("check", "--no-confirm", "--quiet").out.splitlines()) == 2


def test_a_named_file_is_judged_alone_and_a_directory_whole(project: Project):
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(THREE_SUITES)
    (project.root / "test_load.py").write_text(
        TESTS.replace("api.home", "load.home").replace("cache.", "load.")
    )
    assert project.gate("run", "--out", "out").code == 0
    assert project.gate("check", "out", "--no-confirm").code == 0
    assert project.gate("check", "out/api.json", "--no-confirm").code == 0
    (project.root / "out" / "load.json").unlink()
    for arguments in (("out",), ("out/api.json",), ("out/api.json", "out/load.json")):
        result = project.gate("check", *arguments, "--no-confirm")
        assert result.code == 4
        assert "'load' ended, but its report was changed or removed" in result.out


THREE_SUITES = """version: 1
suites:
  api: {run: pytest test_api.py -p no:cacheprovider}
  load: {run: pytest test_load.py -p no:cacheprovider}
"""


def test_reports_without_the_gates_metadata_are_judged_too(project: Project):
    """A report of plain pytest-json-report, recorded long ago and elsewhere."""

    def strip(document: dict[str, Any]) -> None:
        del document["gate"]
        document["created"] = 1_600_000_000.0

    project.edit(strip)
    assert project.gate("baseline", "update", ".gate/api.json", "--commit", "old").code == 0
    result, verdict = project.check()
    assert result.code == 0, result.text
    assert verdict["environment"]["comparable_runs"] == 1


def test_paths_with_spaces(project: Project, tmp_path: Path):
    moved = tmp_path / "a place with spaces"
    project.root.rename(moved)
    assert Project(moved).gate("run", "--out", "the reports").code == 0
    assert Project(moved).gate("check", "the reports", "--no-confirm").code == 0


def test_a_strict_check_fails_on_warnings_but_not_on_what_surrounds_a_run(project: Project):
    result, _ = project.check("--strict")  # no history: a warning about the environment
    assert result.code == 0, result.text
    rules = project.root / "thresholds.yaml"
    rules.write_text(rules.read_text() + "  cache.hit_rate: {better: higher, warning: 90 %}\n")
    assert project.check()[0].code == 0
    result, verdict = project.check("--strict")
    assert (result.code, failing(verdict)) == (1, {"limit": ["cache.hit_rate"]})


def test_a_comparison_of_other_commits_is_refused(project: Project):
    file = project.root / "confirmation.json"
    file.write_text('{"base": "c0ffee"}')
    result = project.gate("check", "--confirmation", file)
    assert result.code == 2
    assert "compares with c0ffee, this check with the work tree" in result.err
    file.write_text("{")
    result = project.gate("check", "--confirmation", file)
    assert (result.code, "no kept confirmation" in result.err) == (2, True)
    project.edit(lambda document: document["gate"].update(commit="1" * 40))
    file.write_text(json.dumps({"head": "0" * 40}))
    result = project.gate("check", "--confirmation", file)
    assert (result.code, "is about 000000000000, the reports are about" in result.err) == (2, True)


@pytest.mark.parametrize("stream", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_characters_gets_its_verdict(stream: str, project: Project):
    environment = os.environ | {"PYTHONIOENCODING": stream, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "pytest_regression_gate", "check", "--no-confirm"]
    done = subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"? passed" in done.stdout
    assert done.stderr == b""


def damage(project: Project) -> None:
    project.accept(1)
    for file in (project.root / "tests" / "baseline").rglob("*.jsonl"):
        file.write_text("{")


REFUSED: dict[str, tuple[Callable[[Path], object], list[str], str, str]] = {
    "a mistake in the rules": (
        lambda root: (root / "thresholds.yaml").write_text("version: 1\nsuites: {api: 7}\n"),
        [], "thresholds.yaml:2:", "correct it, and run again",
    ),
    "no repository": (lambda _: None, ["--base", "x"], "--base needs a git repository", "name another base"),
    "a damaged comparison": (
        lambda root: (root / "c.json").write_text("{"), ["--confirmation", "c.json"],
        "no kept confirmation", "correct the call of gate check",
    ),
    "an unknown suite": (lambda _: None, ["--suite", "x"], "thresholds.yaml names api", "correct the call"),
    "a damaged baseline": (lambda root: damage(Project(root)), [], "damaged line", "gate baseline repair"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_keeps_a_check_from_judging_is_told_everywhere(name, project: Project, monkeypatch):
    prepare, arguments, says, remedy = REFUSED[name]
    prepare(project.root)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = project.gate("check", "--json", "v.json", "--markdown", "v.md", *arguments)
    assert result.code in {2, 4}
    verdict = read_verdict((project.root / "v.json").read_bytes())
    assert verdict.verdict == "error"
    assert says in verdict.findings[0].message
    assert remedy in verdict.findings[0].remedy
    assert says in (project.root / "v.md").read_text().replace("\\", "")
    assert "::error title=regression gate::error: 1 unusable report" in result.out


def test_waivers_of_a_file_are_honoured_and_recorded(project: Project):
    project.accept(3)
    change(project, '.calls", 1', '.calls", 2')
    assert project.check()[0].code == 1
    waivers = project.root / "waivers.json"
    waivers.write_text('{"head": "x", "granted": [{"subject": "api.home", "by": "kim", "reason": "wanted"}]}')
    result, verdict = project.check("--waivers", waivers)
    assert (result.code, failing(verdict)) == (0, {})
    assert verdict["waivers"] == [{"subject": "api.home", "by": "kim", "reason": "wanted", "source": ""}]
    assert "waived by kim: wanted" in " ".join(result.out.split())
    assert project.gate("baseline", "update", "--commit", "c9", "--verdict", "verdict.json").code == 0
    (file,) = (project.root / "tests" / "baseline").rglob("api.jsonl")
    assert json.loads(file.read_text().splitlines()[-1])["waived"] == [
        {"subject": "api.home.calls{service=store}", "by": "kim", "why": "wanted"}
    ]
    waivers.write_text("[]")
    assert project.gate("check", "--waivers", waivers).code == 2


def test_what_a_verdict_calls_worse_is_not_accepted(project: Project):
    project.accept(3)
    change(project, '.calls", 1', '.calls", 2')
    project.check()
    result = project.gate("baseline", "update", "--commit", "c9", "--verdict", "verdict.json")
    assert (result.code, "not accepted:" in result.err) == (1, True)
    assert project.check()[0].code == 1


@pytest.mark.parametrize("verbosity", ["", "-v", "-q"])
def test_a_test_with_subtests_is_one_test(project: Project, verbosity: str):
    """pytest calls it by a word of its own unless it says little."""
    body = "        for i in range(3):\n            with self.subTest(i=i):\n                assert i < {}\n"
    (project.root / "test_api.py").write_text(
        "import unittest\n\nclass T(unittest.TestCase):\n"
        f"    def test_all(self):\n{body.format(5)}    def test_most(self):\n{body.format(2)}"
    )
    (project.root / "thresholds.yaml").write_text(
        f"version: 1\nsuites:\n  api: {{run: python -m pytest {verbosity} test_api.py -p no:cacheprovider}}\n"
    )
    assert project.gate("run").code == 0
    result, verdict = project.check()
    assert result.code == 1, result.text
    assert verdict["summary"]["tests"] == {"passed": 1, "failed": 1, "skipped": 0}
    assert failing(verdict) == {"new-failure": ["test_api.py::T::test_most"]}
    (finding,) = (f for f in verdict["findings"] if f["kind"] == "new-failure")
    named = "failed subtests: [i=2] " if NAMES_SUBTESTS else "assert 2 < 2"
    assert finding["message"].startswith(named)


@pytest.mark.skipif(not NAMES_SUBTESTS, reason="pytest 8 does not say which subtests failed")
def test_another_subtest_that_fails_is_another_failure(project: Project):
    tests = (
        "def test_names(subtests):\n    for name in 'abc':\n"
        "        with subtests.test(name):\n            assert name not in {}\n"
    )
    found: list[dict[str, list[str]]] = []
    for broken in (["a"], ["a"], ["a", "c"]):
        (project.root / "test_api.py").write_text(tests.format(broken))
        assert project.gate("run").code == 0
        found.append(failing(project.check()[1]))
        if len(found) == 1:
            because = ("--reason", "known", "--by", "kim")
            assert project.gate("baseline", "accept", "--commit", "c1", *because).code == 0
    assert "new-failure" in found[0]
    assert "new-failure" not in found[1]
    assert "changed-failure" not in found[1]
    assert found[2]["changed-failure"] == ["test_api.py::test_names"]


def test_without_a_run_it_is_said_what_to_do_first(project: Project):
    shutil.rmtree(project.root / ".gate")
    result, _ = project.check()
    assert result.code == 4
    assert "there is no report" in result.text
    assert "gate run" in result.text


@pytest.mark.parametrize("mistake", ["rules", "base"])
def test_what_keeps_a_check_from_judging_stands_in_verdict_and_log(
    project: Project, mistake: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    begin_history(project.root)
    if mistake == "rules":
        (project.root / "thresholds.yaml").write_text("version: 1\nsuites: {api: {rum: pytest}}\n")
    base = "no-such-base" if mistake == "base" else "HEAD"
    result = project.gate("check", "--base", base, "--json", "verdict.json")
    verdict = read_verdict((project.root / "verdict.json").read_bytes())
    assert (result.code, verdict.verdict) == (2, "error")
    said = "unknown key 'rum'" if mistake == "rules" else "no-such-base"
    assert said in verdict.findings[0].message
    assert said in result.err
    assert result.out.startswith("::error title=regression gate::error: 1 unusable report")
    assert ("::error file=thresholds.yaml,line=2," in result.out) is (mistake == "rules")


def test_a_metric_in_another_unit_is_told_once(project: Project):
    """Not as missing, too: the same subject, measured, cannot be compared."""
    project.edit(
        lambda d: values(d).append({"name": "cache.size", "value": 3.0, "unit": "kB", "better": "lower"})
    )
    project.accept(3)
    project.edit(lambda d: values(d)[-1].update(unit="ms"))
    result, verdict = project.check()
    assert result.code == 1, result.text
    assert failing(verdict) == {"missing-metric": ["cache.size"]}
    (finding,) = (f for f in verdict["findings"] if f["kind"] == "missing-metric")
    assert finding["message"] == "was measured in kB on the baseline and is now measured in ms"


def values(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document["tests"][0]["metadata"]["gate"]["metrics"]


@pytest.mark.parametrize("workers", ["", " -n 1"])
def test_metadata_that_is_no_json_does_not_take_the_metrics_along(workers: str, project: Project):
    (project.root / "test_api.py").write_text(
        "def test_home(measure, json_metadata):\n"
        "    json_metadata['when'] = {1}\n    json_metadata[(1, 2)] = 3\n    json_metadata['kept'] = 'here'\n"
        "    measure.count('api.home.calls', 1)\n"
    )
    rules = project.root / "thresholds.yaml"
    rules.write_text(rules.read_text().replace("test_api.py", f"test_api.py{workers}"))
    assert project.gate("run").code == 0
    (test,) = json.loads(project.report.read_text())["tests"]
    assert [metric["name"] for metric in test["metadata"]["gate"]["metrics"]] == ["api.home.calls"]
    assert {"when": "{1}", "(1, 2)": "3", "kept": "here"}.items() <= test["metadata"].items()


def test_the_old_report_of_a_renamed_suite_is_no_part_of_the_run(project: Project):
    assert project.gate("baseline", "update", "--commit", "a" * 40).code == 0
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(thresholds.read_text().replace("api: {run", "unit: {run"))
    done = project.gate("run")
    assert done.code == 0
    assert "api: thresholds.yaml does not name this suite; its old report was removed" in done.text
    result, verdict = project.check()
    assert result.code == 1, result.text
    assert [suite["name"] for suite in verdict["suites"]] == ["unit"]
    assert [(f["kind"], f["subject"]) for f in verdict["findings"] if f["level"] == "fail"] == [
        ("missing-test", "api")
    ]


@pytest.mark.parametrize(
    "command", [("baseline", "show", "api.*"), ("history", "api.home"), ("diff", "a", "b")]
)
def test_without_a_baseline_it_is_said_how_to_begin_one(project: Project, command: tuple[str, ...]):
    result = project.gate(*command)
    assert result.code == 2
    assert "no accepted runs in tests/baseline; add some: gate baseline update" in result.text

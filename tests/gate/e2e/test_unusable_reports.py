"""Reports that must never count as a pass: each ends with exit code 4 and one line that helps."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gate.e2e.conftest import Project, Result


def refused(project: Project, *arguments: str | Path) -> str:
    """Check that a report is refused, and return the line that says why."""
    result, verdict = project.check(*arguments)
    assert result.code == 4, result.text
    assert verdict["verdict"] == "error"
    assert "Traceback" not in result.text
    lines = [line for line in result.out.splitlines()[2:] if "; " in line and "api" in line]
    assert lines, result.text
    return lines[0]


def test_the_real_report_passes(project: Project):
    assert project.gate("check", "--no-confirm").code == 0


def test_missing(project: Project):
    project.report.unlink()
    for arguments in ((), (".gate",), (".gate/api.json",), ("elsewhere/api.json",)):
        line = refused(project, *arguments)
        assert "api.json" in line
        assert "gate run api" in line


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"   ", b"\x00\x00", b"null", b"[]", b"{}", b"42", b"not json", b"\xff\xfe{"]
)
def test_no_report_at_all(project: Project, content: bytes):
    project.report.write_bytes(content)
    assert "run the suite again" in refused(project)


def test_every_prefix_of_a_real_report(project: Project):
    whole = project.report.read_bytes().rstrip()
    for percent in range(100):
        project.report.write_bytes(whole[: len(whole) * percent // 100])
        line = refused(project)
        assert "cut off" in line or "empty" in line, f"{percent} %: {line}"


BROKEN = {"nodeid": "test_api.py", "outcome": "failed", "longrepr": "E   ImportError: no x"}

DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no tests key": (lambda d: d.pop("tests"), "holds no tests"),
    "zero tests": (lambda d: d.update(tests=[], summary={"total": 0, "collected": 0}), "holds no test"),
    "collected nothing": (lambda d: d.update(tests=[], exitcode=5), "collected no test"),
    "interrupted": (lambda d: d.update(exitcode=2), "interrupted"),
    "internal error": (lambda d: d.update(exitcode=3), "internal error"),
    "exit code of a signal": (lambda d: d.update(exitcode=139), "did not finish"),
    "failed without a failing test": (lambda d: d.update(exitcode=1), "although no test failed"),
    "a test is missing": (lambda d: d["tests"].pop(), "only 2 of 3 tests"),
    "wrong type": (lambda d: d.update(created="yesterday"), "created"),
    "created after all years": (lambda d: d.update(created=1e20), "created"),
    "no created": (lambda d: d.pop("created"), "created"),
    "tests is an object": (lambda d: d.update(tests={}), "tests"),
    "collection error": (
        lambda d: d.update(exitcode=2, collectors=[BROKEN]),
        "ImportError: no x",
    ),
}  # fmt: skip


def metrics(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document["tests"][0]["metadata"]["gate"]["metrics"]


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_damaged(project: Project, damage: Callable[[dict[str, Any]], object], words: str):
    project.edit(lambda document: (damage(document), None)[1])
    assert words in refused(project)


INVALID: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "negative latency": (lambda d: metrics(d)[0]["samples"].__setitem__(3, -1.0), "negative"),
    "text for a number": (lambda d: metrics(d)[0]["samples"].__setitem__(3, "fast"), "Expected `float`"),
    "empty sample": (lambda d: metrics(d)[0].update(samples=[]), "empty"),
    "fewer measurements than samples": (lambda d: metrics(d)[0].update(count=1), "count"),
    "neither value nor samples": (lambda d: metrics(d)[0].pop("samples"), "exactly one"),
    "bad metric name": (lambda d: metrics(d)[0].update(name="api home!"), "no metric name"),
    "metric twice": (lambda d: metrics(d).append(metrics(d)[0]), "label"),
    "no number": (lambda d: metrics(d)[0]["samples"].__setitem__(3, float("nan")), "nan is not a finite"),
    "infinite": (lambda d: metrics(d)[0]["samples"].__setitem__(3, float("-inf")), "-inf is not a finite"),
    "out of range": (lambda d: metrics(d)[0]["samples"].__setitem__(3, 10**400), "out of range"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), INVALID.values(), ids=INVALID)
def test_an_impossible_value_fails_and_all_else_is_judged(
    project: Project, damage: Callable[[dict[str, Any]], object], words: str
):
    project.edit(lambda document: (damage(document), None)[1])
    result, verdict = project.check()
    assert result.code == 1, result.text
    (finding,) = [finding for finding in verdict["findings"] if finding["level"] == "fail"]
    assert (finding["kind"], finding["suite"]) == ("invalid-value", "api")
    assert words in finding["subject"] + finding["message"] + finding["remedy"]
    assert verdict["summary"]["tests"]["passed"] == 3
    assert project.gate("baseline", "update").code == 2, "it is not accepted without a reason"


def test_deep_nesting(project: Project):
    project.report.write_text('{"created":1,"exitcode":0,"summary":{},"environment":{"a":' + "[" * 100_000)
    refused(project)


def test_stale_by_age(project: Project):
    project.edit(
        lambda document: (
            document["gate"].update(commit="a" * 40),
            document.update(created=time.time() - 2 * 86_400),
        )
    )
    assert "stale report" in refused(project)


def test_stale_by_commit(project: Project):
    git(project.root, "init", "-q")
    git(project.root, "commit", "-q", "--allow-empty", "-m", "first")
    assert project.gate("run").code == 0
    assert project.gate("check", "--no-confirm").code == 0
    git(project.root, "commit", "-q", "--allow-empty", "-m", "second")
    assert "stale report" in refused(project)


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, timeout=60)


def test_killed_pytest(project: Project):
    """SIGKILL in the middle of a run: the old report must not survive."""
    (project.root / "test_api.py").write_text(
        "import os, signal\n\ndef test_dies(): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = project.gate("run")
    assert result.code == 4
    assert "killed by SIGKILL" in result.text
    assert not project.report.exists()
    assert "was killed by SIGKILL while test_api.py::test_dies was running" in refused(project)


@pytest.mark.parametrize("between", ["&&", ";", "&"])
def test_a_suite_that_starts_pytest_twice_is_not_judged_by_its_second_half(project: Project, between: str):
    (project.root / "test_more.py").write_text("def test_more(): pass\n")
    once = "python -m pytest -p no:cacheprovider"
    command = f"{once} test_api.py {between} {once} test_more.py; wait"
    (project.root / "thresholds.yaml").write_text(f"version: 1\nsuites:\n  api: {{run: '{command}'}}\n")
    done = project.gate("run")
    assert done.code == 4
    assert "pytest more than once" in done.text
    assert "define one suite for each pytest command" in refused(project)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        ("pytest test_api.py -p no:cacheprovider && exit 3", 4),
        ("python -m pytest test_api.py -p no:cacheprovider -p end", 4),
        ("pytest test_api.py -p no:cacheprovider -k other || true", 0),
        ("pytest test_api.py fails.py -p no:cacheprovider || exit 2", 0),
        ("pytest test_api.py fails.py -p no:cacheprovider; exit 3", 4),
        ("rm -rf .gate && pytest test_api.py -p no:cacheprovider", 0),
        ("pytest test_api.py fails.py -p no:cacheprovider || exit 123", 0),
        ("pytest --collect-only test_api.py > list; pytest test_api.py -p no:cacheprovider", 0),
    ],
    ids=["a check of its own", "coverage too low", "nothing fails", "make says so, the test is judged",
         "a check of its own beside a failing test", "it cleans up first", "xargs says so",
         "it lists its tests first"],
)  # fmt: skip
def test_a_command_that_fails_beside_its_tests_is_no_pass(project: Project, run: str, code: int):
    (project.root / "end.py").write_text("def pytest_unconfigure(config): raise SystemExit(1)\n")
    (project.root / "fails.py").write_text("def test_fails(): assert False\n")
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(
        thresholds.read_text().replace("{run: pytest test_api.py -p no:cacheprovider}", f"\n    run: {run}")
    )
    done = project.gate("run")
    assert done.code == code, done.text
    if code:
        assert "ended with exit code" in done.text
        assert "ended with exit code" in refused(project)
    else:
        assert project.report.exists()


def test_names_that_begin_above_the_repository(project: Project):
    """The base lies in another directory, where pytest finds no such configuration."""
    (project.root.parent / "pytest.ini").write_text("[pytest]\n")
    assert project.gate("run").code == 0  # without a repository there is nothing above it
    subprocess.run(["git", "init", "--quiet", project.root], check=True)
    done = project.gate("run")
    assert done.code == 4, done.text
    assert f"configuration from {project.root.parent}, above the repository" in done.text
    assert "put a pytest.ini or [tool.pytest.ini_options] into the repository" in refused(project)
    (project.root / "pytest.ini").write_text("[pytest]\n")
    assert project.gate("run").code == 0


def test_a_pytest_that_a_test_starts_is_no_second_one(project: Project):
    (project.root / "test_inner.py").write_text("def test_inner(): pass\n")
    (project.root / "test_api.py").write_text(
        "import subprocess, sys\n\ndef test_outer():\n"
        "    for _ in range(2):\n"
        "        subprocess.run([sys.executable, '-m', 'pytest', '-q', 'test_inner.py'], check=True)\n"
    )
    assert project.gate("run").code == 0
    result, verdict = project.check()
    assert (result.code, verdict["summary"]["tests"]["passed"]) == (0, 1), result.text


def test_killed_gate(project: Project):
    """SIGKILL of the gate itself while the suite runs: what lies there is from before, and refused."""
    (project.root / "test_api.py").write_text("import time\n\ndef test_slow(): time.sleep(60)\n")
    command = [sys.executable, "-c", "from gate.cli import main; main()", "run"]
    process = subprocess.Popen(command, cwd=project.root, start_new_session=True, stdout=subprocess.DEVNULL)
    log = project.root / ".gate" / "api.log"
    deadline = time.monotonic() + 60
    while (
        '"running"' not in (project.root / ".gate" / ".run.json").read_text() and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    subprocess.run(["pkill", "-KILL", "-f", str(project.root)], check=False, timeout=10)
    assert log.exists()
    project.report.write_text(json.dumps({"left": "over"}))
    assert "did not finish" in refused(project)


def test_collection_error(project: Project):
    (project.root / "test_api.py").write_text("import no_such_module\n")
    assert project.gate("run").code == 0  # pytest itself ended as it should, and says so in its report
    line = refused(project)
    assert "no_such_module" in line
    assert "collection of test_api.py failed" in line


def test_a_file_that_cannot_be_collected_is_a_failure_where_pytest_goes_on(project: Project):
    """It is known once it was accepted, and its tests are not called missing beside it."""
    rules = project.root / "thresholds.yaml"
    rules.write_text(
        rules.read_text().replace("test_api.py", "test_api.py test_more.py --continue-on-collection-errors")
    )
    more = project.root / "test_more.py"
    more.write_text("def test_more(): pass\n")
    project.gate("run")
    assert project.gate("baseline", "update", "--commit", "c1").code == 0

    more.write_text("import no_such_module\n")
    project.gate("run")
    assert failures(project) == {"test_more.py": "new-failure"}
    refused = project.gate("baseline", "update", "--commit", "c2")
    assert (refused.code, "no_such_module" in refused.err) == (1, True)
    because = ("--reason", "nobody has it", "--by", "kim")
    assert project.gate("baseline", "accept", "--commit", "c2", *because).code == 0
    project.gate("run")
    result, verdict = project.check()
    assert (result.code, failures(project)) == (0, {})
    assert "known-failure" in {finding["kind"] for finding in verdict["findings"]}

    more.write_text("def test_more(): pass\n")
    project.gate("run")
    _, verdict = project.check()
    kinds = {finding["subject"]: finding["kind"] for finding in verdict["findings"]}
    assert kinds["test_more.py"] == "fixed"
    assert kinds["test_more.py::test_more"] == "new-test"


def failures(project: Project) -> dict[str, str]:
    """What is red."""
    _, verdict = project.check()
    return {f["subject"]: f["kind"] for f in verdict["findings"] if f["level"] == "fail"}


def test_stopped_early(project: Project):
    (project.root / "test_api.py").write_text("def test_a(): assert False\n\ndef test_b(): pass\n")
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(thresholds.read_text().replace("pytest test_api.py", "pytest -x test_api.py"))
    project.gate("run")
    assert "only 1 of 2 tests" in refused(project)


def test_timeout(project: Project):
    (project.root / "test_api.py").write_text("import time\n\ndef test_hangs(): time.sleep(60)\n")
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(thresholds.read_text().replace("run: pytest", "timeout: 2 s, run: pytest"))
    result: Result = project.gate("run")
    assert result.code == 4
    assert "stopped after 2 s" in result.text
    refused(project)


def test_no_suite_wrote_anything(project: Project):
    thresholds = project.root / "thresholds.yaml"
    thresholds.write_text(thresholds.read_text().replace("run: pytest test_api.py", "run: no-such-command"))
    assert project.gate("run").code == 4
    assert "did not start because its command was not found" in refused(project)


def test_reports_of_the_same_suite(project: Project):
    twin = project.root / "twin.json"
    twin.write_bytes(project.report.read_bytes())
    assert "second report" in refused(project, ".gate/api.json", "twin.json")


def test_a_hundred_thousand_tests(project: Project, tmp_path: Path):
    """A right verdict on a large report; `make bench` holds the time and memory that it takes."""

    def grow(document: dict[str, Any]) -> None:
        template = document["tests"][1]
        document["tests"] += [{**template, "nodeid": f"test_api.py::test_many[{n}]"} for n in range(100_000)]
        call = {"outcome": "failed", "crash": {"message": "assert 0"}}
        document["tests"][-1] = {**document["tests"][-1], "outcome": "failed", "call": call}
        document["exitcode"] = 1
        document["summary"] = {"total": 100_003, "collected": 100_003}

    project.edit(grow)
    result, verdict = project.check()
    assert result.code == 1
    assert verdict["summary"]["tests"] == {"passed": 100_002, "failed": 1, "skipped": 0}
    assert [finding["kind"] for finding in verdict["findings"] if finding["level"] == "fail"] == [
        "new-failure"
    ]


def test_a_report_file_of_the_suites_own_is_named_as_the_cause(project: Project):
    rules = project.root / "thresholds.yaml"
    rules.write_text(rules.read_text().replace("test_api.py", "test_api.py --json-report-file=mine.json"))
    result = project.gate("run")
    assert result.code == 4
    assert "its command sets --json-report-file, which overrides the gate's" in result.out
    assert (project.root / "mine.json").exists()


def test_a_place_that_cannot_be_written_is_named(project: Project):
    """Root may write anywhere: a file in place of a directory stops it, too."""
    (project.root / "taken").write_text("")
    result = project.gate("run", "--out", "taken/reports")
    assert result.code == 4
    assert "no verdict: cannot access taken/reports: Not a directory; check its permissions" in result.text

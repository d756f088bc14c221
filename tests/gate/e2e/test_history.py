"""What the baseline tells a person: a metric through time, two runs compared, whether all can be read."""

import pytest

from gate.report.history import sparkline
from tests.gate.e2e.conftest import Project


@pytest.fixture
def remembered(project: Project) -> Project:
    """Three accepted runs, the hit rate falling."""

    def set_rate(rate: float) -> None:
        def change(document: dict) -> None:
            document["created"] += 1
            for test in document["tests"]:
                for metric in test.get("metadata", {}).get("gate", {}).get("metrics", []):
                    if metric["name"] == "cache.hit_rate":
                        metric["value"] = rate

        project.edit(change)

    for commit, rate in (("aaa1", 0.8), ("bbb2", 0.72), ("ccc3", 0.36)):
        set_rate(rate)
        assert project.gate("baseline", "update", "--commit", commit).code == 0
    return project


def test_a_metric_through_time(remembered: Project):
    lines = remembered.gate("history", "cache.hit_rate").out.splitlines()
    assert lines[0].endswith("█▇▁  3 accepted runs")
    assert [line.split()[:1] + line.split()[2:] for line in lines[2:5]] == [
        ["aaa1", "80", "%"], ["bbb2", "72", "%", "-10.0", "%"], ["ccc3", "36", "%", "-50.0", "%"],
    ]  # fmt: skip


def test_a_subject_and_a_glob_name_all_their_metrics(remembered: Project):
    assert len(remembered.gate("history", "api.home", "--quiet").out.splitlines()) >= 5
    assert len(remembered.gate("history", "*.calls{service=store}", "--quiet").out.splitlines()) == 1


@pytest.mark.parametrize("name", ["no.such.metric", "{", "cache.hit_rate{"])
def test_an_unknown_metric_is_wrong_usage(remembered: Project, name: str):
    assert remembered.gate("history", name).code == 2


def test_two_runs_beside_each_other_the_largest_change_first(remembered: Project):
    lines = remembered.gate("diff", "aaa", "ccc3").out.splitlines()
    assert "aaa1" in lines[0]
    assert lines[2].split() == ["cache.hit_rate", "80", "%", "36", "%", "-55.0", "%"]
    result = remembered.gate("diff", "aaa", "ddd")
    assert (result.code, "holds ccc3, bbb2, aaa1" in result.err) == (2, True)


def test_verify_reads_every_line(remembered: Project):
    assert "1 file with 3 accepted runs, no damage" in remembered.gate("baseline", "verify").out
    (file,) = (remembered.root / "tests" / "baseline").rglob("*.jsonl")
    file.write_text(file.read_text().replace('"created"', '"craeted"', 1))
    result = remembered.gate("baseline", "verify")
    assert result.code == 4
    assert "damaged line" in result.err


def test_repair_keeps_what_can_be_read_and_moves_the_rest_aside(remembered: Project):
    (file,) = (remembered.root / "tests" / "baseline").rglob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole.rstrip(b"\n")[:-9])
    assert remembered.gate("check", "--no-confirm").code == 4
    result = remembered.gate("baseline", "repair")
    assert (result.code, "kept 2 accepted runs; moved damaged line" in result.out) == (0, True), result.text
    assert file.with_name("api.jsonl.damaged").read_bytes() == whole.splitlines()[-1][:-9] + b"\n"
    assert remembered.gate("baseline", "verify").code == 0
    assert remembered.gate("baseline", "repair", "--quiet").out == ""


def test_bars():
    assert sparkline([1, 2, 3]) == "▁▅█"
    assert sparkline([5]) == "▄"
    assert sparkline([0, 0]) == "▄▄"

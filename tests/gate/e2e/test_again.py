"""`gate check --again`: what the last check left open is measured on, and nothing else."""

import json
from typing import Any

import pytest

from gate.evidence import Confirmation
from tests.gate.e2e.conftest import Result
from tests.gate.e2e.test_confirm import CODE, Project, repository

__all__ = ["repository"]


def launches(kept: dict[str, Any]) -> dict[str, int]:
    return {name: len(shown["pairs"]) for name, shown in kept["evidence"].items()}


@pytest.mark.long
def test_what_was_left_open_is_measured_on_until_it_is_decided(repository: Project):
    """As if the budget had ended with the first launch of one operation."""
    root, file = repository.root, repository.root / ".gate" / "comparison.kept"

    def check(*options: str) -> Result:
        return repository.gate("check", "--base", "main", *options)

    (root / "app.py").write_text(CODE.replace("20_000", "60_000 - 40_000) if sum(range(60_000)) else (1", 1))
    assert repository.gate("run").code == 0
    early = check("--again")
    assert early.code == 2
    assert "run the same command without --again" in early.text
    assert check("--json", "first.json").code == 1
    kept = json.loads(file.read_text())
    made = launches(kept["shown"])
    for name, shown in kept["shown"]["evidence"].items():
        if name.startswith("app.work"):
            shown["pairs"] = shown["pairs"][:1]
    file.write_text(json.dumps(kept))
    result = check("--again", "--json", "verdict.json")
    assert result.code == 1, result.text
    assert "what is still open, so 3 times the budget" in result.text
    now = launches(json.loads(file.read_text())["shown"])
    assert now["app.work.p50"] > 1
    assert {name: now[name] for name in now if "other" in name} == {n: made[n] for n in made if "other" in n}
    verdict = json.loads((root / "verdict.json").read_text())
    states = {f["subject"]: f["state"] for f in verdict["findings"] if f["kind"] == "regression"}
    assert states["app.work.p50"] == "confirmed"
    assert "the last check left nothing open" in check("--again").text
    (root / "app.py").write_text(CODE)
    other = check("--again")
    assert other.code == 2
    assert "no longer those of the last check" in other.text
    (root / ".gate" / "api.json").write_text("{")
    assert check("--again").code == 4


@pytest.mark.parametrize(
    ("command", "thorough"), [(("check",), False), (("confirm", "--keep", ".gate/kept.json"), True)]
)
def test_who_cannot_know_of_waivers_does_not_end_with_the_first_regression(
    repository: Project, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], *, thorough: bool
):
    """Another machine judges what is kept, and there the regression may be permitted."""
    asked: list[bool] = []

    def confirm(*_: object, thorough: bool, **__: object) -> Confirmation:
        asked.append(thorough)
        return Confirmation()

    monkeypatch.setattr("gate.pipeline.check.confirm", confirm)
    (repository.root / "app.py").write_text(CODE.replace("20_000", "20_001", 1))
    assert repository.gate("run").code == 0
    repository.gate(*command, "--base", "main")
    assert asked == [thorough]

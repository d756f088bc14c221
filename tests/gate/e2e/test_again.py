"""`gate check --again`: what the last check left open is measured on, and nothing else."""

import json
from typing import Any

from tests.gate.e2e.conftest import Result
from tests.gate.e2e.test_confirm import CODE, Project, git, repository

__all__ = ["repository"]


def check(project: Project, *options: str) -> tuple[Result, dict[str, Any]]:
    result = project.gate("check", "--base", "main", "--json", "verdict.json", *options)
    return result, json.loads((project.root / "verdict.json").read_text())


def test_what_was_left_open_is_measured_on_until_it_is_decided(repository: Project):
    """The budget ends with the first launch; each further call adds to what was measured."""
    root, rules = repository.root, repository.root / "thresholds.yaml"
    rules.write_text(rules.read_text().replace("{tolerance: 20 %}", "{tolerance: 20 %, budget: 0.2 s}"))
    git(root, "commit", "-qam", "a short budget")
    (root / "app.py").write_text(CODE.replace("20_000", "60_000 - 40_000) if sum(range(60_000)) else (1", 1))
    assert repository.gate("run").code == 0
    early = repository.gate("check", "--base", "main", "--again")
    assert early.code == 2
    assert "run the same command without it first" in early.text
    result, verdict = check(repository)
    assert result.code == 3, result.text
    assert "--again" in " ".join(finding["remedy"] for finding in verdict["findings"])
    for _ in range(6):
        if result.code == 3:
            result, verdict = check(repository, "--again")
    states = {f["subject"]: f["state"] for f in verdict["findings"] if f["kind"] == "regression"}
    assert result.code == 1, result.text
    assert states["app.work.p50"] == "confirmed"
    (root / "app.py").write_text(CODE)
    other = repository.gate("check", "--base", "main", "--again")
    assert other.code == 2
    assert "no longer those of the last check" in other.text

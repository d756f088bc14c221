"""The life of the documented set-up in a repository of its own, from its first push on.

The workflows are those of docs/github.md, but for what a test cannot fetch. What they leave is looked at:
commits, comments, checks, pull requests.
"""

import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.gate.github.double import Double
from tests.gate.github.rig import TOP, Outcome, Rig, git, make_template

NAME: Final = "api/v1 – Python 3.12"
CALLED: Final = "./.github/workflows/called.yml"
PROTECTED: Final = """#!/bin/sh
while read -r _ _ ref; do
  [ "$ref" != refs/heads/main ] || [ -e open ] || { echo "GH006: Protected branch"; exit 1; }
done
"""
ZEROS: Final = "0" * 40
RULES: Final = """version: 1
suites:
  api: {run: python -m pytest test_api.py -p no:cacheprovider}
defaults: {confirm: suspects, tolerance: 400 %}
"""
SERVICE: Final = "CALLS = 1\n\n\ndef home():\n    return 1\n"
TESTS: Final = """import service

def test_home(measure):
    assert service.home() == 1
    measure.count("api.home.calls", service.CALLS)
"""


def documented(name: str, number: int = 0) -> str:
    """A workflow as a maintainer copies it."""
    blocks = re.findall(r"```yaml\n(name: .*?)```\n", (TOP / "docs" / "github.md").read_text(), re.DOTALL)
    return [block for block in blocks if block.startswith(f"name: {name}\n")][number]


def at_home(workflow: str, directory: str, gate: str) -> str:
    """The same where nothing can be fetched: the hashes that the stand-ins have, the gate by its path."""
    for major, pin in {
        "actions/checkout@v7": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "actions/setup-python@v7": "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97",
        "pip install -r requirements.txt": 'echo "$GATE_VENV/bin" >> "$GITHUB_PATH"',
        ' "git+https://github.com/OWNER/regression-gate@COMMIT"': "",
        "OWNER/regression-gate/.github/workflows/regression-gate.yml@COMMIT": CALLED,
    }.items():
        workflow = workflow.replace(major, pin)
    given = {"install": '"false"'}
    if gate != "gate":
        given |= {"gate": gate, "gates": gate, "working-directory": directory}
    lines: list[str] = []
    for line in workflow.splitlines():
        used = re.fullmatch(r"( +)- uses: OWNER/regression-gate(/\S+)?@COMMIT.*", line)
        if not used:
            lines.append(
                line.replace("with: {update", "  update").replace('}}"}', '}}"')
                if 'update-baseline: "' in line
                else line
            )
            continue
        names = {"gate": not used[2], "gates": bool(used[2])}
        lines += [f"{used[1]}- uses: ./regression-gate{used[2] or ''}", f"{used[1]}  with:"]
        lines += [f"{used[1]}    {key}: {value}" for key, value in given.items() if names.get(key, True)]
    return "\n".join(lines) + "\n"


class Life:
    """A repository from its first push on."""

    def __init__(self, tmp_path: Path, double: Double, kind: str) -> None:
        self.gate, self.directory = (NAME, "services/api") if kind == "subdirectory" else ("gate", ".")
        self.relayed = kind != "action"
        beside = "" if self.directory == "." else f"{self.directory}/"
        self.places = {name: f"{beside}{name}" for name in ("thresholds.yaml", "service.py", "test_api.py")}
        files = dict(zip(self.places.values(), (RULES, SERVICE, TESTS), strict=True))
        files[".gitignore"] = "__pycache__/\n.gate/\nreports/\n"
        for name, number in {
            "regression-gate": kind == "reusable",
            "regression-baseline": 0,
            "regression-comment": 0,
        }.items():
            text = at_home(documented(name, int(number)), self.directory, self.gate)
            files[f".github/workflows/{name}.yml"] = text
        files[".github/workflows/called.yml"] = (TOP / ".github/workflows/regression-gate.yml").read_text()
        for path in (TOP / "action.yml", *(TOP / ".github" / "actions").rglob("action.yml")):
            files[f"regression-gate/{path.relative_to(TOP)}"] = path.read_text()
        make_template(tmp_path / "template", files, accepted=False)
        self.rig, self.double = Rig(tmp_path, double, tmp_path / "template"), double
        git(self.rig.remote, "branch", "--quiet", "--force", "main", "main")

    def push(self, before: str) -> tuple[Outcome, Outcome]:
        """Main goes to the remote; both workflows run; main follows."""
        rig = self.rig
        head = rig.git("rev-parse", "main")
        rig.git("checkout", "--quiet", "main")
        git(rig.root, "push", "--quiet", "--force", str(rig.remote), "main")
        self.forget()
        pushed = rig.act("push", {"ref": "refs/heads/main", "before": before, "after": head})
        learned = rig.learn(head, pushed.check)
        self.follow("main")
        return pushed, learned

    def follow(self, branch: str) -> None:
        self.rig.git("fetch", "--quiet", str(self.rig.remote), branch)
        self.rig.git("checkout", "--quiet", "main")
        self.rig.git("merge", "--quiet", "--ff-only", "FETCH_HEAD")
        self.rig.git("update-ref", "refs/remotes/origin/main", "main")

    def forget(self) -> None:
        """Each run has artifacts of its own."""
        for left in self.rig.artifacts.iterdir():
            shutil.rmtree(left)

    def pull(self, **files: str) -> Outcome:
        """A new pull request with these files, judged and told."""
        rig = self.rig
        self.forget()
        self.double.comments.clear()
        rig.base = rig.git("rev-parse", "main")
        rig.git("checkout", "--quiet", "-B", "topic", "main")
        rig.change(
            {
                self.places.get(name.replace("_py", ".py").replace("_yaml", ".yaml"), name): text
                for name, text in files.items()
            }
        )
        outcome = rig.pull_request()
        if self.relayed:
            told = rig.relay(outcome)
            assert told.jobs == {"tell": "success"}, told.log
        assert self.double.violations == []
        return outcome

    def merge(self) -> str:
        """Merge the pull request; what main was before."""
        before = self.rig.git("rev-parse", "main")
        self.rig.git("checkout", "--quiet", "main")
        self.rig.git("merge", "--quiet", "--no-ff", "--message", "merge", "topic")
        return before

    @property
    def comment(self) -> str:
        """The comment on the pull request; empty: there is none."""
        bodies = self.double.bodies(7)
        assert len(bodies) < 2
        return bodies[0] if bodies else ""

    def subjects(self, ref: str = "main") -> list[str]:
        """The commits of the remote's branch, youngest first."""
        return git(self.rig.remote, "log", "--format=%s", ref).splitlines()


LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in ("action", "reusable")]


@pytest.mark.parametrize("kind", ["subdirectory", *LONG])
@pytest.mark.long
def test_from_an_empty_repository_on(kind, tmp_path, double):
    life = Life(tmp_path, double, kind)
    rig = life.rig

    # The first push: nothing is known yet, all of it is accepted.
    pushed, learned = life.push(ZEROS)
    assert pushed.check == "success", pushed.log
    assert learned.jobs == {"update": "success"}, learned.log
    assert [re.sub(r"[0-9a-f]{12}", "C", s) for s in life.subjects()] == [
        "chore(baseline): accept C [skip ci]",
        "first",
    ]

    # A pull request that is fine, and one that is not.
    assert life.pull(service_py=f"{SERVICE}# a remark\n").check == "success"
    assert life.comment == ""
    assert life.pull(service_py=SERVICE.replace("CALLS = 1", "CALLS = 5")).check == "failure"
    assert "failed: 1 regression" in life.comment
    assert "1\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}5" in life.comment
    if life.relayed:
        assert [check["conclusion"] for check in double.checks] == ["success", "failure"]
        name = "regression-gate / verdict" if life.gate == "gate" else f"regression-gate / verdict ({NAME})"
        assert {check["name"] for check in double.checks} == {name}

    # Merged, learned, and the next one is judged by it: it may not take the new test away.
    more = f"{TESTS}\ndef test_more():\n    pass\n"
    assert life.pull(test_api_py=more).check == "success"
    before = life.merge()
    pushed, learned = life.push(before)
    assert pushed.check == "success", pushed.log
    assert "2 of 2" in learned.log or "2 tests" in learned.log, learned.log
    assert life.pull(test_api_py=TESTS).check == "failure"
    assert "test_more" in life.comment
    stricter = RULES.replace("400 %", "300 %")
    assert (
        life.pull(thresholds_yaml=stricter, test_api_py=more.replace("pass", "assert 0")).check == "failure"
    )
    assert life.comment.count(f"`{life.places['thresholds.yaml']}` ") == 1, (
        "it is a change of the rules, told once"
    )
    if life.relayed:
        paths = {remark["path"] for remark in double.checks[-1]["output"]["annotations"]}
        assert paths == {life.places["test_api.py"], life.places["thresholds.yaml"]}

    more = while_main_takes_no_push(life, more)
    assert life.pull(test_api_py=more.replace("def test_one", "def one")).check == "failure"
    assert "test_one" in life.comment

    # A schedule, a history that was replaced, and a release of the gate.
    rig.git("checkout", "--quiet", "main")
    life.forget()
    assert rig.act("schedule", {}).check == "success"
    if kind != "reusable":
        rig.git("checkout", "--quiet", "topic")
        wish = {"inputs": {"update-baseline": "true"}, "ref": "refs/heads/topic"}
        refused = rig.act("workflow_dispatch", wish)
        assert refused.check == "failure"
        assert "only runs of branch main are accepted" in refused.log
        assert "Claim the name" not in refused.log
        rig.git("checkout", "--quiet", "main")
    pushed, _ = life.push("d" * 40)
    assert pushed.check == "success", pushed.log
    workflow = (rig.root / ".github/workflows/regression-gate.yml").read_text()
    released = life.pull(**{".github/workflows/regression-gate.yml": f"{workflow}# a new pin\n"})
    assert released.check == "success", released.log
    assert "`.github/workflows/regression-gate.yml` decides how this is judged" in life.comment


def while_main_takes_no_push(life: Life, tests: str) -> str:
    """Two pull requests are merged, and one more brings what was accepted of both; the tests then."""
    rig = life.rig
    hook, unlocked = rig.remote / "hooks" / "pre-receive", rig.remote / "open"
    hook.write_text(PROTECTED)
    hook.chmod(0o755)
    for name in ("one", "two"):
        tests = f"{tests}\ndef test_{name}():\n    pass\n"
        assert life.pull(test_api_py=tests).check == "success"
        before = life.merge()
        unlocked.touch()
        git(rig.root, "push", "--quiet", str(rig.remote), "main")
        unlocked.unlink()
        life.forget()
        head = rig.git("rev-parse", "main")
        assert rig.act("push", {"ref": "refs/heads/main", "before": before, "after": head}).check == "success"
        learned = rig.learn(head, "success")
        assert learned.jobs == {"update": "success"}, learned.log
        opened = [pull for pull in life.double.pulls.values() if pull["branch"] == "gate-baseline-for/main"]
        assert [pull["base"] for pull in opened] == ["main"]
    # Its merge is no reason for the next one.
    unlocked.touch()
    before = rig.git("rev-parse", "main")
    life.follow("gate-baseline-for/main")
    git(rig.root, "push", "--quiet", str(rig.remote), "main")
    unlocked.unlink()
    life.forget()
    head = rig.git("rev-parse", "main")
    rig.act("push", {"ref": "refs/heads/main", "before": before, "after": head})
    learned = rig.learn(head, "success")
    assert "nothing to accept: the push brought accepted runs alone" in learned.log
    unlocked.touch()
    return tests

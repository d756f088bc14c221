"""The repository's own workflows, run for real by act on this machine, against the double of GitHub.

A small repository gets the workflows and three tiny suites of the names that they know. Actions of others are
replaced by stand-ins (`tests/gate/act`); `checkout` is act's own and takes the work tree.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.gate.github.double import Double

TOP: Final = Path(__file__).parents[3]
STAND_INS: Final = TOP / "tests" / "gate" / "act"
_USES: Final = re.compile(r"uses: (actions/([\w-]+)@[0-9a-f]{40})")
PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
AUTHOR: Final = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "kim", "EMAIL": "kim@shop.example"}.items()
}
FILES: Final = {
    "thresholds.yaml": """version: 1
suites:
  performance: {run: pytest test_performance.py -p no:cacheprovider}
  load: {run: pytest test_load.py -p no:cacheprovider}
  integration: {run: pytest test_integration.py -p no:cacheprovider}
defaults: {confirm: suspects, budget: 20 s, tolerance: 400 %}
metrics:
  "*.p95": {tolerance: off}
""",
    "service.py": """def home():
    return sum(range(2000))

CALLS = 1
""",
    "test_performance.py": """import service

def test_home(measure):
    assert measure("api.home", service.home) == 1999000
    measure.count("api.home.calls", service.CALLS, service="store")
""",
    "test_load.py": "def test_queue():\n    assert True\n",
    "test_integration.py": "def test_flow():\n    assert True\n\ndef test_other():\n    assert True\n",
    "Makefile": 'install:\n\t@test -e .venv || ln -s "$(GATE_VENV)" .venv\n',
    ".gitignore": ".venv\n__pycache__/\n.gate/\nreports/\nverdict.*\nwaivers.json\n",
}


def git(root: Path, *arguments: str) -> str:
    """What git says in a directory."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=os.environ | AUTHOR,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def make_template(root: Path, files: dict[str, str] = FILES, *, accepted: bool = True) -> None:
    """A repository with the workflows, on main; with a baseline of one run, unless it begins its life."""
    root.mkdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = os.environ | {"ImageOS": "ubuntu24"}  # as act says of its runner
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "remote", "add", "origin", "https://github.com/acme/shop.git")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    if not accepted:
        return
    for command in (["run", "--quiet"], ["baseline", "update", "--quiet"]):
        gate = [sys.executable, "-c", "from gate.cli import main; main()", *command]
        subprocess.run(gate, cwd=root, env=environment, capture_output=True, timeout=120, check=True)
    shutil.rmtree(root / ".gate")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "base")
    git(root, "update-ref", "refs/remotes/origin/main", "HEAD")


@dataclass
class Outcome:
    """What a workflow did."""

    jobs: dict[str, str] = field(default_factory=dict)
    """Conclusion by job."""
    log: str = ""

    @property
    def check(self) -> str:
        """Conclusion of the required check."""
        return self.jobs.get("regression-gate", "missing")


class Rig:
    """A repository with a base commit, a topic branch, and act."""

    def __init__(self, root: Path, double: Double, template: Path) -> None:
        self.root = root / "shop"
        self.artifacts = root / "artifacts"
        self.home = root / "home"
        self.remote = root / "remote.git"
        self.double = double
        self.lost = ""
        """The artifact that a cancelled job does not leave."""
        self.attempt = 1
        self.same_run = False
        """What runs next is another job of the run before."""
        for directory in (self.artifacts, self.home):
            directory.mkdir()
        shutil.copytree(template, self.root, symlinks=True)
        git(root, "clone", "--quiet", "--bare", str(self.root), str(self.remote))
        # It stands for the repository on GitHub.
        there = f'[url "{self.remote}"]\n\tinsteadOf = https://github.com/acme/shop.git\n'
        (self.home / ".gitconfig").write_text(there)
        self.base = self.git("rev-parse", "HEAD")
        self.git("checkout", "--quiet", "-b", "topic")

    def git(self, *arguments: str) -> str:
        """What git says."""
        return git(self.root, *arguments)

    def commit(self, message: str) -> str:
        """Commit everything; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def change(self, files: dict[str, str]) -> str:
        """A commit on the topic branch that writes files; the pull request's new head."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        head = self.commit("change")
        self.double.add_pull(7, head)
        self.double.add_run(42, head)
        self.double.files[7] = list(files)
        return head

    def act(
        self, event: str, payload: dict[str, Any], *, workflow: str = "regression-gate.yml",
        token: str = "writer", run: int = 42,
    ) -> Outcome:  # fmt: skip
        """Run a workflow as GitHub would after an event."""
        for claim in () if self.same_run else self.artifacts.glob("measured-*~~*"):
            shutil.rmtree(claim)
        file = self.home / "event.json"
        file.write_text(json.dumps({"repository": {"default_branch": "main"}} | payload))
        command = [
            "act",
            event,
            "--workflows",
            f".github/workflows/{workflow}",
            "--eventpath",
            str(file),
            "--json",
        ]
        command += ["--platform", "ubuntu-24.04=-self-hosted", "--secret", f"GITHUB_TOKEN={token}"]
        environment = {
            "GITHUB_API_URL": self.double.url,
            "GITHUB_RUN_ID": str(run),
            "GITHUB_RUN_ATTEMPT": str(self.attempt),
            "GITHUB_WORKFLOW_REF": f"acme/shop/.github/workflows/{workflow}@refs/heads/main",
            "GATE_VENV": str(Path(sys.executable).parents[1]),
            "STANDIN_ARTIFACTS": str(self.artifacts),
            "STANDIN_LOST": self.lost,
            "PYTEST_ADDOPTS": os.environ.get("PYTEST_ADDOPTS", ""),
        }
        for name, value in environment.items():
            command += ["--env", f"{name}={value}"]
        sources = [*(self.root / ".github" / "workflows").iterdir(), *self.root.glob("**/action.yml")]
        for used, name in sorted({m for file in sources for m in _USES.findall(file.read_text())}):
            if name != "checkout":
                command += ["--local-repository", f"{used}={STAND_INS / name}"]
        done = subprocess.run(
            command, cwd=self.root, env=os.environ | {"HOME": str(self.home), "NO_COLOR": "1", "PATH": PATH},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return _outcome(done.stdout + done.stderr)

    def pull_request(self, *, token: str = "writer") -> Outcome:
        """The workflow that measures and judges, and what it leaves."""
        head = self.git("rev-parse", "HEAD")
        payload = {
            "action": "synchronize",
            "number": 7,
            "pull_request": {
                "number": 7,
                "base": {"sha": self.base, "ref": "main"},
                "head": {"sha": head, "ref": "topic"},
            },
        }
        return self.act("pull_request", payload, token=token)

    def hand_over(self) -> None:
        """The artifacts that the steps left are those that the API knows of run 42."""
        self.double.artifacts.clear()
        for left in self.artifacts.iterdir():
            files = {str(f.relative_to(left)): f.read_bytes() for f in left.rglob("*") if f.is_file()}
            self.double.add_artifact(42, files, left.name)

    def learn(self, commit: str, conclusion: str, *, event: str = "push") -> Outcome:
        """The workflow that accepts a run of main, after that has ended."""
        self.hand_over()
        run = {
            "id": 42,
            "event": event,
            "conclusion": conclusion,
            "head_sha": commit,
            "head_branch": "main",
            "created_at": "2026-11-20T09:00:00Z",
            "head_repository": {"full_name": "acme/shop", "owner": {"login": "acme"}},
        }
        payload = {"action": "completed", "workflow_run": run}
        return self.act("workflow_run", payload, workflow="regression-baseline.yml", run=44)

    def relay(self, outcome: Outcome, *, owner: str = "acme") -> Outcome:
        """The second workflow, on the default branch, after the first one."""
        head = self.git("rev-parse", "topic")
        self.hand_over()
        self.double.jobs[42] = list(outcome.jobs.items())
        run = {
            "id": 42,
            "head_sha": head,
            "head_branch": "topic",
            "event": "pull_request",
            "conclusion": outcome.check,
            "created_at": "2026-11-20T09:00:00Z",
            "path": ".github/workflows/regression-gate.yml",
            "run_attempt": 1,
            "pull_requests": [],
            "head_repository": {"owner": {"login": owner}},
        }
        self.git("checkout", "--quiet", "main")
        try:
            return self.act("workflow_run", {"action": "completed", "workflow_run": run},
                            workflow="regression-comment.yml", run=43)  # fmt: skip
        finally:
            self.git("checkout", "--quiet", "topic")


def _outcome(text: str) -> Outcome:
    """Read act's log, a JSON object a line."""
    outcome, lines = Outcome(), []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        lines.append(f"[{entry.get('job', '')}] {entry.get('msg', '')}".rstrip())
        if "jobResult" in entry:
            name = entry.get("jobID") or entry.get("job", "").rpartition("/")[2]
            worst = outcome.jobs.get(name)
            outcome.jobs[name] = "failure" if "failure" in {worst, entry["jobResult"]} else entry["jobResult"]
    outcome.log = "\n".join(lines)
    return outcome

"""GitHub's own description of its REST API, cut to what the gate calls, as JSON Schema.

It comes from npm at test time (13 MB, not ours to keep here) and is cached outside the repository.
"""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "@octokit/openapi@23.0.2"
_MEMBER: Final = "package/generated/api.github.com.json"
OPERATIONS: Final = frozenset(
    {
        "issues/list-comments",
        "issues/create-comment",
        "issues/update-comment",
        "issues/delete-comment",
        "issues/list-events",
        "pulls/list",
        "pulls/create",
        "pulls/get",
        "pulls/list-files",
        "repos/list-pull-requests-associated-with-commit",
        "repos/get-collaborator-permission-level",
        "checks/create",
        "checks/update",
        "checks/list-for-ref",
        "actions/list-workflow-runs-for-repo",
        "actions/get-workflow-run",
        "actions/list-jobs-for-workflow-run-attempt",
        "actions/re-run-workflow",
        "actions/list-workflow-run-artifacts",
        "actions/download-artifact",
        "actions/re-run-workflow-failed-jobs",
        "reactions/create-for-issue-comment",
        "users/get-authenticated",
    }
)


@cache
def description() -> dict[str, Any]:
    """The paths and components of `OPERATIONS`."""
    cached = _cache() / f"{PACKAGE.rpartition('@')[2]}-{_fingerprint()}.json"
    if not cached.exists():
        cut = _cut(_fetched())
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cached.parent, delete=False) as file:
            json.dump(cut, file)
        Path(file.name).replace(cached)  # another worker may do the same
    return json.loads(cached.read_text())


def _fingerprint() -> str:
    return hashlib.sha256(" ".join(sorted(OPERATIONS)).encode()).hexdigest()[:12]


def _cache() -> Path:
    given = os.environ.get("GATE_TEST_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "regression-gate"


def _fetched() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        command = ["npm", "pack", "--silent", PACKAGE]
        try:
            done = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=300, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise RuntimeError(f"GitHub's API description needs npm and a registry: {error}") from error
        with tarfile.open(Path(name) / done.stdout.strip().splitlines()[-1]) as archive:
            member = archive.extractfile(_MEMBER)
            assert member is not None
            return json.load(member)


def _cut(whole: dict[str, Any]) -> dict[str, Any]:
    """The operations and, of the components, what they need. `nullable` becomes a type."""
    paths = {
        path: kept
        for path, methods in whole["paths"].items()
        if (kept := {m: o for m, o in methods.items() if o.get("operationId") in OPERATIONS})
    }
    components: dict[str, dict[str, Any]] = {}
    todo = [paths]
    while todo:
        for reference in _references(todo.pop()):
            _, _, kind, name = reference.split("/", 3)
            if name not in components.setdefault(kind, {}):
                components[kind][name] = whole["components"][kind][name]
                todo.append(components[kind][name])
    return _nullable({"paths": paths, "components": components})


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []


def _nullable(node: Any) -> Any:
    if isinstance(node, list):
        return [_nullable(value) for value in node]
    if not isinstance(node, dict):
        return node
    node = {key: _nullable(value) for key, value in node.items()}
    if node.pop("nullable", None) is True:
        return {"anyOf": [node, {"type": "null"}]}
    return node

"""A double of GitHub's REST API on loopback: real HTTP, state, tokens with permissions, and faults on demand.

Every request is validated against GitHub's own description; what does not fit is answered as GitHub would and
noted in `violations`, which a test asserts to be empty.
"""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any, Final

from tests.gate.github import validation
from tests.gate.github.faults import Fault, Handler

BOT: Final = "github-actions[bot]"
WRITER: Final = {
    "contents": "read",
    "actions": "write",
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
}
READER: Final = dict.fromkeys(WRITER, "read")
_NEEDS: Final = {
    "issues/create-comment": ("issues", "pull_requests"),
    "issues/update-comment": ("issues", "pull_requests"),
    "issues/delete-comment": ("issues", "pull_requests"),
    "reactions/create-for-issue-comment": ("issues", "pull_requests"),
    "pulls/create": ("pull_requests",),
    "checks/create": ("checks",),
    "checks/update": ("checks",),
    "actions/re-run-workflow-failed-jobs": ("actions",),
    "actions/re-run-workflow": ("actions",),
}
"""Operation -> permissions of which one must be `write`; everything else reads."""


@dataclass
class Reply:
    """What the double answers."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Received:
    """What was asked of the double."""

    method: str
    path: str
    operation: str
    body: Any


class Double:
    """The state of one repository, acme/shop, and the server that shows it."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, str]] = {"writer": WRITER, "reader": READER}
        self.pulls: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.events: dict[int, list[dict[str, Any]]] = {}
        self.files: dict[int, list[str]] = {}
        self.permissions: dict[str, str] = {}
        self.jobs: dict[int, list[tuple[str, str | None]]] = {}
        """Name and conclusion of the jobs of a run."""
        self.runs: list[dict[str, Any]] = []
        self.artifacts: dict[int, tuple[int, str, bytes]] = {}
        self.checks: list[dict[str, Any]] = []
        self.reactions: list[tuple[int, str]] = []
        self.reruns: list[int] = []
        self.reruns_of_all: list[int] = []
        self.received: list[Received] = []
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        self.now = "2026-11-20T10:00:00Z"
        self.started = "2026-11-20T09:30:00Z"
        """When the jobs began."""
        self.url = ""
        self.over = threading.Event()
        self.lock = threading.RLock()
        self._number = 1000

    @contextmanager
    def serving(self) -> Iterator["Double"]:
        """Listen on loopback, on a port that the system chooses."""
        validation.description()  # from the registry, at most once
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.double = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            server.shutdown()
            server.server_close()
            thread.join(timeout=5)

    # What a test prepares.

    def add_pull(
        self, number: int, head: str, *, branch: str = "topic", owner: str = "acme", author: str = "kim"
    ) -> None:
        """An open pull request."""
        self.pulls[number] = {
            "number": number,
            "head": head,
            "branch": branch,
            "owner": owner,
            "author": author,
            "base": "main",
        }

    def change_base(self, number: int, base: str, *, at: str) -> None:
        """The pull request is for another branch from now on."""
        self.pulls[number]["base"] = base
        event = {"login": "kim", "label": "", "at": at, "event": "base_ref_changed"}
        self.events.setdefault(number, []).append(event)

    def add_comment(self, pull: int, login: str, body: str, *, at: str = "", edited: str = "") -> int:
        """A comment; of a bot, if its login says so."""
        number = self.number()
        at = at or self.now
        self.comments[number] = {"pull": pull, "login": login, "body": body, "at": at, "edited": edited or at}
        return number

    def add_label(self, pull: int, login: str, name: str, *, at: str = "", event: str = "labeled") -> None:
        """A label was put on, or taken off."""
        entry = {"login": login, "label": name, "at": at or self.now, "event": event}
        self.events.setdefault(pull, []).append(entry)

    def add_run(
        self, number: int, head: str, *, at: str = "2026-11-20T09:00:00Z", path: str = "regression-gate.yml",
        source: str = "acme:topic",
    ) -> None:  # fmt: skip
        """A run of a workflow for a pull request of that owner and branch."""
        run = {"id": number, "head_sha": head, "event": "pull_request", "at": at, "source": source}
        self.runs.append(run | {"path": f".github/workflows/{path}"})

    def add_artifact(self, run: int, files: dict[str, bytes] | bytes, name: str = "regression-gate") -> None:
        """What a run left: files by name, or the bytes of an archive as they are."""
        if isinstance(files, dict):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for member, data in files.items():
                    archive.writestr(member, data)
            files = packed.getvalue()
        self.artifacts[self.number()] = (run, name, files)

    def fail(self, operation: str, kind: str, times: int = 1, **options: Any) -> None:
        """The next requests of an operation (`*`: of any) go wrong in this way."""
        self.faults.append(Fault(operation, kind, times, options))

    def bodies(self, pull: int) -> list[str]:
        """The comments of the gate on a pull request."""
        return [c["body"] for c in self.comments.values() if c["pull"] == pull and c["login"] == BOT]

    def asked(self, operation: str) -> list[Any]:
        """The bodies of all requests of an operation."""
        return [request.body for request in self.received if request.operation == operation]

    def number(self) -> int:
        """A new id."""
        with self.lock:
            self._number += 1
            return self._number

    # What it answers.

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, token: str | None) -> Reply:
        """One request, validated, permitted and done."""
        found = validation.find(method, path)
        if found is None:
            self.violations.append(f"{method} {path}: unknown to GitHub, or to the double")
            return _message(404, "Not Found")
        operation, described, places = found
        self.received.append(Received(method, path, operation, body))
        permissions = self.tokens.get(token or "")
        if permissions is None:
            return _message(401, "Bad credentials")
        needed = _NEEDS.get(operation, ())
        if needed and not any(permissions.get(name) == "write" for name in needed):
            wanted = "; ".join(f"{name}=write" for name in needed)
            headers = {"X-Accepted-GitHub-Permissions": wanted}
            return _message(403, "Resource not accessible by integration", headers)
        mistakes = validation.mistakes_of_request(described, query, body)
        if mistakes:
            self.violations += [f"{method} {path}: {mistake}" for mistake in mistakes]
            return _message(422, "Invalid request.\n\n" + mistakes[0])
        if places[:2] != ("acme", "shop") and operation != "users/get-authenticated":
            return _message(404, "Not Found")
        with self.lock:
            reply = _DO[operation](self, list(places[2:]), query, body)
        if reply.status < 400 and reply.body is not None:
            wrong = validation.mistakes_of_answer(described, reply.status, reply.body)
            self.violations += [f"the double's own answer to {operation}: {mistake}" for mistake in wrong]
        return reply

    def shape(self, operation: str, status: int = 200) -> Any:
        """An answer of GitHub's examples, to be filled in."""
        for _, methods in validation.description()["paths"].items():
            for described in methods.values():
                if described["operationId"] == operation:
                    return deepcopy(validation.example(described, status))
        raise KeyError(operation)


def _message(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply(
        status, {"message": text, "documentation_url": "https://docs.github.com/rest"}, headers or {}
    )


def _paged(double: Double, items: list[Any], query: dict[str, str]) -> tuple[list[Any], bool]:
    size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
    return items[(page - 1) * size : page * size], page * size < len(items)


def _list(double: Double, items: list[Any], query: dict[str, str], key: str = "") -> Reply:
    members, more = _paged(double, items, query)
    headers = {"X-Next-Page": str(int(query.get("page", 1)) + 1)} if more else {}
    return Reply(200, {"total_count": len(items), key: members} if key else members, headers)


def _user(double: Double, login: str) -> dict[str, Any]:
    user = double.shape("pulls/get")["user"]
    return user | {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"}


def _comment(double: Double, number: int) -> dict[str, Any]:
    kept = double.comments[number]
    return double.shape("issues/list-comments")[0] | {
        "id": number, "body": kept["body"], "user": _user(double, kept["login"]), "created_at": kept["at"],
        "updated_at": kept["edited"], "author_association": "OWNER",
        "html_url": f"https://github.com/acme/shop/pull/{kept['pull']}#issuecomment-{number}",
    }  # fmt: skip


def _pull(double: Double, number: int, operation: str) -> dict[str, Any]:
    kept = double.pulls[number]
    shape = double.shape(operation)
    shape = shape[0] if isinstance(shape, list) else shape
    shape["head"] |= {
        "sha": kept["head"],
        "ref": kept["branch"],
        "label": f"{kept['owner']}:{kept['branch']}",
    }
    shape["base"] |= {"ref": kept["base"], "label": f"acme:{kept['base']}"}
    state = {"state": kept.get("state", "open")}
    return shape | state | {"number": number, "user": _user(double, kept["author"]), "requested_teams": []}


def _list_comments(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    found = [n for n, c in sorted(double.comments.items()) if c["pull"] == int(places[0])]
    return _list(double, [_comment(double, n) for n in found], query)


def _create_comment(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    if len(body["body"]) > 65_536:
        return _message(422, "Validation Failed: body is too long (maximum is 65536 characters)")
    if int(places[0]) not in double.pulls:
        return _message(404, "Not Found")
    return Reply(201, _comment(double, double.add_comment(int(places[0]), BOT, body["body"])))


def _update_comment(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    if int(places[0]) not in double.comments:
        return _message(404, "Not Found")
    if len(body["body"]) > 65_536:
        return _message(422, "Validation Failed: body is too long (maximum is 65536 characters)")
    double.comments[int(places[0])] |= {"body": body["body"], "edited": double.now}
    return Reply(200, _comment(double, int(places[0])))


def _delete_comment(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    return Reply(204) if double.comments.pop(int(places[0]), None) else _message(404, "Not Found")


def _react(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    double.reactions.append((int(places[0]), body["content"]))
    return Reply(201, double.shape("reactions/create-for-issue-comment", 201) | {"content": body["content"]})


def _events(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    shape = double.shape("issues/list-events")[0]
    found = [
        shape | {"event": e["event"], "created_at": e["at"], "actor": _user(double, e["login"])}
        | ({"label": {"name": e["label"], "color": "ededed"}} if e["label"] else {})
        for e in double.events.get(int(places[0]), [])
    ]  # fmt: skip
    return _list(double, found, query)


def _pulls(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    found = [
        _pull(double, number, "pulls/list")
        for number, kept in sorted(double.pulls.items())
        if query.get("head", "") in {"", f"{kept['owner']}:{kept['branch']}"}
        and query.get("state", "open") in {"all", kept.get("state", "open")}
    ]
    return _list(double, found, query)


def _create_pull(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    number = double.number()
    double.add_pull(number, "c" * 40, branch=body["head"], author=BOT)
    double.pulls[number] |= {"title": body["title"], "base": body["base"]}
    return Reply(201, _pull(double, number, "pulls/get"))


def _get_pull(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    number = int(places[0])
    return (
        Reply(200, _pull(double, number, "pulls/get"))
        if number in double.pulls
        else _message(404, "Not Found")
    )


def _merged(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    found = [
        _pull(double, number, "pulls/list") | {"merge_commit_sha": kept["merged"], "state": "closed"}
        for number, kept in double.pulls.items()
        if kept.get("merged") == places[0]
    ]
    return _list(double, found, query)


def _files(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    shape = double.shape("pulls/list-files")[0]
    return _list(double, [shape | {"filename": n} for n in double.files.get(int(places[0]), [])], query)


def _permission(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    level = double.permissions.get(places[0])
    if level is None:
        return _message(404, f"{places[0]} is not a user")
    return Reply(200, {"permission": level, "role_name": level, "user": None})


def _runs(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    shape = double.shape("actions/list-workflow-runs-for-repo")["workflow_runs"][0]
    found = [
        shape
        | {"id": r["id"], "head_sha": r["head_sha"], "event": r["event"], "created_at": r["at"]}
        | {"path": r["path"], "status": r.get("status", "completed"), "conclusion": r.get("conclusion")}
        | _source(double, shape, r["source"])
        for r in double.runs
        if query.get("head_sha", r["head_sha"]) == r["head_sha"]
        and query.get("event", r["event"]) == r["event"]
    ]
    return _list(double, found, query, "workflow_runs")


def _source(double: Double, shape: dict[str, Any], source: str) -> dict[str, Any]:
    """Branch and repository of a run's code."""
    owner, _, branch = source.partition(":")
    there = shape["head_repository"] | {"owner": _user(double, owner), "full_name": f"{owner}/shop"}
    return {"head_branch": branch, "head_repository": there}


def _run(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    shape = double.shape("actions/get-workflow-run")
    found = [
        shape | {"id": r["id"], "head_sha": r["head_sha"]} for r in double.runs if r["id"] == int(places[0])
    ]
    return Reply(200, found[0]) if found else _message(404, "Not Found")


def _jobs(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    shape = double.shape("actions/list-jobs-for-workflow-run-attempt")["jobs"][0]
    found = [
        shape
        | {"run_id": int(places[0]), "name": name, "conclusion": conclusion}
        | {"created_at": double.now, "started_at": double.started}
        for name, conclusion in double.jobs.get(int(places[0]), [])
    ]
    return _list(double, found, query, "jobs")


def _artifacts(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    shape = double.shape("actions/list-workflow-run-artifacts")["artifacts"][0]
    found = [
        shape
        | {"id": n, "name": name, "size_in_bytes": len(data), "expired": False, "created_at": double.now}
        for n, (run, name, data) in sorted(double.artifacts.items())
        if run == int(places[0]) and query.get("name", name) == name
    ]
    return _list(double, found, query, "artifacts")


def _download(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    if int(places[0]) not in double.artifacts:
        return _message(410, "Gone")
    # Another host as far as a client can tell, as GitHub's store is one.
    store = double.url.replace("127.0.0.1", "localhost")
    return Reply(302, None, {"Location": f"{store}/_store/{places[0]}?sig=secret"})


def _create_check(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    if len(body.get("output", {}).get("annotations", [])) > 50:
        return _message(422, "Invalid request.\n\nNo more than 50 annotations are allowed.")
    kept = deepcopy(body) | {"id": double.number()}
    double.checks.append(kept)
    return Reply(201, _check(double, kept))


def _update_check(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    kept = next(check for check in double.checks if check["id"] == int(places[0]))
    more = body.get("output", {}).get("annotations", [])
    if len(more) > 50:
        return _message(422, "Invalid request.\n\nNo more than 50 annotations are allowed.")
    kept["output"]["annotations"] += more
    said = {key: value for key, value in body.get("output", {}).items() if key != "annotations"}
    kept["output"] |= said
    kept |= {key: value for key, value in body.items() if key != "output"}
    return Reply(200, _check(double, kept))


def _checks(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    found = [
        _check(double, kept)
        for kept in double.checks
        if kept["head_sha"] == places[0] and kept["name"] == query.get("check_name", kept["name"])
    ]
    if query.get("filter", "latest") == "latest":
        found = list({check["name"]: check for check in found}.values())
    return _list(double, found, query, "check_runs")


def _check(double: Double, kept: dict[str, Any]) -> dict[str, Any]:
    shape = double.shape("checks/list-for-ref")["check_runs"][0]
    said = shape["output"] | {key: kept["output"].get(key) for key in ("title", "summary")}
    return (
        shape
        | {key: kept[key] for key in ("id", "name", "head_sha", "status", "conclusion", "external_id")}
        | {"output": said}
    )


def _rerun(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    double.reruns.append(int(places[0]))
    return Reply(201, {})


def _rerun_all(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    double.reruns_of_all.append(int(places[0]))
    return Reply(201, {})


def _me(double: Double, places: list[str], query: dict[str, str], body: Any) -> Reply:
    return _message(403, "Resource not accessible by integration")


_DO: Final[dict[str, Callable[[Double, list[str], dict[str, str], Any], Reply]]] = {
    "issues/list-comments": _list_comments,
    "issues/create-comment": _create_comment,
    "issues/update-comment": _update_comment,
    "issues/delete-comment": _delete_comment,
    "reactions/create-for-issue-comment": _react,
    "issues/list-events": _events,
    "pulls/list": _pulls,
    "pulls/get": _get_pull,
    "pulls/create": _create_pull,
    "pulls/list-files": _files,
    "repos/get-collaborator-permission-level": _permission,
    "repos/list-pull-requests-associated-with-commit": _merged,
    "actions/list-workflow-runs-for-repo": _runs,
    "actions/list-workflow-run-artifacts": _artifacts,
    "actions/download-artifact": _download,
    "actions/re-run-workflow-failed-jobs": _rerun,
    "actions/re-run-workflow": _rerun_all,
    "actions/get-workflow-run": _run,
    "actions/list-jobs-for-workflow-run-attempt": _jobs,
    "checks/create": _create_check,
    "checks/update": _update_check,
    "checks/list-for-ref": _checks,
    "users/get-authenticated": _me,
}

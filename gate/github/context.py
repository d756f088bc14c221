"""Where a workflow runs: repository, event, token, as GitHub's environment variables say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from gate.github.nouns import WorkflowRun

DEFAULT_API: Final = "https://api.github.com"
ACTIONS: Final = "github-actions[bot]"
_QUEUED: Final = re.compile(r"(?:refs/heads/)?gh-readonly-queue/.+/pr-(\d+)-[0-9a-f]{40}")


class ContextError(Exception):
    """The environment does not say what is needed; the message says what is missing."""


@dataclass(frozen=True)
class Context:
    """One job of a workflow, or a person with a token."""

    repository: str
    """OWNER/NAME."""
    token: str = field(default="", repr=False)
    api: str = DEFAULT_API
    server: str = "https://github.com"
    event: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    run_id: int = 0
    attempt: int = 1
    workflow: str = ""
    """Path of the workflow's file; empty: unknown."""
    commit: str = ""
    """What GitHub checks out for the event."""
    login: str = ACTIONS
    """Whose token it is, where the token may not ask itself."""

    def url_of(self, run: int) -> str:
        """The page of a workflow run; empty for none."""
        return f"{self.server}/{self.repository}/actions/runs/{run}" if run else ""

    @property
    def pull(self) -> int:
        """The number of the pull request that the event is about; 0 if it is about none.

        Of a merge queue's event that of the last pull request in the group.
        """
        found = self._section("pull_request").get("number") or self._section("issue").get("number")
        if isinstance(found, int):
            return found
        return queued_pull(str(self._section("merge_group").get("head_ref", "")))

    @property
    def head(self) -> str:
        """The head commit of the pull request when the event took place; empty if it does not say."""
        return self._side("head", "sha")

    @property
    def base(self) -> str:
        """The commit that the event compares with: the base, or what a branch was before; empty for none."""
        told = self._section("merge_group").get("base_sha") or self.payload.get("before")
        return self._side("base", "sha") or (told if isinstance(told, str) else "")

    @property
    def base_branch(self) -> str:
        """The branch that the pull request was for when the event took place; empty if it does not say."""
        return self._side("base", "ref")

    @property
    def default_branch(self) -> str:
        """The repository's; empty if the event does not say."""
        found = self._section("repository").get("default_branch")
        return found if isinstance(found, str) else ""

    def workflow_run(self, command: str) -> WorkflowRun:
        """The run that has ended, of an event `workflow_run`.

        Raises:
            ContextError: the event is another one, on which the command does not work.
        """
        try:
            return msgspec.convert(self._section("workflow_run"), WorkflowRun)
        except msgspec.ValidationError:
            said = f"{command} works only on the event workflow_run (it is for on: workflow_run)"
            raise ContextError(said) from None

    def _side(self, name: str, key: str) -> str:
        """What the event says of one side of the pull request; empty if nothing."""
        side = self._section("pull_request").get(name)
        found = cast(Mapping[str, Any], side).get(key) if isinstance(side, dict) else None
        return found if isinstance(found, str) else ""

    def _section(self, name: str) -> Mapping[str, Any]:
        found = self.payload.get(name)
        return cast(Mapping[str, Any], found) if isinstance(found, dict) else {}


def queued_pull(branch: str) -> int:
    """The last pull request of a merge queue's branch; 0 if it is no such branch."""
    queued = _QUEUED.fullmatch(branch)
    return int(queued[1]) if queued else 0


def context_from(environment: Mapping[str, str]) -> Context:
    """Read the context from environment variables.

    Raises:
        ContextError: no repository is named, or a variable is damaged.
    """
    repository = environment.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ContextError("GITHUB_REPOSITORY does not name a repository; set it to OWNER/NAME")
    api = environment.get("GITHUB_API_URL", "").rstrip("/") or DEFAULT_API
    if urlsplit(api).scheme not in {"http", "https"} or not urlsplit(api).hostname:
        raise ContextError(f"GITHUB_API_URL {api!r} is no web address")
    return Context(
        repository=repository,
        token=environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN") or "",
        api=api,
        server=environment.get("GITHUB_SERVER_URL", "").rstrip("/") or "https://github.com",
        event=environment.get("GITHUB_EVENT_NAME", ""),
        payload=_payload(environment.get("GITHUB_EVENT_PATH", "")),
        run_id=_number(environment, "GITHUB_RUN_ID", 0),
        attempt=_number(environment, "GITHUB_RUN_ATTEMPT", 1),
        workflow=environment.get("GITHUB_WORKFLOW_REF", "").partition("@")[0].removeprefix(f"{repository}/"),
        commit=environment.get("GITHUB_SHA", ""),
        login=environment.get("GATE_LOGIN") or ACTIONS,
    )


def _payload(path: str) -> Mapping[str, Any]:
    if not path:
        return {}
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ContextError(f"GITHUB_EVENT_PATH cannot be read: {error}") from None


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else default

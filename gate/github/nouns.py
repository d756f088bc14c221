"""What GitHub answers, as far as the gate reads it. Unknown fields are ignored, wrong types refused."""

import msgspec


class User(msgspec.Struct, frozen=True):
    """An account."""

    login: str
    type: str = "User"


class Comment(msgspec.Struct, frozen=True):
    """A comment on a pull request."""

    id: int
    created_at: str
    updated_at: str
    body: str = ""
    user: User | None = None
    html_url: str = ""


class Branch(msgspec.Struct, frozen=True):
    """One side of a pull request."""

    sha: str
    ref: str = ""
    label: str = ""
    """`owner:ref`."""


class Pull(msgspec.Struct, frozen=True):
    """A pull request."""

    number: int
    head: Branch
    base: Branch
    user: User | None = None
    merge_commit_sha: str | None = None
    state: str = "open"


class Label(msgspec.Struct, frozen=True):
    """A label."""

    name: str


class IssueEvent(msgspec.Struct, frozen=True):
    """Something that happened to a pull request."""

    event: str
    created_at: str
    actor: User | None = None
    label: Label | None = None


class Permission(msgspec.Struct, frozen=True):
    """What somebody may do in the repository: admin, write, read or none."""

    permission: str


class Repository(msgspec.Struct, frozen=True):
    """Where a run's code came from."""

    owner: User
    full_name: str = ""


class WorkflowRun(msgspec.Struct, frozen=True):
    """A run of a workflow."""

    id: int
    head_sha: str
    event: str
    created_at: str
    head_branch: str | None = None
    conclusion: str | None = None
    path: str = ""
    """Of the workflow's file."""
    status: str = ""
    """queued, in_progress, completed, and others."""
    run_attempt: int = 1
    head_repository: Repository | None = None
    """None: it was deleted."""

    @property
    def source(self) -> str:
        """Owner and branch of its code, as a pull request's label says them; empty: it is not known."""
        there = self.head_repository and self.head_branch
        return (
            f"{self.head_repository.owner.login}:{self.head_branch}" if there and self.head_repository else ""
        )

    def is_of(self, workflow: str) -> bool:
        """Whether it is a run of a workflow, by the path or the name of its file."""
        path = self.path.partition("@")[0]
        return path in {workflow, f".github/workflows/{workflow}"}


class Job(msgspec.Struct, frozen=True):
    """A job of a run."""

    name: str
    """Names of the jobs that called it, its own, and the values of its matrix."""
    conclusion: str | None = None
    started_at: str = ""


class Artifact(msgspec.Struct, frozen=True):
    """A file that a run left."""

    id: int
    name: str
    size_in_bytes: int
    expired: bool = False
    created_at: str | None = None


class CheckOutput(msgspec.Struct, frozen=True):
    """What a check says."""

    title: str | None = None
    summary: str | None = None


class CheckRun(msgspec.Struct, frozen=True):
    """A check of a commit."""

    id: int
    external_id: str | None = None
    conclusion: str | None = None
    output: CheckOutput = CheckOutput()


class ChangedFile(msgspec.Struct, frozen=True):
    """A file that a pull request changes."""

    filename: str
    previous_filename: str = ""

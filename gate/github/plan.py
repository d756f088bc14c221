"""With which commit a run of a workflow compares, as its event says."""

from pathlib import Path
from typing import Final

from gate.git import GitError, is_shallow, precedes_any, resolve
from gate.github.context import Context

_HERE: Final = "HEAD"
"""Judged by what was accepted: schedules, the first push of a branch, a branch whose history was replaced."""


def base_of(context: Context, root: Path, given: str = "") -> str:
    """The base: a commit, or the text of a ref that is not known here.

    Args:
        context: the event.
        root: a directory of the repository.
        given: what somebody asked for; empty: as the event says.
    """
    ref = given or _of_event(context, root)
    try:
        return resolve(root, ref)
    except GitError:
        return ref


def _of_event(context: Context, root: Path) -> str:
    match context.event:
        case "pull_request":
            # GitHub's own merge commit may rest on a younger tip than the event says. An author's is no base.
            merged = _known(root, _HERE) == context.commit and _known(root, "HEAD^2")
            return _known(root, "HEAD^1") if merged else context.base
        case "merge_group":
            return context.base
        case "push":
            # A forced push took it away, unless it lies beyond the end of a shallow clone.
            before = context.base
            stays = precedes_any(root, before, [_HERE]) or (is_shallow(root) and not _known(root, before))
            return before if before.strip("0") and stays else _HERE
        case "workflow_dispatch":
            default = f"origin/{context.default_branch}"
            return default if _known(root, default) else _HERE
        case _:
            return _HERE


def _known(root: Path, ref: str) -> str:
    """The commit that a ref names; empty: it names none."""
    try:
        return resolve(root, ref)
    except GitError:
        return ""

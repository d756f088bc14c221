"""What git says of the difference between both sides: names and contents of files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.files import read_if_plain
from gate.git import tracked_files
from gate.sides.impact import changed_functions


@dataclass(frozen=True)
class Change:
    """The files that differ between two trees."""

    names: tuple[str, ...]
    """Relative to the top, untracked ones included."""
    before: Path
    """The base's tree."""
    after: Path
    """The head's tree."""

    def both(self, wanted: Callable[[str], bool]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The contents of some files on both sides, whether they differ or not.

        Raises:
            GitError: a tree cannot be read.
        """
        there, here = (
            {name: text for name in filter(wanted, names) if (text := read_if_plain(tree / name)) is not None}
            for tree, names in (
                (self.before, tracked_files(self.before)),
                (self.after, {*tracked_files(self.after), *self.names}),
            )
        )
        return there, here

    def edited(
        self, wanted: Callable[[str], bool]
    ) -> tuple[dict[str, bytes | None], dict[str, bytes | None]]:
        """The contents of the files that differ on both sides; None: not there."""
        names = list(filter(wanted, self.names))
        there, here = (
            {name: read_if_plain(tree / name) for name in names} for tree in (self.before, self.after)
        )
        return there, here

    def same_code(self, name: str) -> bool:
        """Whether a Python file differs in comments, layout and docstrings alone."""
        before, after = read_if_plain(self.before / name), read_if_plain(self.after / name)
        if not name.endswith(".py") or before is None or after is None:
            return False
        return not changed_functions([name], lambda _: before, lambda _: after)


def running_workflow(environment: Mapping[str, str]) -> str:
    """The file of the workflow that runs, from the top of the repository; empty: none, or of another one."""
    ref = environment.get("GITHUB_WORKFLOW_REF", "")
    repository = environment.get("GITHUB_REPOSITORY", "")
    return ref.partition("@")[0].removeprefix(f"{repository}/") if repository and ref else ""

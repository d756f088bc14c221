"""Makes what git ignores in the trees that were checked out, as the policy says how."""

from collections.abc import Callable, Iterable
from typing import Final

from gate.processes import run_to_end
from gate.sides.side import LaunchError, Side

_SECONDS: Final = 600.0
_LINES: Final = 10


def prepare(sides: Iterable[Side], command: str, listen: Callable[[str], None] = lambda _: None) -> None:
    """Run a command in the tree of each side that is not the work tree.

    Args:
        sides: where.
        command: as `prepare:` of a suite says; for the shell.
        listen: called with a line before it runs.

    Raises:
        LaunchError: it fails, or takes more than ten minutes.
    """
    for side in sides:
        if side.tree == side.top:
            continue
        listen(f"confirm: preparing the {side.name}: {command}")
        code, said = run_to_end(side.moved(command), cwd=side.root, env=side.environment(0), seconds=_SECONDS)
        if code != 0:
            how = f"takes longer than {_SECONDS:.0f} s" if code is None else f"ends with exit code {code}"
            tail = "\n".join(said[-_LINES:])
            raise LaunchError(
                side.name, f"prepare: of the suite, run in the {side.name}'s tree, {how}:\n{tail}"
            )

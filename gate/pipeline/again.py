"""What a check has measured, kept so that `--again` can go on from it."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gate.evidence import Confirmation
from gate.git import changed_files, top_level
from gate.pipeline.check import Case

_WITHOUT: Final = "run the same command without --again"


class _Kept(msgspec.Struct, frozen=True):
    """The content of the file."""

    of: str
    """What was judged, by `identity`."""
    outputs: tuple[str, ...]
    """Files that the command has written."""
    shown: Confirmation


class AgainError(Exception):
    """There is nothing to go on from."""


def keep(file: Path, case: Case, of: str, shown: Confirmation, outputs: Sequence[Path]) -> None:
    """Keep what a check has measured, if it came to its end and the code was the same all the time.

    Raises:
        OSError: the file cannot be written.
    """
    if shown.interrupted or identity(case, outputs) != of:
        return
    if not file.parent.is_dir():
        file.parent.mkdir()
        (file.parent / ".gitignore").write_text("*\n", encoding="ascii")
    names = tuple(map(os.path.realpath, outputs))
    file.write_bytes(msgspec.json.encode(_Kept(of, names, shown)))


def kept(file: Path, case: Case, outputs: Sequence[Path]) -> tuple[Confirmation, list[Path]]:
    """What the last check has measured, if it was about the same reports, base and code.

    And the files that it has written, which are no code.

    Args:
        file: where it was kept.
        case: what is to be judged now.
        outputs: files that this command will write.

    Raises:
        AgainError: there is none, or it was about something else.
    """
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Kept)
    except OSError:
        raise AgainError(f"there is no finished comparison to go on from; {_WITHOUT}") from None
    except msgspec.DecodeError as error:
        raise AgainError(f"{file}: {error}; {_WITHOUT}") from None
    written = list(map(Path, found.outputs))
    if found.of != identity(case, [*written, *outputs]):
        raise AgainError(f"reports, base or code are no longer those of the last check; {_WITHOUT}")
    return found.shown, written


def identity(case: Case, outputs: Sequence[Path]) -> str:
    """What tells one case from another: a hash over the reports, the base and all that differs from it.

    Args:
        case: the case.
        outputs: files that are written by commands of the gate and are no code.
    """
    top = top_level(case.request.root)
    said = hashlib.sha256(repr((sorted(case.inputs.reports.items()), case.sources.beside)).encode())
    written = {os.path.realpath(output) for output in outputs}
    for file in (top / name for name in changed_files(top, case.sources.beside)):
        if os.path.realpath(file) not in written:
            said.update(os.fsencode(file) + b"\0")
            said.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return said.hexdigest()

"""The artifact of a run that executed foreign code: hostile data, read in memory, never unpacked."""

import io
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from gate.github.client import GitHub
from gate.github.errors import GitHubError
from gate.github.names import artifact_of
from gate.github.nouns import Artifact
from gate.verdict import Verdict, read_verdict

VERDICT: Final = "verdict.json"
_MOST_PACKED: Final = 50 * 2**20
_MOST_REPORTED: Final = 500 * 2**20
_MOST_BYTES: Final = 64 * 2**20
_MOSTVERDICTS: Final = 10_000
_ENTRY: Final = b"PK\x01\x02"
"""Begins each entry of an archive's directory."""


class HostileError(Exception):
    """The artifact is not what the gate writes; the message says why."""


def fetch_verdict(github: GitHub, run: int, gate: str) -> tuple[Verdict, str]:
    """The verdict that a gate left in a run, and when it did, if GitHub says so.

    Raises:
        HostileError: it left none, or something else.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    name = artifact_of(gate)
    newest = left_by(github, run, name=name).get(name)
    if newest is None:
        called = f"does the gate's job run, and is its input gate {gate!r}?"
        raise HostileError(f"run {run} left no verdict of gate {gate!r} (artifact {name!r}); {called}")
    packed = fetch(github, newest, _MOST_PACKED)
    try:
        return read_verdict(unpacked(packed)), newest.created_at or ""
    except ValueError as error:
        raise HostileError(f"{VERDICT}: {error}") from None


def left_by(github: GitHub, run: int, **only: str) -> dict[str, Artifact]:
    """The artifacts of a run by name; of several with one name the newest.

    Args:
        github: the connection.
        run: which run.
        only: what GitHub shall choose them by.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    found = github.pages(f"/actions/runs/{run}/artifacts", Artifact, "artifacts", **only)
    kept = (artifact for artifact in found if not artifact.expired)
    return {artifact.name: artifact for artifact in sorted(kept, key=lambda artifact: artifact.id)}


def fetch(github: GitHub, artifact: Artifact, most: int) -> bytes:
    """The bytes of an artifact, so many at most.

    Raises:
        HostileError: it has more.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    if artifact.size_in_bytes > most:
        raise HostileError(f"the artifact has {artifact.size_in_bytes:,} bytes, more than {most:,}")
    try:
        return github.download(f"/actions/artifacts/{artifact.id}/zip", most)
    except GitHubError as error:
        raise GitHubError(f"the artifact cannot be fetched: {error}") from None


def fetch_files(github: GitHub, artifact: Artifact, directory: Path) -> None:
    """Unpack an artifact into a directory.

    Raises:
        HostileError: it cannot be unpacked, holds what is no plain file in it, or is too large.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    packed, left = fetch(github, artifact, _MOST_REPORTED), 10 * _MOST_REPORTED
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            for member in archive.infolist():
                parts = PurePosixPath(member.filename).parts
                if member.is_dir():
                    continue
                if ".." in parts or parts[0] == "/" or not _is_plain(member):
                    raise HostileError(f"it holds {member.filename!r}, which is no plain file in it")
                left -= member.file_size
                if left < 0:
                    raise HostileError(f"it grows beyond {10 * _MOST_REPORTED:,} bytes")
                target = directory.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        raise HostileError(f"it cannot be unpacked: {error}") from None


def unpacked(packed: bytes) -> bytes:
    """One file of a ZIP archive by its exact name; what its directory says of sizes is not believed.

    Raises:
        HostileError: it is not there, or is no plain file, or grows beyond bounds.
    """
    if (members := packed.count(_ENTRY)) > _MOSTVERDICTS:  # before each of them becomes an object
        raise HostileError(f"the artifact holds {members:,} files, more than {_MOSTVERDICTS:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            chosen = [member for member in archive.infolist() if member.filename == VERDICT]
            if len(chosen) != 1:
                raise HostileError(f"the artifact holds {len(chosen) or 'no'} {VERDICT}")
            if chosen[0].compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise HostileError(f"{VERDICT} is compressed by a method that is not supported")
            if not _is_plain(chosen[0]):
                raise HostileError(f"{VERDICT} is no plain file")
            with archive.open(chosen[0]) as file:
                data = file.read(_MOST_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        raise HostileError(f"the artifact cannot be unpacked: {error}") from None
    if len(data) > _MOST_BYTES:
        raise HostileError(f"{VERDICT} is over {_MOST_BYTES:,} bytes")
    return data


def _is_plain(member: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file, and no link."""
    return (member.external_attr >> 16) & 0o170000 in {0, 0o100000}

"""The artifact of a run that executed foreign code: hostile data, read in memory, never unpacked."""

import io
import zipfile
import zlib
from typing import Final

from gate.github.client import GitHub
from gate.github.errors import GitHubError
from gate.github.names import artifact_of
from gate.github.nouns import Artifact
from gate.verdict import Verdict, read_verdict

_MEMBER: Final = "verdict.json"
_MOST_PACKED: Final = 50 * 2**20
_MOST_BYTES: Final = 64 * 2**20
_MOST_MEMBERS: Final = 10_000
_ENTRY: Final = b"PK\x01\x02"
"""Begins each entry of an archive's directory."""


class HostileError(Exception):
    """The artifact is not what the gate writes; the message says why."""


def fetch_verdict(github: GitHub, run: int, gate: str) -> Verdict:
    """The verdict that a gate left in a run.

    Raises:
        HostileError: it left none, or something else.
        GitHubError: GitHub refused, or could not be reached in time.
    """
    name = artifact_of(gate)
    found = [
        artifact
        for artifact in github.pages(f"/actions/runs/{run}/artifacts", Artifact, "artifacts")
        if artifact.name == name and not artifact.expired
    ]
    if not found:
        raise HostileError(f"the run left no artifact {name!r}")
    newest = max(found, key=lambda artifact: artifact.id)
    if newest.size_in_bytes > _MOST_PACKED:
        raise HostileError(f"the artifact has {newest.size_in_bytes:,} bytes, more than {_MOST_PACKED:,}")
    try:
        packed = github.download(f"/actions/artifacts/{newest.id}/zip", _MOST_PACKED)
    except GitHubError as error:
        raise GitHubError(f"the artifact cannot be fetched: {error}") from None
    try:
        return read_verdict(unpacked(packed))
    except ValueError as error:
        raise HostileError(f"{_MEMBER}: {error}") from None


def unpacked(packed: bytes) -> bytes:
    """One file of a ZIP archive by its exact name; what its directory says of sizes is not believed.

    Raises:
        HostileError: it is not there, or is no plain file, or grows beyond bounds.
    """
    if (members := packed.count(_ENTRY)) > _MOST_MEMBERS:  # before each of them becomes an object
        raise HostileError(f"the artifact holds {members:,} files, more than {_MOST_MEMBERS:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            chosen = [member for member in archive.infolist() if member.filename == _MEMBER]
            if len(chosen) != 1:
                raise HostileError(f"the artifact holds {len(chosen) or 'no'} {_MEMBER}")
            if chosen[0].compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise HostileError(f"{_MEMBER} is packed in a way that cannot be bounded")
            mode = chosen[0].external_attr >> 16
            if mode & 0o170000 not in {0, 0o100000}:
                raise HostileError(f"{_MEMBER} is no plain file")
            with archive.open(chosen[0]) as file:
                data = file.read(_MOST_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        raise HostileError(f"the artifact cannot be unpacked: {error}") from None
    if len(data) > _MOST_BYTES:
        raise HostileError(f"{_MEMBER} is over {_MOST_BYTES:,} bytes")
    return data

"""The files of the baseline: one per environment and suite; reading, salvaging, writing whole or not at all.

A file is JSON lines, sorted, so that a diff shows what changed and a merge rarely conflicts:
a header, one line per metric, one per test, the pinned reference, one line per accepted run.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from gate.baseline import AcceptedRun, Baseline, KnownMetric, KnownTest, Pin, SuiteBaseline
from pytest_regression_gate.metrics import Environment

SCHEMA: Final = "gate.baseline/2"
READABLE: Final = frozenset({"gate.baseline/1", SCHEMA})
"""The first format had no pins."""


class Header(msgspec.Struct, frozen=True, tag_field="kind", tag="baseline"):
    """First line of a file: what it is about."""

    schema: str
    suite: str
    environment: Environment


Line = Header | KnownMetric | KnownTest | Pin | AcceptedRun


class BaselineError(Exception):
    """A baseline cannot be read. The message names the place, `remedy` what to do."""

    def __init__(self, place: str, message: str, remedy: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message
        self.remedy = remedy


def read_baseline(directory: Path) -> Baseline:
    """Read all files of a baseline directory; a directory that does not exist holds no runs.

    Raises:
        BaselineError: a file is damaged or of a newer format.
    """
    if not directory.exists():
        return Baseline()
    if not directory.is_dir():
        raise BaselineError(str(directory), "is a file, not a directory of accepted runs", _RESTORE)
    try:
        files = {str(path): path.read_bytes() for path in sorted(directory.rglob("*.jsonl"))}
    except OSError as error:
        raise BaselineError(
            str(directory), f"cannot be read: {error.strerror}", "check its permissions"
        ) from None
    return parse_baseline(files)


def parse_baseline(files: Mapping[str, bytes]) -> Baseline:
    """Read the contents of baseline files, by path.

    Raises:
        BaselineError: a file is damaged or of a newer format.
    """
    return Baseline(tuple(_parse_file(path, data) for path, data in sorted(files.items())))


_RESTORE: Final = "restore the file from git, or keep what can be read: gate baseline repair"
_LARGE_FILE: Final = b"version https://git-lfs.github.com/spec/"
CONFLICT: Final = (b"<<<<<<< ", b"=======", b">>>>>>> ", b"||||||| ")
"""How git marks what it could not merge."""


class _AnyHeader(msgspec.Struct):
    schema: str = SCHEMA


def _check_schema(path: str, first: bytes) -> None:
    """Refuse another format before its lines look damaged."""
    try:
        schema = msgspec.json.decode(first, type=_AnyHeader).schema
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # a damaged first line is reported with its number
    if schema not in READABLE:
        raise BaselineError(
            f"{path}:1", f"schema {schema} is not known here", f"use a gate that reads {schema}"
        )


def _parse_file(path: str, data: bytes) -> SuiteBaseline:
    decoder = msgspec.json.Decoder(Line)
    lines: list[Line] = []
    texts = data.splitlines()
    if data.startswith(_LARGE_FILE):
        raise BaselineError(f"{path}:1", "is a pointer of Git LFS, not the file", "fetch it: git lfs pull")
    _check_schema(path, texts[0] if texts else b"")
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(decoder.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if text.startswith(CONFLICT):
                said, remedy = "git could not merge it", "accepted runs merge by union: gate baseline repair"
                raise BaselineError(f"{path}:{number}", said, remedy) from None
            raise BaselineError(f"{path}:{number}", f"damaged line: {error}", _RESTORE) from None
    return _assembled(path, lines)


def salvaged(path: str, data: bytes) -> tuple[SuiteBaseline, list[tuple[int, bytes]]]:
    """What of a file can be read; of a conflict both sides.

    Returns:
        The suite, and the lines that are damaged, with their numbers. Marks of a conflict are not among them.

    Raises:
        BaselineError: nothing can be made of it: its header is lost, or it is of another format.
    """
    decoder = msgspec.json.Decoder(Line)
    texts = data.splitlines()
    _check_schema(path, next((text for text in texts if not text.startswith(CONFLICT)), b""))
    lines: list[Line] = []
    damaged: list[tuple[int, bytes]] = []
    for number, text in enumerate(texts, start=1):
        if text.startswith(CONFLICT):
            continue
        try:
            lines.append(decoder.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError):
            damaged.append((number, text))
    lines.sort(key=lambda line: not isinstance(line, Header))
    return _assembled(path, lines), damaged


def _assembled(path: str, lines: Sequence[Line]) -> SuiteBaseline:
    header = lines[0] if lines else None
    if not isinstance(header, Header):
        raise BaselineError(f"{path}:1", "the file does not begin with a baseline header", _RESTORE)
    where = PurePosixPath(path)
    if (where.parent.name, where.stem) != (header.environment.id, header.suite):
        expected = f"{header.environment.id}/{header.suite}.jsonl"
        raise BaselineError(
            f"{path}:1", f"the header belongs to {expected}", "move the file there, or restore it from git"
        )
    runs = {line.key: line for line in lines if isinstance(line, AcceptedRun)}
    return SuiteBaseline(
        suite=header.suite,
        environment=header.environment,
        metrics={line.name: line for line in lines if isinstance(line, KnownMetric)},
        tests={line.nodeid: line for line in lines if isinstance(line, KnownTest)},
        runs=tuple(runs[key] for key in sorted(runs)),
        pins=tuple(line for line in lines if isinstance(line, Pin)),
    )


def to_lines(known: SuiteBaseline) -> bytes:
    """The file of one suite and environment."""
    lines: Iterable[Line] = (
        Header(SCHEMA, known.suite, known.environment),
        *(known.metrics[name] for name in sorted(known.metrics)),
        *(known.tests[nodeid] for nodeid in sorted(known.tests)),
        *known.pins,
        *known.runs,
    )
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(line) + b"\n" for line in lines)


def write_suite(directory: Path, known: SuiteBaseline) -> Path:
    """Write one suite's file, whole or not at all, and return its path."""
    path = directory / known.environment.id / f"{known.suite}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{known.suite}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(to_lines(known))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path

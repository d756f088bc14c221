"""The files of the baseline: one per environment and suite; reading, salvaging, writing whole or not at all.

A file is JSON lines: a header, the tests that measure the metrics, the tests, references, removals, and one
line per accepted run. No line depends on another's place, so whatever way git merges two files, the result is
the union of their lines. Files of earlier formats are read, and written in the present one.
"""

import fcntl
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Literal, get_args

import msgspec

from gate.baseline import Permission, Pin
from gate.baseline.records import (
    FLAKY,
    Kind,
    Memory,
    Record,
    Removal,
    SuiteRecords,
    each_once,
    ids_in,
    in_order,
    short_id,
    uses_id,
)
from gate.files import read_plain
from gate.model import Outcome, one_line
from gate.units import Bounded
from pytest_regression_gate.metrics import Better, Environment

SCHEMA: Final = "gate.baseline/3"
READABLE: Final = frozenset({"gate.baseline/1", "gate.baseline/2", SCHEMA})
"""In the earlier ones only the youngest run told of tests, and the first had no pins."""


class Header(msgspec.Struct, frozen=True, tag_field="kind", tag="baseline"):
    """First line of a file: what it is about."""

    schema: str
    suite: str
    environment: Environment


class MetricLine(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="metric"):
    """Which test measures a metric."""

    name: str
    nodeid: str
    unit: str = ""
    """This and what follows: of earlier formats, in which every run measured the same."""
    better: Better = "lower"
    exact: bool = False


class NodeidLine(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="test"):
    """A test that records name by its id."""

    nodeid: str
    outcome: Outcome | Literal[""] = ""
    """This and what follows: of earlier formats, of the youngest run."""
    signature: str = ""
    since: str = ""


class EarlierRun(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="run"):
    """An accepted run as earlier formats have it."""

    commit: str
    created: str
    values: dict[str, Bounded]
    source: str = ""
    waived: tuple[str, ...] = ()
    improved: tuple[str, ...] = ()


class UsesLine(msgspec.Struct, frozen=True, tag_field="kind", tag="uses"):
    """What runs ran with beside the code; records name it by a hash."""

    versions: dict[str, str]


Line = Header | MetricLine | NodeidLine | UsesLine | Pin | Removal | Record | EarlierRun


class BaselineError(Exception):
    """A baseline cannot be read. The message names the place, `remedy` what to do."""

    def __init__(self, place: str, message: str, remedy: str) -> None:
        super().__init__(one_line(f"{place}: {message}"))
        self.place = place
        self.message = one_line(message)
        self.remedy = remedy


def read_baseline(directory: Path) -> Memory:
    """Read all files of a baseline directory; a directory that does not exist holds no runs.

    Raises:
        BaselineError: a file is damaged or of a newer format.
    """
    if not directory.exists():
        return Memory()
    if not directory.is_dir():
        raise BaselineError(str(directory), "is a file, not a directory of accepted runs", _NAME)
    try:
        files = {str(path): read_plain(path) for path in sorted(directory.rglob("*.jsonl"))}
    except OSError as error:
        raise BaselineError(
            str(directory), f"cannot be read: {error.strerror}", "check its permissions"
        ) from None
    return parse_baseline(files)


def parse_baseline(files: Mapping[str, bytes]) -> Memory:
    """Read the contents of baseline files, by path.

    Raises:
        BaselineError: a file is damaged or of a newer format.
    """
    return Memory(tuple(_parse_file(path, data) for path, data in sorted(files.items())))


_NAME: Final = "name a directory: baseline in thresholds.yaml, or --baseline DIR"
_FROM_GIT: Final = "restore the file from git"
_RESTORE: Final = "restore the file from git, or keep what can be read: gate baseline repair"
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises; the last one where something is nested too deeply."""
_LARGE_FILE: Final = b"version https://git-lfs.github.com/spec/"
CONFLICT: Final = (b"<<<<<<< ", b"=======", b">>>>>>> ", b"||||||| ")
"""How git marks what it could not merge."""


def is_baseline_file(path: Path) -> bool:
    """Whether a file holds accepted runs."""
    try:
        with path.open("rb") as file:
            return path.suffix == ".jsonl" and file.readline().startswith(b'{"kind":"baseline"')
    except OSError:
        return False


class _AnyHeader(msgspec.Struct):
    schema: str = SCHEMA


def _check_pointer(path: str, data: bytes) -> None:
    if data.startswith(_LARGE_FILE):
        raise BaselineError(f"{path}:1", "a pointer of Git LFS, not the file", "fetch it: git lfs pull")


def _check_schema(path: str, first: bytes) -> None:
    """Refuse another format before its lines look damaged."""
    try:
        schema = msgspec.json.decode(first, type=_AnyHeader).schema
    except _NOT_JSON:
        return  # a damaged first line is reported with its number
    if schema not in READABLE:
        raise BaselineError(f"{path}:1", f"this gate cannot read schema {schema}", "upgrade the gate")


def _parse_file(path: str, data: bytes) -> SuiteRecords:
    decoder = msgspec.json.Decoder(Line)
    lines: list[Line] = []
    texts = data.splitlines()
    _check_pointer(path, data)
    _check_schema(path, texts[0] if texts else b"")
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(decoder.decode(text))
        except _NOT_JSON as error:
            if text.startswith(CONFLICT):
                said, remedy = "merge conflict", "keep both sides: gate baseline repair"
                raise BaselineError(f"{path}:{number}", said, remedy) from None
            raise BaselineError(f"{path}:{number}", f"damaged line: {error}", _RESTORE) from None
    return _assembled(path, lines)


def salvaged(path: str, data: bytes) -> tuple[SuiteRecords, list[tuple[int, bytes]]]:
    """What of a file can be read; of a conflict both sides.

    Returns:
        The suite, and the lines that are damaged, with their numbers. Marks of a conflict are not among them.

    Raises:
        BaselineError: nothing can be made of it: its header is lost, or it is of another format.
    """
    _check_pointer(path, data)
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
        except _NOT_JSON:
            damaged.append((number, text))
    lines.sort(key=lambda line: not isinstance(line, Header))
    if not lines or not isinstance(lines[0], Header):
        raise BaselineError(
            f"{path}:1", "no baseline header, so the file cannot be repaired", "restore it from git"
        )
    return _assembled(path, lines), damaged


def _assembled(path: str, lines: Sequence[Line]) -> SuiteRecords:
    header = lines[0] if lines else None
    if not isinstance(header, Header):
        raise BaselineError(f"{path}:1", "the file does not begin with a baseline header", _RESTORE)
    where = PurePosixPath(path)
    if (where.parent.name, where.stem) != (header.environment.id, header.suite):
        expected = f"{header.environment.id}/{header.suite}.jsonl"
        raise BaselineError(
            f"{path}:1", f"this file belongs at {expected}", "move it there, or restore it from git"
        )
    metrics = sorted({line for line in lines if isinstance(line, MetricLine)}, key=_told)
    tests = [line for line in lines if isinstance(line, NodeidLine)]
    earlier = [line for line in lines if isinstance(line, EarlierRun)]
    kinds = {m.name: str(Kind(m.unit, m.better, m.exact)) for m in metrics if m.unit or earlier}
    pins = [
        line if line.groups else msgspec.structs.replace(line, values={}, groups=_grouped(line.values, kinds))
        for line in lines
        if isinstance(line, Pin)
    ]
    records = [line for line in lines if isinstance(line, Record)]
    _check_names(path, records, {line.name for line in metrics}, {line.nodeid for line in tests})
    return SuiteRecords(
        suite=header.suite,
        environment=header.environment,
        records=in_order((*records, *_converted(earlier, kinds, tests))),
        owners=frozenset((line.name, line.nodeid) for line in metrics),
        nodeids=frozenset(line.nodeid for line in tests),
        pins=each_once(pins),
        removals=each_once(line for line in lines if isinstance(line, Removal)),
        uses={uses_id(line.versions): line.versions for line in lines if isinstance(line, UsesLine)},
    )


def _told(line: MetricLine) -> tuple[object, ...]:
    """Sorts lines about one metric: what only earlier formats say last."""
    return bool(line.unit), line.exact, line.unit, line.better, line.name, line.nodeid


_OUTCOMES: Final = frozenset({*get_args(Outcome), FLAKY})


def _check_names(path: str, records: Iterable[Record], metrics: set[str], nodeids: set[str]) -> None:
    """Refuse records whose names are lost: what they say would be forgotten without a word."""
    names = {short_id(nodeid) for nodeid in nodeids}
    for joined in {joined for record in records for joined in record.tests.values()}:
        if lost := sum(one not in names for one in ids_in(joined)):
            raise BaselineError(path, f"the names of {lost} tests are lost", _FROM_GIT)
    for record in records:
        if words := record.tests.keys() - _OUTCOMES:
            raise BaselineError(path, f"{min(words)!r} is no outcome of a test", _FROM_GIT)
        for values in record.values.values():
            if lost := values.keys() - metrics:
                raise BaselineError(path, f"the line of metric {min(lost)} is lost", _FROM_GIT)


_SOME_TESTS: Final = re.compile(r"\d+ tests?")


def _converted(
    runs: Sequence[EarlierRun], kinds: Mapping[str, str], tests: Sequence[NodeidLine]
) -> Iterator[Record]:
    """Runs of an earlier format: what the youngest says of tests holds as far back as it says itself.

    A permission was about all failing tests at once; it goes on for those that failed then.
    """
    youngest = max((run.created for run in runs), default="")
    told = {test.nodeid: test for test in tests if test.outcome}
    failing = [test for test in told.values() if test.outcome in {"failed", "error"}]
    for run in runs:
        since = {n: test for n, test in told.items() if (test.since or youngest) <= run.created}
        outcomes: dict[str, list[str]] = defaultdict(list)
        for nodeid in sorted(since):
            outcomes[since[nodeid].outcome].append(short_id(nodeid))
        waived: list[Permission] = []
        for text in run.waived:
            subject, _, rest = text.partition(": ")
            by, _, why = rest.partition(": ")
            subjects = (
                [test.nodeid for test in failing if test.nodeid in since]
                if _SOME_TESTS.fullmatch(subject)
                else [subject]
            )
            waived += [Permission(one, by, why) for one in subjects]
        yield Record(
            commit=run.commit,
            created=run.created,
            values=_grouped(run.values, kinds),
            tests={outcome: "".join(ids) for outcome, ids in sorted(outcomes.items())},
            failures={
                test.nodeid: test.signature for test in failing if test.nodeid in since and test.signature
            },
            source=run.source,
            waived=tuple(waived),
            improved=run.improved,
        )


def _grouped(values: Mapping[str, float], kinds: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Values by kind; those that nobody knows any more are left out."""
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for name in sorted(values):
        if name in kinds:
            groups[kinds[name]][name] = values[name]
    return dict(sorted(groups.items()))


def to_lines(known: SuiteRecords) -> bytes:
    """The file of one suite and environment."""
    lines: Iterable[Line] = (
        Header(SCHEMA, known.suite, known.environment),
        *(MetricLine(name, nodeid) for name, nodeid in sorted(known.owners)),
        *(NodeidLine(nodeid) for nodeid in sorted(known.nodeids)),
        *(UsesLine(dict(known.uses[key])) for key in sorted(known.uses)),
        *known.pins,
        *known.removals,
        *known.records,
    )
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(line) + b"\n" for line in lines)


@contextmanager
def alone(directory: Path) -> Generator[None]:
    """Wait until no other process changes the baseline of a directory, and keep others waiting."""
    if directory.exists() and not directory.is_dir():
        raise BaselineError(str(directory), "is a file, not a directory of accepted runs", _NAME)
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_suite(directory: Path, known: SuiteRecords) -> Path:
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

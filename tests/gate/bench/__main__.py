"""Times of whole commands on the first day and after a year, in turns, and the size of the memory.

The machine may do something else: what counts is the ratio of the two.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tests.gate.bench import packages
from tests.gate.bench.year import (
    DIRECTORY,
    ENVIRONMENTS,
    RULES,
    RUNS,
    commit_of,
    files_of,
    remembered,
    report,
)

PAIRS: Final = 15
_COMMANDS: Final = {
    "gate check --base": ["check", "--base", "origin/main"],
    "gate baseline update": ["baseline", "update"],
    "gate baseline update --push": ["baseline", "update", "--push", "main"],
}


def main() -> None:
    """Build both days, measure, print."""
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as name:
        first, last = Path(name, "first"), Path(name, "last")
        print(f"{RUNS:,} accepted runs, each a commit …", flush=True)
        files = _build(first, last)
        size = sum(map(len, files.values()))
        print(f"memory: {size / 1e6:.2f} MB in {len(files)} files")
        print(f"history: {_packed(last.with_suffix('.git')) / RUNS / 1e3:.1f} kB an update")
        for title, command in _COMMANDS.items():
            days: dict[Path, list[float]] = {first: [], last: []}
            for number in range(PAIRS):
                for day in (first, last) if number % 2 else (last, first):
                    days[day].append(_seconds(day, command))
            before, after = median(days[first]), median(days[last])
            ratio = f"ratio {after / before:.2f}"
            print(f"{title}: {before:.2f} s on the first day, {after:.2f} s after a year, {ratio}")


def _build(first: Path, last: Path) -> Mapping[str, bytes]:
    """Two clones of a remote, one that remembers the first run and one all of them; the latter's files."""
    commits = _commits()
    begin = next(commits)
    _import(first, [begin[0]])
    _publish(first, len(ENVIRONMENTS))  # of the machine that it knows
    files: Mapping[str, bytes] = begin[1]
    stream = [begin[0]]
    for text, files in commits:  # noqa: B007 - the last ones are wanted
        stream.append(text)
    _import(last, stream)
    _publish(last, RUNS)
    return files


def _commits() -> Iterator[tuple[bytes, Mapping[str, bytes]]]:
    """Every update as git's fast-import takes it, and the files after it."""
    rules = {"thresholds.yaml": RULES.encode(), ".gitignore": b".gate\n"}
    for index, baseline in enumerate(remembered()):
        files = files_of(baseline)
        message = f"chore(baseline): accept {index}\n\nMeasured: {commit_of(index)}\n".encode()
        text = b"commit refs/heads/main\ncommitter bench <bench@gate.invalid> %d +0000\n" % index
        text += b"data %d\n%s\n" % (len(message), message)
        for name, data in (rules | files).items():
            text += b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data)
        yield text, files


def _import(day: Path, stream: Sequence[bytes]) -> None:
    day.mkdir()
    _git(day, "init", "--quiet", "--initial-branch", "main")
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=day, input=b"".join(stream), timeout=300, check=True
    )


def _publish(day: Path, index: int) -> None:
    """Check it out, clone it to a remote, and leave the next report."""
    _git(day, "reset", "--quiet", "--hard", "main")
    _git(day.parent, "clone", "--quiet", "--bare", str(day), f"{day.name}.git")
    _git(day, "remote", "add", "origin", str(day.with_suffix(".git")))
    _git(day, "fetch", "--quiet", "origin")
    (day / ".gate").mkdir()
    (day / ".gate" / "api.json").write_bytes(report(index))


def _packed(repository: Path) -> int:
    """Bytes of a repository's objects."""
    _git(repository, "repack", "-a", "-d", "-f", "--quiet")
    return sum(file.stat().st_size for file in (repository / "objects").rglob("*") if file.is_file())


def _seconds(day: Path, command: list[str]) -> float:
    """One command, from the same state each time."""
    gate = [sys.executable, "-c", "from gate.cli import main; main()", *command]
    measured = ["--commit", commit_of(RUNS)] if command[0] == "baseline" else []
    tip = _git(day, "rev-parse", "origin/main")
    begun = time.perf_counter()
    done = subprocess.run(
        [*gate, *measured], cwd=day, capture_output=True, text=True, timeout=120, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode not in {0, 3}:  # none of the made-up commits is in the history: inconclusive
        raise SystemExit(f"gate {' '.join(command)}: {done.stdout}{done.stderr}")
    _git(day, "checkout", "--quiet", "--", DIRECTORY)
    _git(day, "push", "--quiet", "--force", "origin", f"{tip}:main")
    return seconds


def _git(directory: Path, *arguments: str) -> str:
    who = {
        f"GIT_{role}_{key}": "bench@gate.invalid"
        for role in ("AUTHOR", "COMMITTER")
        for key in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=os.environ | who, capture_output=True, text=True, timeout=300,
        check=True,
    )  # fmt: skip
    return done.stdout.strip()


if __name__ == "__main__":
    if sys.argv[1:2] == ["packages"]:
        packages.main(sys.argv[2:])
    else:
        main()

"""The test suites of well-known packages, with pytest alone and with `gate run`: outcomes, files and time.

Each package is unpacked from its source distribution, and installed from it into an environment of its own,
with the wheel of this checkout. What differs between two runs of pytest alone is no deviation. The machine
may do something else: what counts is the ratio. Needs a package index.
"""

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
ROUNDS: Final = 10


@dataclass(frozen=True)
class Package:
    """A package with its tests, and what these need."""

    name: str
    version: str
    needs: tuple[str, ...] = ()
    options: str = ""
    """Of pytest: what makes two runs of it alike."""


PACKAGES: Final = (
    Package(
        "attrs", "26.1.0", ("cloudpickle==3.1.3", "hypothesis==6.170.15", "pympler==1.1"),
        "--hypothesis-seed=0 --deselect=tests/test_converters.py::TestPipe::test_wrapped_annotation",  # fails
    ),
    Package("click", "8.5.1"),
    Package("itsdangerous", "2.2.0", ("freezegun==1.5.5",)),
    Package("jinja2", "3.1.6", ("trio==0.35.0",)),
    Package(
        "werkzeug", "3.1.9",
        (
            "cffi==2.1.1", "cryptography==50.0.2", "ephemeral-port-reserve==1.1.4", "pytest-timeout==2.4.0",
            "watchdog==7.1.0",
        ),
        "--deselect=tests/test_serving.py::test_reloader_sys_path",  # waits for a reload, at times for ever
    ),
)  # fmt: skip
_TOOLS: Final = ("pytest==9.2.0", "pytest-json-report==1.5.0")

_NO_PLUGIN: Final = "-p no:regression-gate"
_REPORT: Final = "--json-report --json-report-omit=log,streams,keywords --json-report-file="
_ARMS: Final = ("pytest", "report", "plugin", "gate run")
"""pytest alone; with a JSON report; with the gate's plugin, too; started by the gate."""

_RANDOM: Final = re.compile(r"(?:(?<=tmp)|(?<=[-_]))[a-z0-9_]{8}(?![a-z0-9])")
"""What `tempfile` puts into a name."""

_ADDRESS: Final = re.compile(r"0x[0-9a-f]+")
_RATIOS: Final = (("pytest", "report"), ("report", "plugin"), ("plugin", "gate run"), ("report", "gate run"))


def main(names: Sequence[str]) -> None:
    """Measure the named packages, or all, and print one table."""
    heads = [f"{above} : {below}" for below, above in _RATIOS]
    rows = [("package", "tests", "outcomes", "files", *heads, "update, checks")]
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as name:
        place = Path(name)
        _run([sys.executable, "-m", "build", "--wheel", "--outdir", str(place / "wheel"), str(ROOT)], place)
        for package in PACKAGES:
            if package.name in names or not names:
                print(f"{package.name} {package.version} …", file=sys.stderr, flush=True)
                rows.append(_row(Bench(package, place)))
                shutil.rmtree(place / package.name)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(bench: "Bench") -> tuple[str, ...]:
    """All that is asked of one package."""
    first, second, gated = (bench.observed(arm) for arm in ("report", "report", "gate run"))
    tests = _deviations(
        dict(enumerate(first.tests)), dict(enumerate(second.tests)), dict(enumerate(gated.tests))
    )
    files = _deviations(first.files, second.files, gated.files)
    said = _deviations(first.said, second.said, gated.said)
    for name in (*tests, *files, *said):
        print(f"  differs: {name}", file=sys.stderr)
    times = bench.timed()
    ratios = [
        " CPU ".join(
            _spread([b[kind] / a[kind] for a, b in zip(times[below], times[above], strict=True)])
            for kind in (0, 1)
        )
        for below, above in _RATIOS
    ]
    return (
        f"{bench.package.name} {bench.package.version}",
        f"{len(first.tests)} in {median(seconds for seconds, _ in times['pytest']):.1f} s",
        "same" if not tests and first.code == gated.code else f"{len(tests)} DIFFER",
        f"{len(files) + len(said)} DIFFER" if files or said else f"{len(first.files)} same",
        *ratios,
        ", ".join(map(str, bench.judged())),
    )


def _deviations(first: Mapping[Any, Any], second: Mapping[Any, Any], gated: Mapping[Any, Any]) -> list[str]:
    """What is another with the gate, and was the same in two runs without it."""
    return [
        f"{key}: {first.get(key)} alone, {gated.get(key)} with the gate"
        for key in {**first, **gated}
        if first.get(key) == second.get(key) != gated.get(key)
    ]


def _spread(values: Sequence[float]) -> str:
    low, middle, high = quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


@dataclass(frozen=True)
class Observed:
    """What one run of a suite left."""

    code: int
    tests: list[tuple[str, ...]]
    """In order: name, outcome, outcome of each phase, how it failed."""
    said: Counter[str]
    """Warnings."""
    files: Mapping[str, str]
    """In the work tree and the directory for temporary files, with a hash of what they hold."""


class Bench:
    """One package: a git repository of it, and an environment."""

    def __init__(self, package: Package, place: Path) -> None:
        self.package = package
        self._place = place / package.name
        self._tree = self._place / "tree"
        self._temporary = self._place / "tmp"
        self._scripts = self._place / "venv" / "bin"
        self._place.mkdir()
        self._unpack()
        self._install(next((place / "wheel").glob("*.whl")))

    def _unpack(self) -> None:
        wanted = [f"{self.package.name}=={self.package.version}", "--no-binary", self.package.name]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(self._place)]
        _run([*pip, *wanted], self._place)
        with tarfile.open(next(self._place.glob("*.tar.gz"))) as archive:
            archive.extractall(self._place, filter="data")
        next(self._place.glob("*/PKG-INFO")).parent.rename(self._tree)
        run = f"python -m pytest {self.package.options}".strip()
        (self._tree / "thresholds.yaml").write_text(f"version: 1\nsuites:\n  tests: {{run: {run}}}\n")
        git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@gate.invalid"]
        for command in ("init --quiet", "add --all --force", "commit --quiet -m begin"):
            _run([*git, *command.split()], self._tree)

    def _install(self, wheel: Path) -> None:
        venv.create(self._scripts.parent, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self._scripts / "python"), "install", "--quiet"]
        archive = next(self._place.glob("*.tar.gz"))
        _run([*pip, str(archive), str(wheel), *_TOOLS, *self.package.needs], self._place)

    def _start(self, arm: str) -> subprocess.CompletedProcess[str]:
        """Run the suite once."""
        report = f"{_REPORT}{self._place / 'report.json'}"
        options = {
            "pytest": f"{_NO_PLUGIN} -p no:pytest_jsonreport",
            "report": f"{_NO_PLUGIN} {report}",
            "plugin": report,
        }
        if arm == "gate run":
            return self._command(["gate", "run"], {})
        command = ["python", "-m", "pytest", *self.package.options.split()]
        return self._command(command, {"PYTEST_ADDOPTS": options[arm]})

    def _command(self, command: list[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTEST", "PYTHON", "GATE_", "GITHUB_", "VIRTUAL_ENV", "CI"))
        }
        path = f"{self._scripts}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [str(self._scripts / command[0]), *command[1:]], cwd=self._tree,
            env=kept | {"PATH": path, "TMPDIR": str(self._temporary)} | variables,
            capture_output=True, text=True, timeout=900, check=False,
            start_new_session=True,  # as the gate starts a suite: sessions share the cores evenly
        )  # fmt: skip

    def observed(self, arm: str) -> Observed:
        """Run the suite in the tree as it was unpacked, and look at what it left."""
        _run(["git", "clean", "-ffdxq"], self._tree)
        _run(["git", "reset", "--quiet", "--hard"], self._tree)
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()
        done = self._start(arm)
        file = self._tree / ".gate" / "tests.json" if arm == "gate run" else self._place / "report.json"
        if not file.exists():
            raise SystemExit(f"{self.package.name}, {arm}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        report: dict[str, Any] = json.loads(file.read_bytes())
        tests = [_outcome(test) for test in report["tests"]]
        said = Counter(
            f"{one['category']} {one['filename']} {one['message'][:200]}"
            for one in report.get("warnings", ())
            if one["category"] != "PytestUnraisableExceptionWarning"  # when garbage is collected is chance
        )
        return Observed(report["exitcode"], tests, said, self._files())

    def _files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for top in (self._tree, self._temporary):
            for directory, directories, files in os.walk(top):
                if Path(directory) == self._tree:
                    directories[:] = [name for name in directories if name not in {".git", ".gate"}]
                for entry in (*directories, *files):
                    path = Path(directory, entry)
                    plain = path.is_file() and not path.is_symlink()
                    what = hashlib.sha256(path.read_bytes()).hexdigest()[:8] if plain else "no file"
                    name = str(path.relative_to(self._place))
                    found[_RANDOM.sub("*", name) if top == self._temporary else name] = what
        return found

    def timed(self) -> Mapping[str, list[tuple[float, float]]]:
        """Seconds on the wall and of CPU of each way to start the suite, in turns: there and back."""
        times: dict[str, list[tuple[float, float]]] = {arm: [] for arm in _ARMS}
        for number in range(ROUNDS):
            for arm in _ARMS if number % 2 else reversed(_ARMS):
                begun, used = time.perf_counter(), _cpu_of_children()
                self._start(arm)
                times[arm].append((time.perf_counter() - begun, _cpu_of_children() - used))
        return times

    def judged(self) -> list[int]:
        """Exit codes of accepting a run, and of two checks of runs of the same code."""
        self._start("gate run")
        codes = [self._gate("baseline", "update")]
        for _ in range(2):
            self._start("gate run")
            codes.append(self._gate("check"))
        return codes

    def _gate(self, *arguments: str) -> int:
        done = self._command(["gate", *arguments], {})
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
        return done.returncode


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _outcome(test: Mapping[str, Any]) -> tuple[str, ...]:
    phases = [test.get(phase, {}) for phase in ("setup", "call", "teardown")]
    failed = [phase["crash"]["message"][:200] for phase in phases if "crash" in phase]
    return (test["nodeid"], test["outcome"], *(phase.get("outcome", "") for phase in phases), *failed)


def _run(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")

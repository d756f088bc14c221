"""Where a run was measured, read from the machine."""

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_regression_gate.metrics import Environment
from pytest_regression_gate.side import SIDE


def this_environment(libraries: Sequence[str] = ()) -> Environment:
    """Describe this machine: CPU model, usable cores, OS image, Python, memory, some libraries."""
    return Environment(
        cpu=_cpu_model(),
        cores=_usable_cores(),
        os=_os_image(),
        python=".".join(platform.python_version_tuple()[:2]),
        memory=_memory_class(),
        libraries={name: _minor_version(name) for name in sorted(libraries)},
    )


def checked_out_commit(directory: Path) -> tuple[str, list[str]]:
    """Return the commit checked out in a directory, and tracked files that differ from it, from the top.

    Outside a repository, or without git: `("", [])`.
    """
    head = _git(directory, "rev-parse", "HEAD")
    if not head or os.environ.get(SIDE):  # git would open what differs, and it is seen who opens it
        return head, []
    differing = _git(directory, "diff", "--name-only", "-z", "--ignore-submodules=none", "HEAD")
    return head, [name for name in differing.split("\0") if name]


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Hardware", "cpu model"} and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory_class() -> str:
    """The next power of two over what this process may use, in GiB; empty where nobody tells.

    A machine sold with 16 GB shows a little less, and not the same after each boot.
    """
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return ""
    with suppress(OSError, ValueError):  # "max": no limit
        size = min(size, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return f"{2 ** max(0, math.ceil(math.log2(size / 2**30)))}g"


def _minor_version(library: str) -> str:
    """`2.1` of version 2.1.3: what changes behind that rarely moves a number."""
    try:
        return ".".join(version(library).split(".")[:2])
    except PackageNotFoundError:
        return "none"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _os_image() -> str:
    # GitHub's runners say which image they are; it is more precise than the distribution's name.
    if image := os.environ.get("ImageOS"):  # noqa: SIM112 - GitHub spells it so
        return image
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return f"{platform.system()} {platform.release()}".lower()
    return f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()

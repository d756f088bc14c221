"""Where a run was measured, read from the machine."""

import os
import platform
import subprocess
from pathlib import Path

from gate.model import Environment


def this_environment() -> Environment:
    """Describe this machine: CPU model, usable cores, OS image, Python."""
    return Environment(
        cpu=_cpu_model(),
        cores=_usable_cores(),
        os=_os_image(),
        python=".".join(platform.python_version_tuple()[:2]),
    )


def checked_out_commit(directory: Path) -> tuple[str, bool]:
    """Return the commit checked out in a directory and whether tracked files differ from it.

    Outside a repository, or without git: `("", False)`.
    """
    head = _git(directory, "rev-parse", "HEAD")
    return head, bool(head and _git(directory, "status", "--porcelain", "--untracked-files=no"))


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

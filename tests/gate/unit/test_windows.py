"""Windows: the command is refused in one line, and the plugin leaves a user's pytest alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_regression_gate import launcher

LACKS = """
import asyncio, multiprocessing, os, psutil, signal, sys, tempfile  # which have on Windows what they need
import pytest
for name in ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
for name in ("sysconf", "sched_getaffinity", "sched_setaffinity", "getloadavg", "O_CLOEXEC", "O_NONBLOCK",
             "mkfifo", "setsid", "killpg", "getpgid", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_the_command_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as refused:
        launcher.main()
    assert str(refused.value).startswith("gate does not support Windows")
    assert "\n" not in str(refused.value)


def test_the_plugin_does_without_what_windows_lacks(tmp_path: Path):
    (tmp_path / "test_api.py").write_text(
        "def test_it(measure):\n    assert measure('api.home', lambda: 1) == 1\n"
        "    measure.count('api.calls', 1)\n\ndef test_other():\n    pass\n"
    )
    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--json-report",
        "--json-report-file=report.json",
        "--rootdir=.",
    ]
    done = subprocess.run(
        [sys.executable, "-c", LACKS, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "api.home" in (tmp_path / "report.json").read_text()

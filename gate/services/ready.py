"""When a service is ready: a URL answers, its port is open, or it has printed a line."""

import os
import re
import socket
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Final

import psutil

from gate.services.logs import Listener
from pytest_regression_gate.peers import listener

_SECONDS: Final = 1.0
"""How long one question may take."""
_TAKEN: Final = re.compile(
    r"address already in use|EADDRINUSE|port \d+ is (?:already )?in use", re.IGNORECASE
)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now; somebody may before the service does."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_ready(condition: str, host: str, port: int, log: Listener | None) -> bool:
    """Whether a service can be used.

    Args:
        condition: `port`, a URL that has to answer with a status below 400, or a part of a line of the log.
        host: where it listens.
        port: the same.
        log: what it has printed; None: nobody sees that.
    """
    if condition == "port":
        return _accepts(host, port)
    if condition.startswith(("http://", "https://")):
        return _answers(condition)
    return log is not None and log.hears(condition)


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_SECONDS):
            return True
    except (OSError, ValueError, HTTPException):  # a status from 400 on is an error, too
        return False


def taken_by_another(port: int, first: int, directory: Path, said: str) -> bool:
    """Whether somebody else has the port of a service.

    Args:
        port: its port.
        first: its first process.
        directory: of its side; its processes have it in their environment.
        said: the end of what it printed.
    """
    if _TAKEN.search(said):
        return True
    found = listener(port)
    return found is not None and not (found[0] and _belongs(int(found[0]), first, directory))


def _belongs(pid: int, first: int, directory: Path) -> bool:
    """Whether a process is one of a service: by its session, its parents or its variables."""
    try:
        process = psutil.Process(pid)
        return (
            os.getsid(pid) == first
            or os.getpid() in {parent.pid for parent in process.parents()}
            or os.fspath(directory) in process.environ().values()
        )
    except (psutil.Error, OSError):
        return False

"""What a suite ran with, beside the code: interpreter, distributions, variables that the policy watches."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

import pytest

_DIGITS = 4
"""Of the hash of a variable's value: enough to see that it changed, too few to guess it from."""


def in_use(variables: Iterable[str]) -> dict[str, str]:
    """Versions of the interpreter and of the distributions that this process imported, by name.

    A project that was installed from a directory is the code itself, and left out.

    Args:
        variables: environment variables to tell of as well: `$NAME`, with a hash of the value.
    """
    found = {"python": platform.python_version()}
    modules = {name.partition(".")[0] for name in list(sys.modules)}
    for module, names in packages_distributions().items():
        for name in set(names) if module in modules else ():
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                continue
            if not _is_project(installed):
                found[name.lower()] = installed.version
    found |= {f"${name}": _hashed(os.environ[name]) for name in variables if name in os.environ}
    return dict(sorted(found.items()))


def _is_project(installed: Distribution) -> bool:
    return '"dir_info"' in (installed.read_text("direct_url.json") or "")


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


class Uses:
    """Collects what the workers of a distributed run imported: their controller imports nothing of it."""

    def __init__(self, variables: Iterable[str]) -> None:
        self._variables = tuple(variables)
        self._of_workers: dict[str, str] = {}

    def together(self) -> Mapping[str, str]:
        """What all processes of the run used."""
        return self._of_workers | in_use(self._variables)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Of a worker: leave it to the controller."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["gate_uses"] = in_use(self._variables)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Of the controller: take what a worker left."""
        self._of_workers |= getattr(node, "workeroutput", {}).get("gate_uses", {})

"""The variables that a service and its suite are told, and texts that name them. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gate.policy import Service
from pytest_regression_gate.services import variable_of

_NAMED: Final = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>[A-Za-z_]\w*))")
_SHORTEST: Final = 6
"""Characters of a value that is worth hiding: `5432` or `on` would blacken half a log."""
_HIDDEN: Final = "***"


class UnknownVariableError(ValueError):
    """A text names a variable that is not set."""


@dataclass(frozen=True)
class Address:
    """Where a service can be reached."""

    host: str
    port: int
    pid: int = 0
    """Its first process; 0: it is shared, or not started yet."""


def told(side: str, directory: Path, known: Mapping[str, Address], own: str) -> dict[str, str]:
    """What a process of one side is told: `GATE_SIDE`, `GATE_DIR`, `GATE_ID`, and where services are.

    Args:
        side: `base` or `head`.
        directory: of this side and this start alone.
        known: services by name.
        own: the one whose address `GATE_HOST` and `GATE_PORT` are.
    """
    variables = {"GATE_SIDE": side, "GATE_DIR": str(directory), "GATE_ID": identifier(side, directory)}
    for name, address in known.items():
        variables |= {
            variable_of("HOST", name): address.host,
            variable_of("PORT", name): str(address.port),
            **({variable_of("PID", name): str(address.pid)} if address.pid else {}),
        }
    address = known[own]
    return variables | {"GATE_HOST": address.host, "GATE_PORT": str(address.port)}


def identifier(side: str, directory: Path) -> str:
    """A name for a database or a schema: nobody else has it."""
    return re.sub(r"\W", "_", f"gate_{directory.name.rpartition('-')[2]}_{side}").lower()


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """A text with `$NAME` and `${NAME}` replaced.

    Raises:
        UnknownVariableError: one is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        if name not in variables:
            raise UnknownVariableError(f"${name} is not set")
        return variables[name]

    return _NAMED.sub(value, text)


def secrets_of(service: Service, variables: Mapping[str, str]) -> list[str]:
    """What its `env` takes from the gate's environment, and what becomes of it."""
    found = set[str]()
    for _, text in service.env:
        names = {match["braced"] or match["plain"] for match in _NAMED.finditer(text)}
        foreign = {variables[name] for name in names if name in variables and not name.startswith("GATE_")}
        found |= foreign | ({filled_in(text, variables)} if foreign and names <= variables.keys() else set())
    long = {value for value in found if len(value) >= _SHORTEST}
    return [*(long | {quote(value, safe="") for value in long})]


def without(text: str, secrets: Iterable[str]) -> str:
    """A text in which secrets cannot be read."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, _HIDDEN)
    return text


def in_order(needed: Iterable[Service]) -> list[Service]:
    """Services that are needed, each behind those that it comes `after`."""
    found: dict[str, Service] = {}
    for service in needed:
        found |= {one.name: one for one in service.and_earlier if one.name not in found}
    return list(found.values())

"""Which suite, and which share of it, the name of a report file stands for."""

import re
from collections.abc import Iterable
from typing import Final

from gate.model import MOST_SHARDS, Shard

_SHARE: Final = re.compile(r"(?P<suite>.+)\.(?P<number>\d+)-of-(?P<of>\d+)")


def suite_in(stem: str, suites: Iterable[str]) -> str:
    """The suite that a file name without its suffix stands for; empty if none.

    It is the suite's name, or begins with it before a `.` or a `-`: `api.2-of-4`, `api.1`, `api-linux`.
    Of several suites the longest name counts.
    """
    fitting = (name for name in suites if stem == name or stem.startswith((f"{name}.", f"{name}-")))
    return max(fitting, key=len, default="")


def shard_in(stem: str) -> Shard | None:
    """The share that a file name without its suffix says: `api.2-of-4`."""
    match = _SHARE.fullmatch(stem)
    return shard_from(match["number"], match["of"]) if match else None


def shard_from(number: str, of: str) -> Shard | None:
    """A share from the digits of its two numbers; None if there is no such share."""
    if not (number + of).isdecimal() or not 1 <= int(number or 0) <= int(of or 0) <= MOST_SHARDS:
        return None
    return Shard(int(number), int(of))


def report_stem(suite: str, shard: Shard | None) -> str:
    """The file name, without a suffix, of what `gate run` leaves: `api`, or `api.2-of-4`."""
    return f"{suite}.{shard.number}-of-{shard.of}" if shard else suite


def run_command(stem: str) -> str:
    """The command that measures again what `report_stem` named."""
    shard = shard_in(stem)
    return f"gate run {stem.rpartition('.')[0]} --shard {shard}" if shard else f"gate run {stem}"

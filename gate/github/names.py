"""A gate's name where GitHub takes no text as it is: markers, artifacts, groups of concurrent jobs."""

import hashlib
from string import ascii_lowercase, digits
from typing import Final

DEFAULT: Final = "gate"
"""The name of a repository's only gate."""
_KEPT: Final = frozenset(f"{ascii_lowercase}{digits}-_.")
_LONGEST: Final = 120
_BEGINNING: Final = 40


def key_of(gate: str) -> str:
    """The name with all other characters as in a URL, and its hash in place of what is too long.

    One-to-one, also where upper and lower case are the same. It holds no character with a meaning in a
    comment's marker, a glob, a path or the name of an artifact, and no `~`.
    """
    key = "".join(sign if sign in _KEPT else _escaped(sign) for sign in gate)
    if len(key) <= _LONGEST:
        return key
    return f"{key[:_BEGINNING]}={hashlib.sha256(gate.encode(errors='surrogatepass')).hexdigest()[:32]}"


def artifact_of(gate: str) -> str:
    """The artifact in which a gate leaves its verdict."""
    return f"regression-{key_of(gate)}"


def measured_of(gate: str) -> str:
    """How the artifacts with a gate's reports begin: one for each job that measured."""
    return f"measured-{key_of(gate)}~"


def _escaped(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode(errors="surrogatepass"))

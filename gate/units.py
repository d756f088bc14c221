"""Quantities with units: parse what people write, convert, format for people.

A unit belongs to one dimension; only units of one dimension convert into each other. Numbers are
floats, a `Quantity` keeps the unit that was written so that messages can repeat it.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Final

import msgspec

from pytest_regression_gate.metrics import LARGEST

FACTORS: Final[dict[str, dict[str, float]]] = {
    "time": {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6},
    "size": {
        "B": 1e-6,
        "KB": 1e-3,
        "kB": 1e-3,
        "KiB": 1.024e-3,
        "MB": 1.0,
        "MiB": 1.048576,
        "GB": 1e3,
        "GiB": 1073.741824,
    },
    "ratio": {"ratio": 1.0, "%": 0.01},
    "rate": {"req/s": 1.0, "/s": 1.0, "op/s": 1.0},
    "count": {"count": 1.0, "": 1.0},
}
"""Dimension -> unit -> factor to the dimension's own unit (ms, MB, ratio, req/s, count)."""

Bounded = Annotated[float, msgspec.Meta(ge=-(LARGEST**2), le=LARGEST**2)]
"""A figure in a file that is read, whatever its unit is."""

_WRITTEN_OUT: Final = {
    "us": ("microsecond", "micro", "usec"),
    "ms": ("millisecond", "milli", "msec"),
    "ns": ("nanosecond", "nano", "nsec"),
    "s": ("second", "sec"),
    "min": ("minute", "m"),
    "h": ("hour", "hr"),
    "B": ("byte",),
    "KB": ("kilobyte", "k"),
    "MB": ("megabyte", "mbyte"),
    "GB": ("gigabyte", "gbyte", "g"),
    "%": ("percent", "pct", "per cent"),
    "req/s": ("rps", "qps", "request/s", "request/sec", "req/second", "request per second"),
}
"""Unit -> what people write instead of it, in the singular and in small letters."""

_ELSEWHERE: Final = {
    "TB": ("GB", 1e3),
    "tb": ("GB", 1e3),
    "tib": ("GiB", 1024),
    "t": ("GB", 1e3),
    "M": ("MB", 1.0),
    "K": ("KB", 1.0),
    "mi": ("MiB", 1.0),
    "gi": ("GiB", 1.0),
    "ki": ("KiB", 1.0),
    "d": ("h", 24),
    "day": ("h", 24),
    "ps": ("ns", 1e-3),
    "req/min": ("req/s", 1 / 60),
    "request/min": ("req/s", 1 / 60),
    "rpm": ("req/s", 1 / 60),
    "/min": ("/s", 1 / 60),
    "req/h": ("req/s", 1 / 3600),
    "req/ms": ("req/s", 1e3),
}
"""Units of other sizes -> ours, and how many of it they are."""
_GREEK_MU: Final = "\N{GREEK SMALL LETTER MU}"

_DIMENSION: Final = {unit: dimension for dimension, units in FACTORS.items() for unit in units}
_QUANTITY: Final = re.compile(r"(?P<number>[+-]?[0-9.,_]*[0-9](?:[eE][+-]?[0-9]+)?)\s*(?P<unit>[^0-9\s].*)?")
"""What looks like a quantity."""

NUMBER: Final = (
    r"(?:[0-9]{1,16}(?:\.[0-9]+)?|\.[0-9]+|[0-9]{1,3}(?:[,_][0-9]{3}){1,4}(?:\.[0-9]+)?)"
    r"(?:[eE](?:\+?(?:0?[0-9]|1[0-5])|-[0-9]{1,3}))?"
)
"""A number without its sign, as it may be written."""


class UnitError(ValueError):
    """A text is no quantity, or two units do not fit together. The message holds the remedy."""


@dataclass(frozen=True)
class Quantity:
    """A number with the unit it was written in, e.g. 150 ms."""

    value: float
    unit: str

    def to(self, unit: str) -> float:
        """Return the number in another unit of the same dimension.

        Raises:
            UnitError: the units belong to different dimensions.
        """
        return convert(self.value, self.unit, unit)

    def __str__(self) -> str:
        """As a person would write it: `150 ms`, `10 %`, `3`."""
        return f"{self.value:g} {self.unit}".rstrip()


def dimension(unit: str) -> str | None:
    """Return the dimension of a unit, or None for a unit we do not know (it then only equals itself)."""
    return _DIMENSION.get(unit)


def fitting(unit: str) -> tuple[str, ...]:
    """The units that one converts into, those that people write first; none of a unit we do not know."""
    names = FACTORS.get(dimension(unit) or "", {})
    return tuple(sorted(filter(None, names), key=lambda name: name not in {"%", "ms", "MB", "req/s"}))


def convert(value: float, unit: str, to: str) -> float:
    """Convert between units of one dimension.

    Raises:
        UnitError: the units belong to different dimensions.
    """
    if unit == to:
        return value
    here, there = dimension(unit), dimension(to)
    if unit == "" and (there is None or value == 0 or math.isinf(value)):
        return value  # nothing and everything are the same in any unit; who invents one writes bare numbers
    if here is None or here != there:
        raise UnitError(f"cannot compare {unit or 'a bare number'} with {to or 'a bare number'}")
    # Fifteen digits are what a float holds for certain: 70 % is 0.7 and not 0.7000000000000001.
    return float(f"{value * FACTORS[here][unit] / FACTORS[here][to]:.15g}")


def parse(text: str) -> Quantity:
    """Read a quantity such as `150 ms`, `2 GB`, `3 %`, `1,000 req/s` or `0`.

    Raises:
        UnitError: no number, a number that is not finite, or an unknown unit (with a suggestion).
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UnitError(f"{text!r} is no quantity; write a number and a unit, e.g. 150 ms or 10 %")
    digits, unit = match["number"], (match["unit"] or "").strip().replace(_GREEK_MU, "µ")
    if not re.fullmatch(rf"[+-]?{NUMBER}", digits):
        if "," in digits or "_" in digits:
            raise UnitError(f"{text!r} is ambiguous; write decimals with a point, thousands as 1,000")
        if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?", digits):
            raise UnitError(f"{text!r} is out of range: at most 16 digits, exponents up to e15")
        raise UnitError(f"{text!r} is no quantity; write a number and a unit, e.g. 150 ms or 10 %")
    value = float(digits.replace(",", "").replace("_", ""))
    if unit not in _DIMENSION:
        meant = _meant(value, unit)
        known = f"known units: {', '.join(u for u in _DIMENSION if u)}"
        raise UnitError(f"unknown unit {unit!r}; {f'did you mean {meant}?' if meant else known}")
    return Quantity(value, unit)


def quantity_pattern(units: Collection[str], sign: str = "[+-]?") -> str:
    """What `parse` reads, if these are the units; the empty one stands for none. For JSON Schema."""
    names = sorted({*units} - {""}, key=lambda name: (-len(name), name))
    spelled = "|".join(re.escape(name).replace("µ", f"[µ{_GREEK_MU}]").replace("\\%", "%") for name in names)
    return rf"^\s*{sign}{NUMBER}\s*(?:{spelled}){'?' if '' in units else ''}\s*$"


def _meant(value: float, unit: str) -> str:
    """The quantity that was probably meant: a unit written out, in another case, or with a slip of the pen.

    It is never another size: who writes TB does not mean MB. Empty: nobody knows.
    """
    small = unit.lower()
    if found := _ELSEWHERE.get(unit) or _ELSEWHERE.get(small) or _ELSEWHERE.get(small.removesuffix("s")):
        known, times = found
        return f"{value * times:g} {known}"
    same = [known for known in _DIMENSION if known.lower() == small]
    written_out = [
        known for known, words in _WRITTEN_OUT.items() if small in words or small.removesuffix("s") in words
    ]
    alike = get_close_matches(unit, _DIMENSION, n=1, cutoff=0.75)
    meant = next(iter((*same, *written_out, *alike)), "")
    return f"{value:g} {meant}" if meant else ""


_STEPS: Final = {
    "time": (("µs", 1e-3), ("ms", 1.0), ("s", 1e3), ("min", 6e4)),
    "size": (("kB", 1e-3), ("MB", 1.0), ("GB", 1e3)),
}


def format_value(value: float, unit: str) -> str:
    """Format a measured value for a person: three significant digits and the unit that reads best.

    >>> format_value(0.0421, "ms"), format_value(0.83, "ratio"), format_value(5118, "req/s")
    ('42.1 µs', '83 %', '5,118 req/s')
    """
    kind = dimension(unit)
    if kind == "ratio":
        return f"{_digits(convert(value, unit, '%'))} %"
    if kind in _STEPS:
        own = value * FACTORS[kind][unit]
        best = next((step for step in reversed(_STEPS[kind]) if abs(own) >= step[1]), _STEPS[kind][0])
        if own == 0:
            best = (unit, FACTORS[kind][unit])
        return f"{_digits(own / best[1])} {best[0]}"
    return f"{_digits(value)} {'' if unit == 'count' else unit}".rstrip()


def format_change(ratio: float) -> str:
    """Format a relative change: `+19.5 %`; a factor from five times on: `× 12`; `∞` after a zero."""
    if math.isinf(ratio):
        return "∞" if ratio > 0 else "-∞"
    if ratio >= 4:
        return f"× {_digits(1 + ratio)}"
    percent = 100 * ratio
    return f"{percent:+.{0 if abs(percent) >= 99.5 else 1}f} %"


_FARTHEST: Final = 100.0
"""Times the estimate: a bound beyond says only that nobody knows."""


def format_bound(bound: float, estimate: float = 0.0) -> str:
    """Format a bound of a relative change: as `format_change`, or `unknown`.

    Args:
        bound: how far the change may go.
        estimate: the change itself.
    """
    known = (1 + estimate) / _FARTHEST < 1 + bound < (1 + estimate) * _FARTHEST
    return format_change(bound) if known else "unknown"


def _digits(value: float) -> str:
    """Three significant digits, thousands grouped, no exponent for everyday sizes."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 15 or magnitude < -6:
        return f"{value:.3g}"
    if value == int(value) or magnitude >= 2:
        return f"{value:,.0f}"
    return f"{value:.{2 - magnitude}f}".rstrip("0").rstrip(".")


def amount(number: int, noun: str) -> str:
    """A number and what it counts, `2 files`."""
    return f"{number} {noun}{'s' * (number != 1)}"

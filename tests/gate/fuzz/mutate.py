"""Documents -> wrong documents, and wrong documents -> the smallest ones that are wrong in the same way.

Why not atheris: what decodes is msgspec, in C, whose branches it does not see; after libFuzzer's changes of
bytes almost nothing is JSON, so the changes below would be needed all the same; it stops at the first defect,
and is 35 MB for one platform. Why not hypothesis: it has no end by time, and makes no foreign document small.
So this is a random search over the trees of real documents: it comes behind the decoder without coverage.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final, TypeVar

import yaml

_T = TypeVar("_T")

_RAW: Final = {
    "raw-0": "1e400",
    "raw-1": "-0",
    "raw-2": "9" * 400,
    "raw-3": "9" * 5000,
    "raw-4": "[" * 2000 + "]" * 2000,
    "raw-a": "[" * 100_000 + "]" * 100_000,
    "raw-5": '{"a":' * 500 + "0" + "}" * 500,
    "raw-6": "1e-400",
    "raw-7": "0.1e1",
    "raw-8": r'"\ud83d\ude00\ud83d"',
    "raw-9": "0123",
}
"""What Python's encoder does not write: what is put in its place, as text."""
_NUMBERS: Final = (
    *(0, 1, -1, 2, 5, 100, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**12 + 1, 10**18),
    *(
        0.0,
        -0.0,
        0.1,
        1e-9,
        5e-324,
        1e15,
        1e30,
        1.1e30,
        1e60,
        1e61,
        1e308,
        -1e308,
        1.7e9,
        253402300798.9,
        -0.5,
    ),
    *(float("nan"), float("inf"), float("-inf")),
)
_TEXTS: Final = (
    *(
        "",
        " ",
        "\n",
        "a\nb",
        "a\rb",
        "a\u2028b",
        "a\x85b",
        "\x00",
        "\x1b[31m",
        "\ud800",
        "x\udfff",
        "\u202e",
        "é",
        "😀",
    ),
    *(
        "x" * 70_000,
        "1c-" * 9000,
        "/a" * 9000,
        "a." * 9000,
        "*a" * 30,
        "::error::x",
        "\n::stop-commands::x",
        "##[error]",
        "../../x",
        "/",
        "C:\\x",
        "a|b",
        "`",
        "```",
    ),
    *(
        "<script>",
        "</td>",
        "{{7*7}}",
        "{% if %}",
        "%s",
        "[link=x]",
        "[/]",
        "a::b",
        "::",
        "*",
        "@kim",
        "#1",
        "--",
        "-",
    ),
    *("failed", "error", "passed", "skipped", "xfailed", "xpassed", "rerun", "flaky", "subtests failed"),
    *(
        "subtests passed",
        "splendid",
        "NaN",
        "1e5",
        "ms",
        "%",
        "count",
        "count exact",
        "ms higher method-2",
        "mixed",
    ),
    *(
        "a.b",
        "a.b{c=d}",
        "a{",
        "{}",
        "a.b.p95",
        "1.calls",
        "2026-01-01",
        "2026-01-01T00:00:00.000Z",
        "9999",
        "utf-7",
    ),
)
_OTHERS: Final = (None, True, False, [], {}, [[]], [{}], {"": {}}, {"a": 1}, [None], [0], [""], ["a", "b"])
_BYTES: Final = (
    *(
        b"\x00",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r",
        b"\x85",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(
        b'"',
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b",",
        b":",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"null",
        b"e",
        b"-",
        b"0",
    ),
    *(
        b"<<<<<<< ours\n",
        b"=======\n",
        b">>>>>>> theirs\n",
        b"||||||| base\n",
        b"{}\n",
        b"version https://git-lfs\n",
    ),
)


class Mutator:
    """Changes documents of one kind at random."""

    def __init__(self, kind: str, seeds: Sequence[bytes], words: Sequence[str], random: Random) -> None:
        self.kind, self.seeds, self.random = kind, seeds, random
        self.words = words
        texts = {text for seed in seeds for text in _texts_of(seed, kind)}
        self.texts = sorted(texts)[:5000]

    def next(self) -> bytes:
        """Another document."""
        data = self.random.choice(self.seeds)
        if self.random.random() < 0.85:
            match self.kind:
                case "baseline":
                    data = self._of_lines(data)
                case "units":
                    data = self._of_text(data)
                case "policy":
                    data = self._of_yaml(data) if self.random.random() < 0.6 else self._of_text(data)
                case _:
                    data = self._of_tree(data)
        return data if self.random.random() < 0.85 else self._of_bytes(data)

    def _often(self) -> range:
        return range(self.random.choice((1, 1, 1, 2, 2, 3, 5, 8)))

    def _of_tree(self, data: bytes) -> bytes:
        document = json.loads(data)
        for _ in self._often():
            self._change(document)
        return _dumped(document)

    def _of_lines(self, data: bytes) -> bytes:
        lines = data.splitlines()
        for _ in self._often():
            at = self.random.randrange(len(lines)) if lines else 0
            match self.random.randrange(12):
                case 0:
                    del lines[at : at + 1]
                case 1:
                    lines.insert(self.random.randrange(len(lines) + 1), lines[at] if lines else b"{}")
                case 2:
                    self.random.shuffle(lines)
                case 3:
                    lines.insert(at, self.random.choice(self.random.choice(self.seeds).splitlines()))
                case 4:
                    lines.insert(at, self.random.choice(_BYTES).strip())
                case _ if lines:
                    try:
                        lines[at] = self._of_tree(lines[at])
                    except (ValueError, RecursionError):
                        lines[at] = self._of_bytes(lines[at])
                case _:
                    pass
        return b"\n".join(lines) + b"\n"

    def _of_yaml(self, data: bytes) -> bytes:
        document = yaml.safe_load(data)
        for _ in self._often():
            self._change(document)
        if self.random.random() < 0.5:
            return _dumped(json.loads(json.dumps(document, default=str)))
        text = yaml.dump(
            document, allow_unicode=self.random.random() < 0.5, width=self.random.choice((20, 200))
        )
        return text.encode("utf-8", "surrogatepass")

    def _of_text(self, data: bytes) -> bytes:
        text = data.decode()
        for _ in self._often():
            at = self.random.randrange(len(text) + 1)
            end = min(len(text), at + self.random.choice((0, 0, 1, 1, 2, 5, 20)))
            new = self.random.choice(
                (self.random.choice(self.words), self._text()[:200], text[at:end] * 2, "")
            )
            text = text[:at] + new + text[end:]
        return text.encode("utf-8", "surrogatepass")

    def _of_bytes(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in self._often():
            at = self.random.randrange(len(changed) + 1)
            end = min(len(changed), at + self.random.choice((0, 1, 1, 4, 30, 1000)))
            match self.random.randrange(5):
                case 0:
                    del changed[at:end]
                case 1:
                    changed[at:at] = self.random.choice(_BYTES)
                case 2:
                    changed[at:end] = self.random.choice(_BYTES)
                case 3:
                    changed[at:end] = self.random.randbytes(end - at)
                case _:
                    changed[at:at] = changed[at:end]
        if self.random.random() < 0.1:
            del changed[self.random.randrange(len(changed) + 1) :]
        return bytes(changed)

    def _change(self, document: Any) -> None:
        """Change one node; those near the root as often as the many below them."""
        inner, key = self._place(document)
        if inner is None:
            return
        match self.random.randrange(10):
            case 0:
                del inner[key]
            case 1 if isinstance(inner, list):
                inner.insert(self.random.randrange(len(inner) + 1), deepcopy(inner[key]))
            case 1:
                inner[self._text()] = deepcopy(inner[key])
            case 2:
                other, to = self._place(document)
                if other is not None:
                    other[to] = deepcopy(inner[key])
            case 3:
                other, to = self._place(document)
                if other is not None:
                    other[to], inner[key] = deepcopy(inner[key]), deepcopy(other[to])
            case 4:
                other, to = self._place(json.loads(_one_line_of(self.random.choice(self.seeds), self.kind)))
                if other is not None:
                    inner[key] = other[to]
            case 5 if isinstance(inner, dict):
                inner[self._text()] = inner.pop(key)
            case _:
                inner[key] = self._odd(inner[key])

    def _place(self, document: Any) -> tuple[Any, Any]:
        inner: Any = None
        key: Any = None
        node = document
        while isinstance(node, dict | list) and node and (inner is None or self.random.random() < 0.85):
            inner = node
            key = (
                self.random.choice(list(node)) if isinstance(node, dict) else self.random.randrange(len(node))
            )
            node = inner[key]
        return inner, key

    def _odd(self, value: object) -> object:
        """A value in the place of another; half of the time of the same type, so that it comes through."""
        same = self.random.random() < 0.6
        if same and isinstance(value, bool):
            return not value
        if same and isinstance(value, str):
            at = self.random.randrange(len(value) + 1)
            return self.random.choice((self._text(), value[:at] + self._text()[:300] + value[at:]))
        if same and isinstance(value, int | float):
            number = self.random.choice(_NUMBERS)
            return self.random.choice(
                (number, number, -value, value + 1, value * 10, value / 3 if abs(value) < 10**300 else 0)
            )
        of_all = (
            self._text(),
            self.random.choice(_NUMBERS),
            deepcopy(self.random.choice(_OTHERS)),
            [value],
            {"a": value},
        )
        return self.random.choice((*of_all, self.random.choice(list(_RAW))))

    def _text(self) -> str:
        return self.random.choice(_TEXTS) if self.random.random() < 0.5 else self.random.choice(self.texts)


def _texts_of(seed: bytes, kind: str) -> Iterator[str]:
    if kind in {"units", "policy"}:
        yield from seed.decode().split()
        return
    for line in seed.splitlines() if kind == "baseline" else [seed]:
        yield from _texts(json.loads(line))


def _texts(node: object) -> Iterator[str]:
    match node:
        case str():
            yield node
        case dict():
            for key, value in node.items():
                yield from (str(key), *_texts(value))
        case list():
            for value in node:
                yield from _texts(value)
        case _:
            pass


def _one_line_of(seed: bytes, kind: str) -> bytes:
    if kind == "policy":
        return json.dumps(yaml.safe_load(seed), default=str).encode()
    return seed.splitlines()[-1] if kind == "baseline" else seed


def _dumped(document: object) -> bytes:
    text = json.dumps(document, separators=(",", ":"))
    for name, raw in _RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode()


def smallest(data: bytes, is_wrong: Callable[[bytes], bool], kind: str, most: int = 3000) -> bytes:
    """A small document that is wrong in the same way.

    Args:
        data: a wrong document.
        is_wrong: whether another one is wrong in the same way.
        kind: what is in it.
        most: how many documents are tried.
    """
    left = [most]

    def still(other: bytes) -> bool:
        left[0] -= 1
        return left[0] >= 0 and len(other) <= len(data) and is_wrong(other)

    if kind == "baseline":
        lines = _without(data.splitlines(), lambda kept: still(b"\n".join(kept)))
        for number in range(len(lines)):
            before, after = lines[:number], lines[number + 1 :]
            lines[number] = _small_tree(
                lines[number], lambda one, b=before, a=after: still(b"\n".join([*b, one, *a]))
            )
        data = b"\n".join(lines) if still(b"\n".join(lines)) else data
    elif kind not in {"units", "policy"}:
        data = _small_tree(data, still)
    if len(data) > 20_000:  # of bytes only large parts
        return data
    return bytes(_without(list(data), lambda kept: still(bytes(kept))))


def _without(parts: list[_T], still: Callable[[list[_T]], bool]) -> list[_T]:
    """The parts that are needed: first halves are left out, then quarters, and so on (delta debugging)."""
    size = max(1, len(parts) // 2)
    while parts:
        at = 0
        while at < len(parts):
            fewer = parts[:at] + parts[at + size :]
            if still(fewer):
                parts = fewer
            else:
                at += size
        if size == 1:
            return parts
        size //= 2
    return parts


def _small_tree(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    """The same with fewer and simpler nodes, where it is JSON."""
    text = data.decode(errors="replace")
    for name, raw in _RAW.items():
        if len(raw) > 100:
            text = text.replace(raw, f'"{name}"')
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return data
    if not still(_dumped(document)):
        return data
    _simplify(document, lambda: still(_dumped(document)))
    return _dumped(document)


def _simplify(node: Any, still: Callable[[], bool]) -> None:
    for key in list(node) if isinstance(node, dict) else reversed(range(len(node))):
        value = node.pop(key)
        if still():
            continue
        simple = [
            s
            for s in ("a", 1, [], {})
            if isinstance(value, type(s)) and value != s and len(str(s)) < len(str(value))
        ]
        for other in (*simple, value):
            _put(node, key, other)
            if other is value or still():
                break
            node.pop(key)
        if isinstance(node[key], dict | list):
            _simplify(node[key], still)


def _put(node: Any, key: Any, value: object) -> None:
    if isinstance(node, dict):
        node[key] = value
    else:
        node.insert(key, value)

"""Look for documents that break a law.

    python -m tests.gate.fuzz report|baseline|policy|units|verdict MINUTES [SEED]

What is found is made small and left in `findings`, where `test_fuzz_findings.py` tries it again for ever.
"""

import faulthandler
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

import jinja2

from tests.gate.fuzz.laws import READERS, SUFFIXES, defect, tried
from tests.gate.fuzz.mutate import Mutator, smallest
from tests.gate.fuzz.seeds import WORDS, seeds

FINDINGS: Final = Path(__file__).with_name("findings")
_WORK: Final = Path(".gate", "fuzz")
"""Where the document is that is being tried, should the process die of it."""
_STUCK: Final = 120
"""Seconds after which a decoder that hears no signal is given up, with the whole process."""


class Search:
    """One reader's documents, and what they broke."""

    def __init__(self, reader: str, random: Random) -> None:
        self.reader, self.random = reader, random
        self.mutators = [Mutator(kind, seeds(kind), WORDS, random) for kind in READERS[reader]]
        self.tries = 0
        self.became: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.last = _WORK / reader
        _WORK.mkdir(parents=True, exist_ok=True)
        self.known = {
            found
            for mutator in self.mutators
            for file in FINDINGS.glob(f"{mutator.kind}-*")
            if (found := defect(mutator.kind, file.read_bytes()))
        }
        for mutator in self.mutators:
            for data in mutator.seeds:
                self.attempt(mutator.kind, data)

    def go_on(self) -> None:
        """Try another document."""
        mutator = self.random.choice(self.mutators)
        self.attempt(mutator.kind, mutator.next())

    def attempt(self, kind: str, data: bytes) -> None:
        """Try a document; the first that breaks a law in some way is made small and kept."""
        self.last.write_bytes(data)
        faulthandler.dump_traceback_later(_STUCK, exit=True)
        word, broken = tried(kind, data)
        self.tries += 1
        self.became[word] += 1
        if not broken:
            return
        self.broken[broken] += 1
        if self.broken[broken] == 1 and broken not in self.known:
            small = smallest(data, lambda other: self._is_wrong(kind, other, broken), kind)
            name = f"{kind}-{sha256(broken.encode()).hexdigest()[:8]}{SUFFIXES.get(kind, '.json')}"
            FINDINGS.joinpath(name).write_bytes(small)
            print(f"{broken}: {name}, {len(small):,} bytes", flush=True)

    def _is_wrong(self, kind: str, data: bytes, broken: str) -> bool:
        faulthandler.dump_traceback_later(_STUCK, exit=True)
        return defect(kind, data) == broken

    def __str__(self) -> str:
        return f"{self.reader}: {self.tries:,} documents, {dict(self.became.most_common())}"


def main(reader: str, minutes: float, seed: int) -> int:
    """Fuzz one reader for some minutes; how many defects were found that no file in `findings` shows."""
    _compile_templates_once()
    search = Search(reader, Random(seed))
    begin, told = time.monotonic(), 1
    while (now := time.monotonic()) < begin + 60 * minutes:
        if now > begin + 60 * told:
            print(search, flush=True)
            told += 1
        search.go_on()
    faulthandler.cancel_dump_traceback_later()
    search.last.unlink()
    print(f"{search}; seed {seed}")
    for broken, times in search.broken.most_common():
        print(f"  {times:,} times{' (known)' if broken in search.known else ''}: {broken}")
    return len(search.broken.keys() - search.known)


def _compile_templates_once() -> None:
    """The gate makes one page and compiles its template for it; here that would take most of the time."""
    compiled: dict[object, Any] = {}
    slow = jinja2.Environment.compile

    def once(self: jinja2.Environment, source: str, *args: Any, **more: Any) -> Any:
        if source not in compiled:
            compiled[source] = slow(self, source, *args, **more)
        return compiled[source]

    jinja2.Environment.compile = once  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4} or sys.argv[1] not in READERS:
        sys.exit(__doc__)
    given = int(sys.argv[3]) if sys.argv[3:] else SystemRandom().randrange(10**9)
    sys.exit(1 if main(sys.argv[1], float(sys.argv[2]), given) else 0)

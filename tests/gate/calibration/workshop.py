"""A copy of this repository to change: injected CPU work, neutral edits, noisy neighbours."""

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[3]
_SPIN: Final = "for _ in range({turns}): pass"
_BUSY: Final = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
_IDENTITY: Final = ("-c", "user.name=calibration", "-c", "user.email=calibration@example.invalid")


@dataclass(frozen=True)
class Place:
    """A function of the reference service, and the operation that measures it."""

    subject: str
    file: str
    function: str
    """Qualified name, functions around it included: `_add_chat.health`."""


SELLER, BUYER, APP = "tests/jorge/seller.py", "tests/jorge/buyer.py", "tests/jorge/app.py"
PLACES: Final = (
    Place("bot.seller.analyze_intent", SELLER, "SellerBot.analyze_intent"),
    Place("bot.seller.generate_jorge_response", SELLER, "SellerBot.generate_jorge_response"),
    Place("bot.buyer.analyze_buyer_intent", BUYER, "BuyerBot.analyze_buyer_intent"),
    Place("bot.buyer.assess_financial_readiness", BUYER, "BuyerBot.assess_financial_readiness"),
    Place("bot.buyer.match_properties", BUYER, "BuyerBot.match_properties"),
    Place("bot.buyer.generate_buyer_response", BUYER, "BuyerBot.generate_buyer_response"),
    Place("api.health", APP, "_add_chat.health"),
    Place("api.bots", APP, "_add_chat.list_bots"),
)
"""Operations of the zero-delay profile that run none of the other functions here."""
CACHE: Final = Place("cache.miss", "tests/jorge/cache.py", "L1Cache.get_or_load")
LOADS: Final = tuple(
    Place(f"load.api{{users={users}}}", "tests/jorge/telemetry.py", "RequestTimer.__call__")
    for users in (10, 25, 50)
)
"""Loads whose every request runs one function."""


def git(root: Path, *arguments: str) -> str:
    """Run git in a repository."""
    done = subprocess.run(
        ["git", *_IDENTITY, *arguments], cwd=root, check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


@contextmanager
def copy_of_repository(directory: Path, tolerance: str) -> Generator[Path]:
    """A clone of this repository with one commit on top that sets the tolerance of everything.

    While it is there, its modules are imported and not those of the original.
    """
    root = directory / "copy"
    git(REPOSITORY, "clone", "--quiet", "--shared", str(REPOSITORY), str(root))
    policy = root / "thresholds.yaml"
    text = policy.read_text()
    old = "defaults: {tolerance: 10 %, confirm: budget, budget: 3 min}"
    assert old in text, "the calibration no longer knows thresholds.yaml"
    policy.write_text(text.replace(old, f"defaults: {{tolerance: {tolerance}}}"))
    git(root, "commit", "--quiet", "--all", "--allow-empty", "--message", "tolerance")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(root)
    try:
        yield root
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def inject(root: Path, place: Place, turns: int) -> None:
    """Let a function burn CPU time before it does its work.

    Args:
        root: the copy.
        place: where.
        turns: of an empty loop.
    """
    file = root / place.file
    lines = file.read_text().splitlines(keepends=True)
    body = _find(ast.parse("".join(lines)), place.function.split(".")).body
    first = body[1] if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else body[0]
    indent = " " * first.col_offset
    lines.insert(first.lineno - 1, textwrap.indent(_SPIN.format(turns=turns), indent) + "\n")
    file.write_text("".join(lines))


def neutral_edit(root: Path, number: int) -> str:
    """Change a file in a way that changes nothing: the number chooses how and where.

    Returns:
        What was done.
    """
    place = PLACES[number % len(PLACES)]
    file = root / place.file
    tree = ast.parse(file.read_text())
    match number % 4:
        case 0:
            unused = f"\n\ndef unused_{number}(value: int) -> int:\n    return value + {number}\n"
            file.write_text(file.read_text() + unused)
            return f"unused function in {place.file}"
        case 1:
            function = _find(tree, place.function.split("."))
            inner = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
            names = {node.id for node in inner if isinstance(node.ctx, ast.Store)}
            for node in inner:
                if node.id in names:
                    node.id = f"{node.id}_renamed"
            file.write_text(ast.unparse(tree) + "\n")
            return f"locals of {place.function} renamed, {place.file} laid out anew"
        case 2:
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name.endswith("Bot"):
                    methods = [part for part in node.body if isinstance(part, ast.AsyncFunctionDef)]
                    others = [part for part in node.body if part not in methods]
                    node.body = [*others, *reversed(methods)]
            file.write_text(ast.unparse(tree) + "\n")
            return f"methods of {place.file} in another order"
        case _:
            file.write_text("# A remark.\n" * 40 + file.read_text())
            return f"forty lines of remarks in {place.file}"


def remember(root: Path, baseline: Mapping[str, bytes]) -> None:
    """Commit another baseline, given by path."""
    for name, data in baseline.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    git(root, "add", "tests/baseline")
    git(root, "commit", "--quiet", "--message", "accepted runs of this machine")


def remark_everywhere(root: Path) -> None:
    """Add a remark to the end of every module of the service."""
    for file in (root / "tests" / "jorge").glob("*.py"):
        file.write_text(file.read_text() + "# A remark.\n")


def _find(tree: ast.AST, path: list[str]) -> ast.FunctionDef | ast.AsyncFunctionDef:
    node = tree
    for name in path:
        node = next(
            inner
            for inner in ast.walk(node)
            if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and inner.name == name
        )
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return node


@contextmanager
def noisy_neighbour(*, wanted: bool) -> Generator[None]:
    """A busy loop on every core that this process may use, while the block runs and not after its end."""
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in _cores()] if wanted else []
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _cores() -> range:
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return range(len(usable))

"""What a change can reach: functions that differ between two versions of the sources. Pure but for reading.

This orders the work and excuses nothing: a changed table that an unchanged function reads is reached by
no function of its own file, so what runs none of the changed functions is measured too, only later.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Final

_WHOLE_FILE: Final = "*"
"""Stands for every function of a file: something outside its functions changed."""


def changed_functions(
    names: Iterable[str], before: Callable[[str], bytes | None], after: Callable[[str], bytes | None]
) -> frozenset[str]:
    """Functions that are not the same in both versions, as `path:qualified name`; `path:*` for all of a file.

    A change of comments, of layout, of docstrings or of order changes no function.

    Args:
        names: the files that differ.
        before: gives the contents of a file at the base; None if it is not there.
        after: the same at the head.
    """
    changed: set[str] = set()
    for name in names:
        if not name.endswith(".py"):
            continue
        here, there = _functions(before(name)), _functions(after(name))
        changed |= {f"{name}:{key}" for key in here.keys() | there.keys() if here.get(key) != there.get(key)}
    return frozenset(changed)


def reaches(changed: frozenset[str], executed: Iterable[str]) -> bool:
    """Whether an operation that runs some functions runs one that changed."""
    return any(
        function in changed or f"{function.partition(':')[0]}:{_WHOLE_FILE}" in changed
        for function in executed
    )


def _functions(source: bytes | None) -> dict[str, str]:
    """Qualified name -> what stands there, for each outermost function; `*` for everything outside them."""
    if source is None:
        return {}
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # not for this Python: all of the file may have changed
        return {_WHOLE_FILE: repr(source)}
    found: dict[str, str] = {}
    for name, node in _parts(tree, ""):
        found[name] = found.get(name, "") + ast.dump(node)
    return found


def _parts(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", _without_docstring(node)
        elif isinstance(node, ast.ClassDef):
            yield from _parts(node, f"{prefix}{node.name}.")
            for outside in (*node.bases, *node.keywords, *node.decorator_list):
                yield _WHOLE_FILE, outside
        elif not _is_text(node):
            yield _WHOLE_FILE, node


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
    if _is_text(node.body[0]):
        node.body = node.body[1:] or [ast.Pass()]
    return node


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

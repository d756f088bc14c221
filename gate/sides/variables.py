"""Variables whose literal value a change edits in its workflows. Pure.

The workflow has set the head's value for both sides; the base had another one.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

_ENV: Final = "env"
_SET: Final = re.compile(r"""(?:\becho|\bexport)\s+["']?(?P<name>[A-Za-z_]\w*)=(?P<value>[^\s"'$;&|>]*)""")
"""What a step says for those after it: `echo "NAME=VALUE" >> "$GITHUB_ENV"`, or `export NAME=VALUE`."""


def edited_variables(
    before: Mapping[str, bytes | None],
    after: Mapping[str, bytes | None],
    environment: Mapping[str, str],
    running: str = "",
) -> dict[str, str | None]:
    """The variables that the base would have had, where they are other ones.

    What stands in the environment as the head's workflows say was set by them. What the head does not set any
    more is missing only if it was the running workflow that did.

    Args:
        before: contents of workflow files as of the base, by name; None: not there.
        after: the same of the head.
        environment: the variables as they are.
        running: the name of the workflow that runs; empty: none is known.

    Returns:
        Name -> value; None: the base sets none.
    """
    there, here = _literals(before.values()), _literals(after.values())
    edited: dict[str, str | None] = {}
    for name, values in here.items():
        old, now = there.get(name, set()), environment.get(name)
        if now in values and now not in old:
            edited[name] = min(old, default=None)
    gone = _literals([before.get(running)])
    return edited | {
        name: min(values) for name, values in gone.items() if name not in here and name not in environment
    }


def _literals(files: Iterable[bytes | None]) -> dict[str, set[str]]:
    """Variable -> all literal values that it is given anywhere in some workflows."""
    found: dict[str, set[str]] = {}
    for text in files:
        try:
            document = yaml.load(text or b"", Loader=yaml.BaseLoader)  # every scalar as it is written
        except yaml.YAMLError:
            continue
        _collect(document, found)
    return found


def _collect(node: Any, found: dict[str, set[str]]) -> None:  # noqa: ANN401 - any YAML
    if isinstance(node, dict):
        for key, value in node.items():  # pyright: ignore[reportUnknownVariableType]
            if key == _ENV and isinstance(value, dict):
                for name, text in value.items():  # pyright: ignore[reportUnknownVariableType]
                    if isinstance(name, str) and isinstance(text, str) and "${{" not in text:
                        found.setdefault(name, set()).add(text)
            if key == "run" and isinstance(value, str):
                for match in _SET.finditer(value):
                    found.setdefault(match["name"], set()).add(match["value"])
            _collect(value, found)
    elif isinstance(node, list):
        for one in node:  # pyright: ignore[reportUnknownVariableType]
            _collect(one, found)

"""Whether a request or an answer is what GitHub's description says, unknown fields included."""

import re
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator

from tests.gate.github.description import description

_NUMBERS: Final = re.compile(r"\d+")


@cache
def _routes() -> list[tuple[str, re.Pattern[str], str, dict[str, Any]]]:
    """Method, pattern, path as described, operation; literal paths before those with parameters."""
    routes = [
        (method.upper(), re.compile(re.sub(r"\\{[^}]+\\}", "([^/]+)", re.escape(path))), path, operation)
        for path, methods in description()["paths"].items()
        for method, operation in methods.items()
    ]
    return sorted(routes, key=lambda route: route[2].count("{"))


def find(method: str, path: str) -> tuple[str, dict[str, Any], tuple[str, ...]] | None:
    """The operation of a request: its id, its description and what stands in its path."""
    for known, pattern, _, operation in _routes():
        if known == method and (match := pattern.fullmatch(path)):
            return operation["operationId"], operation, match.groups()
    return None


def mistakes_of_request(operation: dict[str, Any], query: dict[str, str], body: Any) -> list[str]:
    """What is wrong with a request; nothing: an empty list."""
    known = {
        _resolved(parameter)["name"]: _resolved(parameter) for parameter in operation.get("parameters", [])
    }
    found = [f"unknown query parameter {name!r}" for name in query if name not in known]
    for name in query.keys() & known.keys():
        value: Any = int(query[name]) if _NUMBERS.fullmatch(query[name]) else query[name]
        schema = _resolved(known[name])["schema"]
        if schema.get("type") == "string":
            value = query[name]
        found += _errors(schema, value, f"query {name}")
    wanted = operation.get("requestBody")
    if wanted is None:
        return found + (["a body is not expected"] if body is not None else [])
    if body is None:
        return found + (["the body is missing"] if wanted.get("required") else [])
    return found + _errors(_closed(wanted["content"]["application/json"]["schema"]), body, "body")


def mistakes_of_answer(operation: dict[str, Any], status: int, body: Any) -> list[str]:
    """What is wrong with an answer of the double itself."""
    answer = operation["responses"].get(str(status))
    if answer is None:
        return [f"status {status} is not described"]
    content = _resolved(answer).get("content", {}).get("application/json")
    return _errors(content["schema"], body, "answer") if content else []


def example(operation: dict[str, Any], status: int) -> Any:
    """What GitHub answers for example."""
    content = _resolved(operation["responses"][str(status)])["content"]["application/json"]
    first = next(iter(content["examples"].values()))
    return _resolved(first)["value"]


def _errors(schema: dict[str, Any], value: Any, where: str) -> list[str]:
    validator = Draft202012Validator({**schema, "components": description()["components"]})
    return [
        f"{where}: {'/'.join(map(str, error.path))} {error.message[:200]}"
        for error in validator.iter_errors(value)
    ]


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        _, _, kind, name = node["$ref"].split("/", 3)
        node = description()["components"][kind][name]
    return node


def _closed(node: Any) -> Any:
    """The same schema, in which an object has no fields that are not described."""
    if isinstance(node, list):
        return [_closed(value) for value in node]
    if not isinstance(node, dict):
        return node
    closed = {key: value if key in {"oneOf", "anyOf"} else _closed(value) for key, value in node.items()}
    if isinstance(closed.get("properties"), dict):
        closed["additionalProperties"] = False
    return closed

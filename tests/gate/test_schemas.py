"""The published JSON Schemas are those of the code."""

import json
import os
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gate.thresholds import json_schema
from gate.verdict import Verdict
from pytest_regression_gate.metrics import Measurement

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def of_struct(struct: type, title: str) -> dict[str, Any]:
    schema = msgspec.json.schema(struct)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_dedented(schema)}


def _dedented(schema: Any) -> Any:
    """Descriptions as Python 3.13 keeps docstrings: without the indentation of the code."""
    if isinstance(schema, dict):
        return {
            key: cleandoc(value) if key == "description" and isinstance(value, str) else _dedented(value)
            for key, value in schema.items()
        }
    return [_dedented(one) for one in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("thresholds", json_schema()),
        ("verdict", of_struct(Verdict, "verdict.json of the regression gate")),
        ("measurement", of_struct(Measurement, "One entry of tests[].metadata.gate.metrics")),
    ],
)
def test_published_schema_is_current(name: str, schema: dict[str, Any]):
    file = SCHEMAS / f"{name}.schema.json"
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("GATE_RENEW_GOLDEN"):
        file.write_text(text)
    assert file.read_text() == text, "renew it with: make golden"

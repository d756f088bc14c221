"""What a test can ask of the services beside it: their processes, and the counters that they tell."""

import os
import re
import urllib.request
from collections.abc import Collection
from typing import Final

_SECONDS: Final = 10.0


def variable_of(kind: str, service: str) -> str:
    """The variable that tells of a service, e.g. `GATE_PORT_MY_API`.

    Args:
        kind: `HOST`, `PORT` or `PID`.
        service: its name in thresholds.yaml.
    """
    return f"GATE_{kind}_{re.sub(r'[^A-Za-z0-9]', '_', service).upper()}"


def service_pid(service: str) -> int:
    """The first process of a service.

    Raises:
        RuntimeError: the gate runs no such service beside this suite.
    """
    variable = variable_of("PID", service)
    if not (pid := os.environ.get(variable, "")):
        raise RuntimeError(
            f"no service {service!r} runs here ({variable} is not set): name it in `needs` of the suite in "
            "thresholds.yaml, and start the suite with `gate run`"
        )
    return int(pid)


def read_counters(url: str, names: Collection[str]) -> dict[str, float]:
    """Counters in Prometheus' text format by name, each summed over its labels.

    Raises:
        OSError: nobody answers.
        ImportError: `prometheus-client` is not installed.
        ValueError: the answer is something else.
    """
    try:
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("measure.counters needs the package prometheus-client; install it") from None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_SECONDS) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    try:
        families = list(text_string_to_metric_families(text))
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{url} tells no metrics in Prometheus' text format: {error}") from None
    for family in families:
        for sample in family.samples:
            if sample.name in names:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found

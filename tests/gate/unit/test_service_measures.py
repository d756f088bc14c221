"""What a test measures of a service beside it: memory and CPU of its processes, and its own counters."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pytest_regression_gate.latency import Turns
from pytest_regression_gate.recorder import Measure
from pytest_regression_gate.services import read_counters, variable_of
from tests.gate.unit.test_processes import written

BUSY = """
import os, sys, time
held = bytearray(60_000_000)
if os.fork() == 0:
    end = time.process_time() + 0.5
    while time.process_time() < end: pass
    open("worked", "w").write("yes")
time.sleep(60)
"""


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    return Measure("t.py::test", tmp_path, Turns(), {})


def values(measure: Measure) -> dict[str, float | None]:
    return {one.name: one.value for one in measure.measurements}


def test_the_processes_of_a_service_are_watched_together(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with subprocess.Popen([sys.executable, "-c", BUSY], cwd=tmp_path, start_new_session=True) as process:
        try:
            monkeypatch.setenv("GATE_PID_MY_API", str(process.pid))
            with measure.resources("api", of="my-api", users=3) as usage:
                assert written(tmp_path / "worked") == "yes"
        finally:
            os.killpg(process.pid, 9)
    assert usage.peak > 60
    assert usage.cpu is not None
    assert usage.cpu > 0, "the worker is a child of it"
    assert values(measure).keys() == {"api.memory.peak", "api.memory.growth", "api.cpu.mean"}


def test_a_service_that_ends_meanwhile_is_an_error(measure: Measure, monkeypatch: pytest.MonkeyPatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        monkeypatch.setenv("GATE_PID_API", str(process.pid))
        with (
            pytest.raises(RuntimeError, match="service 'api' has ended"),
            measure.resources("api", of="api"),
        ):
            process.communicate(b"\n")
    assert not values(measure)


def test_a_service_that_is_not_declared_is_an_error_with_its_remedy(measure: Measure):
    with (
        pytest.raises(
            RuntimeError, match=r"no service 'shop' runs here \(GATE_PID_SHOP is not set\): name it"
        ),
        measure.resources("shop", of="shop"),
    ):
        pass


@contextmanager
def telling(answers: list[str]) -> Generator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers.pop(0).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()


BEFORE = """# TYPE db_queries counter
db_queries_total{table="a"} 3.0
db_queries_total{table="b"} 4.0
other_total 1.0
"""


def test_counters_are_exact_by_how_much_they_grow(measure: Measure):
    after = BEFORE.replace("4.0", "9.0") + "lookups_total 2.0\n"
    with (
        telling([BEFORE, after]) as url,
        measure.counters("api", url, "db_queries_total", "lookups_total", n=1),
    ):
        pass
    assert values(measure) == {"api.db_queries_total": 5, "api.lookups_total": 2}
    assert all(one.exact and one.labels == {"n": "1"} for one in measure.measurements)


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ("x 1\n", "has no counter 'db_queries_total'"),
        (BEFORE.replace("4.0", "2.0"), "a work count is a whole"),
    ],
)
def test_a_counter_that_is_none(measure: Measure, after: str, says: str):
    with (
        telling([BEFORE, after]) as url,
        pytest.raises(ValueError, match=says),
        measure.counters("api", url, "db_queries_total"),
    ):
        pass


def test_no_metrics_at_all():
    with telling([json.dumps({"a": 1})]) as url, pytest.raises(ValueError, match="Prometheus' text format"):
        read_counters(url, ["a"])


def test_a_variable_of_a_service():
    assert variable_of("PORT", "my-api.v2") == "GATE_PORT_MY_API_V2"

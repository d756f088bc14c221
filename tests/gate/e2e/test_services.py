"""Services that the policy declares: each side has its own, so a change in one is seen and judged."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import git
from tests.gate.e2e.test_own_base import IGNORED, commit, judged, of, states, write

RULES = """version: 1
services:
  store:
    run: python store.py
    env: {FILE: $GATE_DIR/prices.db}
    prepare: python migrate.py
  shop:
    run: python shop.py
    ready: http://127.0.0.1:$GATE_PORT/health
    env: {STORE: "$GATE_PORT_STORE", TOKEN: $SHOP_TOKEN}
    after: [store]
suites:
  api: {run: pytest -q tests -p no:cacheprovider, needs: [shop]}
defaults: {budget: 60 s}
metrics:
  "*.p50": {tolerance: 60 %}
  "*.cpu": {tolerance: off}
  "*.p95": {tolerance: off}
"""
HTTP = """
import http.server, os

def serve(answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536
        def do_GET(self):
            body = str(answer(self.path)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *arguments): pass
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["GATE_PORT"])), Handler).serve_forever()
"""
STORE = """
import os, sqlite3
from web import serve

def price(path):
    with sqlite3.connect(os.environ["FILE"]) as data:
        return data.execute("select price from prices where name = 'rent'").fetchone()[0]

serve(price)
"""
MIGRATE = """
import os, sqlite3
with sqlite3.connect(os.environ["FILE"]) as data:
    data.execute("create table prices (name text, price integer)")
    data.execute("insert into prices values ('rent', 1200)")
"""
SHOP = """
import os, urllib.request
from web import serve

def answer(path):
    if path == "/health":
        return "ok"
    sum(range(60_000))
    price = urllib.request.urlopen(f"http://127.0.0.1:{os.environ['STORE']}/", timeout=9).read()
    return int(price) + 100

serve(answer)
"""
TESTS = """
import os, urllib.request, pytest

@pytest.fixture
def get():
    def fetch(path):
        address = f"http://127.0.0.1:{os.environ['GATE_PORT']}{path}"
        with urllib.request.urlopen(address, timeout=9) as answer:
            return answer.read().decode()
    return fetch

def test_price(get, measure):
    assert measure("shop.price", lambda: get("/price")) == "1300"

def test_health(get):
    assert get("/health") == "ok"
"""
FILES = {
    "thresholds.yaml": RULES, ".gitignore": IGNORED, "pytest.ini": "[pytest]\n", "web.py": HTTP,
    "store.py": STORE, "migrate.py": MIGRATE, "shop.py": SHOP, "tests/test_a.py": TESTS,
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SHOP_TOKEN", f"sesame-{uuid4()}")
    write(tmp_path, FILES)
    git(tmp_path, "init", "-q", "-b", "main")
    project = Project(tmp_path)
    commit(project)
    return project


def changed(project: Project, name: str, before: str, after: str) -> None:
    text = (project.root / name).read_text()
    assert before in text
    write(project.root, {name: text.replace(before, after)})
    commit(project)


def left() -> list[str]:
    """What still runs of the services of this test."""
    found: list[str] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("SHOP_TOKEN") == os.environ["SHOP_TOKEN"]:
                found.append(" ".join(process.cmdline()))
    return found


def test_the_slower_service_is_blamed_and_nothing_else(project: Project):
    changed(project, "shop.py", "60_000", "900_000")
    code, verdict, text = judged(project)
    assert code == 1, text
    assert [one["subject"] for one in of(verdict, "regression")] == ["shop.price.p50"], text
    assert states(verdict) == {"shop.py": "seen"}
    assert "sesame-" not in text + json.dumps(verdict) + "".join(
        file.read_text(errors="replace") for file in (project.root / ".gate").iterdir() if file.is_file()
    )


def test_a_wrong_answer_of_a_service_behind_the_service_is_a_new_failure(project: Project):
    changed(project, "store.py", "fetchone()[0]", "fetchone()[0] * 2")
    code, verdict, text = judged(project)
    assert code == 1, text
    (failure,) = of(verdict, "new-failure")
    assert failure["subject"] == "tests/test_a.py::test_price"
    assert re.search(r"\b0 of [123] on the base", failure["message"])
    assert states(verdict) == {"store.py": "seen"}


@pytest.mark.parametrize(
    ("name", "before", "after", "says"),
    [
        ("migrate.py", "create table", "creat table",
         "'store' failed: its prepare command ended with exit code 1: sqlite3.OperationalError: "),
        ("shop.py", "import os,", "import os, nothing_such,",
         "'shop' ended with exit code 1 before it was ready: ModuleNotFoundError: No module"),
        ("shop.py", "sum(range(60_000))", "os._exit(7)", "'shop' ended with exit code 7 while the suite ran"),
    ],
    ids=["migration", "start", "request"],
)  # fmt: skip
def test_a_service_that_cannot_be_used_is_an_error_with_its_cause(
    project: Project, name: str, before: str, after: str, says: str
):
    changed(project, name, before, after)
    code, _, text = judged(project)
    assert code == 4, text
    assert f"cannot run: service {says}" in text
    assert not left()


@pytest.mark.long
def test_a_change_that_no_service_reaches_is_inert(project: Project):
    write(project.root, {"other.py": "x = 1\n"})
    commit(project)
    changed(project, "other.py", "1", "2")
    code, verdict, text = judged(project)
    assert code == 0, text
    assert states(verdict) == {"other.py": "inert"}
    assert not left()

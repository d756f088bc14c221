"""The base beside the head is the base: what both sides would share clears and excuses nothing.

Each test is a change that breaks a function. History alone is red; so must the comparison be.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.gate.e2e.conftest import Project
from tests.gate.e2e.test_confirm import git

RULES = "version: 1\nsuites: {api: {run: pytest -q tests}}\ndefaults: {budget: 20 s, confirm: suspects}\n"
IGNORED = ".gate\n__pycache__\nverdict.json\n"
OK = "import shop\n\ndef test_ok():\n    assert shop.ok()\n\ndef test_other():\n    pass\n"
Files = Mapping[str, str]


def write(root: Path, files: Files) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def commit(project: Project, message: str = "change") -> None:
    git(project.root, "add", "--all")
    git(project.root, "commit", "-q", "-m", message)


def accepted(root: Path, files: Files) -> Project:
    """A project with an accepted run in its newest commit."""
    write(root, {"thresholds.yaml": RULES, ".gitignore": IGNORED, "pytest.ini": "[pytest]\n", **files})
    git(root, "init", "-q", "-b", "main")
    project = Project(root)
    commit(project)
    assert project.gate("run").code == 0, (root / ".gate/api.log").read_text()
    assert project.gate("baseline", "update").code == 0
    commit(project, "accept")
    return project


def judged(project: Project, base: str = "HEAD~1") -> tuple[int, dict[str, Any], str]:
    project.gate("run")
    result = project.gate("check", "--base", base, "--json", "verdict.json")
    return result.code, json.loads((project.root / "verdict.json").read_text()), result.text


def of(verdict: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [finding for finding in verdict["findings"] if finding["kind"] == kind]


def states(verdict: dict[str, Any]) -> dict[str, str]:
    return {one["what"]: one["state"] for one in verdict["account"]["differences"]}


SHOP = "def ok():\n    return %s\n"
CONFTEST = "import sys\nsys.path.insert(0, %r)\n"


@pytest.mark.long
def test_code_below_docs_is_code(tmp_path: Path):
    test = CONFTEST % "docs" + OK
    project = accepted(tmp_path, {"docs/shop.py": SHOP % "True", "tests/test_a.py": test})
    write(tmp_path, {"docs/shop.py": SHOP % "not True"})
    commit(project)
    code, verdict, text = judged(project)
    assert code == 1, text
    assert re.search(r"\b0 of [123] on the base", of(verdict, "new-failure")[0]["message"])
    assert states(verdict) == {"docs/shop.py": "seen"}


SERVICE = """
import http.server, sys, shop
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(shop.ok()).encode())
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
open(sys.argv[1], "w").write(str(server.server_port))
server.serve_forever()
"""
CLIENT = """
import os, urllib.request

def test_ok():
    address = f"http://127.0.0.1:{os.environ['SHOP_PORT']}"
    assert urllib.request.urlopen(address, timeout=5).read() == b"True"
"""


@contextmanager
def service(root: Path, place: Path) -> Generator[str]:
    """The project's service, started outside its tests, as a workflow does it; its port."""
    place.unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, "service.py", str(place)], cwd=root) as process:
        try:
            for _ in range(400):
                if place.exists() and place.read_text():
                    break
                time.sleep(0.05)
            yield place.read_text()
        finally:
            process.kill()


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_service_outside_excuses_nothing_unless_the_policy_says_so(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, *, shared: bool
):
    place = tmp_path_factory.mktemp("service") / "port"
    files = {"shop.py": SHOP % "True", "service.py": SERVICE, "tests/test_a.py": CLIENT}
    write(tmp_path, files)
    with service(tmp_path, place) as port:
        monkeypatch.setenv("SHOP_PORT", port)
        project = accepted(tmp_path, files)
    write(tmp_path, {"shop.py": SHOP % "not True"})
    commit(project)
    with service(tmp_path, place) as port:
        monkeypatch.setenv("SHOP_PORT", port)
        if shared:
            write(tmp_path, {"thresholds.yaml": f"{RULES}shared: localhost:{port}\n"})
            git(tmp_path, "commit", "-qam", "rules")
            git(tmp_path, "rebase", "-q", "--onto", "HEAD~2", "HEAD~1", "main")
            write(tmp_path, {"shop.py": SHOP % "not True"})
            commit(project)
        code, verdict, text = judged(project)
    if shared:
        assert (code, of(verdict, "unaccounted")) == (0, []), text
        assert of(verdict, "known-failure")
        return
    assert code == 1, text
    (failure,) = of(verdict, "new-failure")
    assert f"base and head may share 127.0.0.1:{port}" in failure["message"]
    (said,) = of(verdict, "unaccounted")
    assert said["subject"] == f"127.0.0.1:{port}"
    assert "service.py" in said["message"]
    assert "the change edits shop.py" in said["message"]


def test_a_variable_of_the_workflow_has_its_old_value_on_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    flow = ".github/workflows/gate.yml"
    text = (
        "on: push\njobs:\n  gate:\n    runs-on: ubuntu-latest\n    env: {SHOP: '%s'}\n"
        "    steps: [{run: gate run}]\n"
    )
    test = "import os\n\ndef test_ok():\n    assert os.environ['SHOP'] == 'open'\n"
    monkeypatch.setenv("SHOP", "open")
    project = accepted(tmp_path, {flow: text % "open", "tests/test_a.py": test})
    monkeypatch.setenv("SHOP", "closed")
    write(tmp_path, {flow: text % "closed"})
    commit(project)
    code, verdict, shown = judged(project)
    assert code == 1, shown
    assert re.search(r"\b0 of [123] on the base", of(verdict, "new-failure")[0]["message"])
    assert states(verdict)["SHOP: 'open' → 'closed'"] == "seen"


@pytest.mark.parametrize(
    ("event", "base"),
    [("workflow_dispatch", "HEAD"), pytest.param("push", "HEAD~1", marks=pytest.mark.long)],
)
def test_what_was_merged_in_spite_of_a_red_check_stays_red_on_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str, base: str
):
    """The base of a branch is what was accepted: neither its newest commit nor the one before."""
    files = {"shop.py": SHOP % "True", "tests/test_a.py": CONFTEST % "." + OK}
    project = accepted(tmp_path, files)
    write(tmp_path, {"shop.py": SHOP % "not True"})
    commit(project, "merged in spite of a red check")
    write(tmp_path, {"README.md": "Words.\n"})
    commit(project, "the next push")
    monkeypatch.setenv("GITHUB_EVENT_NAME", event)
    code, verdict, text = judged(project, base)
    assert code == 1, text
    assert of(verdict, "new-failure")
    refused = project.gate("baseline", "update", "--verdict", "verdict.json")
    assert refused.code == 1
    assert "not accepted:" in refused.text
    assert judged(project, base)[0] == 1


@pytest.mark.long
def test_a_test_that_was_accepted_passing_and_fails_on_the_base_is_told(tmp_path: Path):
    """Something else than this change: it neither fails nor goes unsaid."""
    outside = tmp_path.parent / f"{tmp_path.name}-weather"
    outside.write_text("sun")
    test = f"def test_ok():\n    assert open({str(outside)!r}).read() == 'sun'\n"
    project = accepted(tmp_path, {"shop.py": SHOP % "True", "tests/test_a.py": test})
    outside.write_text("rain")
    write(tmp_path, {"shop.py": "def ok():\n    return 1\n"})
    commit(project)
    code, verdict, text = judged(project)
    assert code == 0, text
    (known,) = of(verdict, "known-failure")
    assert known["level"] == "warn"
    assert known["message"].startswith("fails on the base too")
    assert "1 failure on the base too" in text


GENERATED = {
    "shop/__init__.py": "from ._version import number\ndef ok():\n    return %s\n",
    "shop/_version.py": "number = 1\n",
    ".gitignore": f"{IGNORED}_version.py\n",
    "tests/test_a.py": CONFTEST % "." + OK,
}


@pytest.mark.parametrize("prepared", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_git_ignores_is_missing_at_the_base_and_prepare_makes_it(tmp_path: Path, *, prepared: bool):
    prepare = ", prepare: \"echo 'number = 1' > shop/_version.py\"" if prepared else ""
    rules = RULES.replace("tests}", f"tests{prepare}}}")
    files = {
        **GENERATED,
        "shop/__init__.py": GENERATED["shop/__init__.py"] % "True",
        "thresholds.yaml": rules,
    }
    project = accepted(tmp_path, files)
    write(tmp_path, {"shop/__init__.py": GENERATED["shop/__init__.py"] % "not True"})
    commit(project)
    code, verdict, text = judged(project)
    assert code == 1, text
    (failure,) = of(verdict, "new-failure")
    if prepared:
        assert re.search(r"\b0 of [123] on the base", failure["message"])
        return
    (said,) = of(verdict, "unaccounted")
    assert said["subject"] == "shop/_version.py"
    assert "No module named 'shop._version' (shop/__init__.py:1)" in said["message"]
    assert "prepare:" in said["remedy"]


BINDING = """
import socket, pytest, shop

@pytest.fixture(scope="session")
def server():
    with socket.socket() as held:
        held.bind(("127.0.0.1", {port}))
        held.listen()
        yield

def test_ok(server):
    assert shop.ok()
"""


def free_port() -> int:
    """A port that nobody has now, below those that are given by chance."""
    used = {found.laddr.port for found in psutil.net_connections("tcp") if found.laddr}
    return next(port for port in range(20_000 + os.getpid() % 9_000, 32_000) if port not in used)


@pytest.mark.long
def test_sides_that_want_the_same_port_run_one_after_the_other(tmp_path: Path):
    test = CONFTEST % "." + BINDING.format(port=free_port())
    project = accepted(tmp_path, {"shop.py": SHOP % "True", "tests/test_a.py": test})
    write(tmp_path, {"shop.py": SHOP % "not True"})
    commit(project)
    code, verdict, text = judged(project)
    assert code == 1, text
    assert re.search(r"\b0 of [123] on the base", of(verdict, "new-failure")[0]["message"])
    assert any("one after the other" in finding["message"] for finding in of(verdict, "environment"))


def version(root: Path) -> None:
    write(root, {"pyproject.toml": '[project]\nname = "shop"\nversion = "2"\n'})


HARMLESS: dict[str, Callable[[Path], None]] = {
    "version": version,
    "readme": lambda root: write(
        root, {"README.md": "Words.\n", "CHANGELOG.md": "- more\n", "LICENSE": "MIT\n"}
    ),
    "workflow": lambda root: write(root, {".github/workflows/lint.yml": "on: push\njobs: {}\n"}),
    "comment": lambda root: write(root, {"shop.py": "# a remark\n" + SHOP % "True"}),
    "unused": lambda root: write(root, {"new.py": "def unused():\n    pass\n"}),
    "tests": lambda root: write(root, {"tests/test_new.py": "def test_new():\n    pass\n"}),
    "docker": lambda root: write(root, {"Dockerfile": "FROM scratch\nLABEL a=b\n"}),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) for name in HARMLESS])
def test_a_harmless_change_keeps_its_excuse(tmp_path: Path, name: str):
    """A test that fails on the base as well, for a reason outside, is excused as ever."""
    outside = tmp_path.parent / f"{tmp_path.name}-weather"
    outside.write_text("sun")
    test = CONFTEST % "." + OK + f"\ndef test_sun():\n    assert open({str(outside)!r}).read() == 'sun'\n"
    first = {"shop.py": SHOP % "True", "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n'}
    project = accepted(tmp_path, {**first, "tests/test_a.py": test})
    outside.write_text("rain")
    HARMLESS[name](tmp_path)
    commit(project)
    code, verdict, text = judged(project)
    assert code == 0, text
    assert [finding["kind"] for finding in verdict["findings"] if finding["level"] == "fail"] == []
    assert of(verdict, "known-failure")
    assert of(verdict, "unaccounted") == []


BY_C = """
import ctypes

def test_ok():
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = libc.fopen({path}, b"r")
    text = ctypes.create_string_buffer(9)
    libc.fgets(text, 9, ctypes.c_void_p(file))
    assert text.value == b"1"
"""


@pytest.mark.long
@pytest.mark.parametrize("relative", [True, False])
def test_a_file_that_c_code_opens_is_seen_or_unaccounted_for(tmp_path: Path, *, relative: bool):
    path = b"prices.txt" if relative else str(tmp_path / "prices.txt").encode()
    project = accepted(tmp_path, {"prices.txt": "1", "tests/test_a.py": BY_C.format(path=path)})
    write(tmp_path, {"prices.txt": "2"})
    commit(project)
    code, verdict, text = judged(project)
    assert code == 1, text
    assert states(verdict) == {"prices.txt": "seen" if relative else "unaccounted"}
    (failure,) = of(verdict, "new-failure")
    told = "0 of" if relative else "base and head may share prices.txt"
    assert told in failure["message"]


HIDDEN = """
import subprocess, sys
import shop

def test_ok():
    code = "import sys; sys.path.insert(0, {root!r}); import shop; print(shop.ok())"
    assert subprocess.check_output([sys.executable, "-S", "-c", code], env={env}, text=True) == "True\\n"
"""


@pytest.mark.parametrize("env", ["{{}}", pytest.param("None", marks=pytest.mark.long)])
def test_a_python_that_tells_nothing_is_watched(tmp_path: Path, env: str):
    """The test itself loads its own side's code; what its child loads is the head's on both."""
    test = CONFTEST % "." + HIDDEN.format(root=str(tmp_path), env=env.format())
    project = accepted(tmp_path, {"shop.py": SHOP % "True", "tests/test_a.py": test})
    write(tmp_path, {"shop.py": SHOP % "False"})
    commit(project)
    code, verdict, text = judged(project)
    assert (code, states(verdict)) == (1, {"shop.py": "unaccounted"}), text


@pytest.mark.parametrize("broken", [False, pytest.param(True, marks=pytest.mark.long)])
def test_submodules_are_there_on_both_sides(tmp_path: Path, *, broken: bool):
    """A test that fails for a reason outside is excused; what the submodule's new commit broke is not."""
    library, outside = tmp_path / "library", tmp_path / "weather"
    outside.write_text("sun")
    write(library, {"shop.py": SHOP % "True"})
    git(library, "init", "-q", "-b", "main")
    commit(Project(library))
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "libs")
    test = CONFTEST % "libs" + OK + f"\ndef test_sun():\n    assert open({str(outside)!r}).read() == 'sun'\n"
    project = accepted(root, {"tests/test_a.py": test})
    if broken:
        write(root / "libs", {"shop.py": SHOP % "False"})
        commit(Project(root / "libs"))
    else:
        outside.write_text("rain")
        write(root, {"README.md": "words"})
    commit(project)
    code, verdict, text = judged(project)
    assert code == int(broken), text
    assert of(verdict, "unaccounted") == []
    assert states(verdict)["libs/shop.py" if broken else "README.md"] == ("seen" if broken else "inert")


ELSEWHERE = """
import os, pytest, shop

@pytest.mark.parametrize("name", ["a\\u2028b"])
def test_ok(measure, name):
    if "GATE_LOCKSTEP" in os.environ and SKIPS:
        pytest.skip("only among the others")
    assert measure("shop.ok", shop.ok)
"""


@pytest.mark.parametrize("skips", [True, False])
def test_a_test_that_measures_nothing_in_the_comparison_is_no_witness(tmp_path: Path, *, skips: bool):
    """As one does that needs several workers, or names its operation after one."""
    test = ELSEWHERE.replace("SKIPS", str(skips))
    rules = RULES.replace(", confirm: suspects", "")
    escaped = "[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n"
    write(tmp_path, {
        "thresholds.yaml": rules, ".gitignore": IGNORED, "pytest.ini": f"{escaped}pythonpath = .\n",
        "shop.py": "def ok():\n    return sum(range(3000)) > 0\n", "tests/test_a.py": test,
    })  # fmt: skip
    git(tmp_path, "init", "-q", "-b", "main")
    project = Project(tmp_path)
    commit(project)
    write(tmp_path, {"shop.py": "def ok():\n    return sum(range(30_000)) > 0\n"})
    commit(project)
    code, verdict, text = judged(project)
    if not skips:
        assert code == 1, text
        return
    assert code == 3, text
    [said] = of(verdict, "unaccounted")
    assert said["message"].startswith("in the comparison this test does not measure shop.ok: it is skipped")

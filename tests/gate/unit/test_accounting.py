"""What a look says of each difference between base and head."""

from dataclasses import replace
from pathlib import Path

import pytest

from gate.accounts import Account, Difference, Reached, merged
from gate.confirm.accounting import Scene, account
from gate.confirm.observe import Look, Observed
from gate.sides.environments import Equipped, Replaced
from gate.sides.footprints import Footprint, Peer, Process, footprint
from gate.sides.side import Side
from pytest_regression_gate.observer import _program  # pyright: ignore[reportPrivateUsage]

TOP, TREE = Path("/work"), Path("/tmp/base")
BASE = Side("base", TREE, Path("/tmp/s"), TOP, TREE)
HEAD = Side("head", TOP, Path("/tmp/s"), TOP, TOP)
A, B = "tests/test_a.py::test_a", "tests/test_a.py::test_b"
SITE = "/env/lib/python3.12/site-packages"


def observed(tree: Path, files: dict[str, int] | None = None, **more: object) -> Observed:
    """A side that ran two tests and opened some files; a number says from which test on."""
    reached = {
        name if name.startswith("/") else str(tree / name): since for name, since in (files or {}).items()
    }
    found = Footprint(tests={A: 1, B: 2}, files=reached)
    for name, value in more.items():
        setattr(found, name, value)
    return Observed(found)


def scene(base: Observed, head: Observed, *names: str, **more: object) -> Scene:
    equipped = Equipped(
        (BASE, HEAD),
        **{k: more.pop(k) for k in ("replaced", "differences", "prefix", "projects") if k in more},
    )
    known = {key: more.pop(key) for key in ("listening", "foreign", "watched", "workers") if key in more}
    look = Look(base, head, **known)
    return Scene(look, equipped, names, more.pop("same_code", lambda _: False), **more)


def told(found: Account) -> dict[str, str]:
    return {one.what: one.state for one in found.differences}


def test_a_file_that_each_side_opens_in_its_own_tree_is_seen():
    found = account(scene(observed(TREE, {"a.py": 0}), observed(TOP, {"a.py": 0}), "a.py"), [A, B])
    assert told(found) == {"a.py": "seen"}
    assert found.tests[A] == Reached(touched=True, seen=(0,))
    assert not found.untouched(A)


def test_a_file_that_no_test_opens_is_inert_and_the_tests_are_untouched():
    found = account(scene(observed(TREE), observed(TOP), "docs/a.py"), [A])
    assert told(found) == {"docs/a.py": "inert"}
    assert found.untouched(A)


def test_what_a_later_test_loads_does_not_touch_those_before_it():
    found = account(scene(observed(TREE, {"b.py": 2}), observed(TOP, {"b.py": 2}), "b.py"), [A, B])
    assert found.untouched(A)
    assert not found.untouched(B)


def test_a_base_that_opens_the_heads_file_is_unaccounted_for():
    found = account(scene(observed(TREE, {"/work/a.py": 2}), observed(TOP, {"a.py": 0}), "a.py"), [A, B])
    assert told(found) == {"a.py": "unaccounted"}
    assert [one.what for one in found.unaccounted(B)] == ["a.py"]


def test_a_program_that_opens_the_heads_file_counts_for_all_tests():
    look = {"foreign": frozenset({"/work/a.so"})}
    found = account(scene(observed(TREE), observed(TOP, {"a.so": 2}), "a.so", **look), [A])
    assert told(found) == {"a.so": "unaccounted"}
    assert found.unaccounted(A)


def test_a_test_that_did_not_run_and_one_beside_an_opaque_program_are_not_untouched():
    one = scene(observed(TREE), observed(TOP), "a.py")
    assert not account(one, ["tests/test_a.py::test_gone"]).untouched("tests/test_a.py::test_gone")
    opaque = scene(observed(TREE), observed(TOP, children={"/work/run.sh": 0}), "a.py")
    assert not account(opaque, [A]).untouched(A)
    harmless = scene(observed(TREE), observed(TOP, children={"/usr/bin/git": 0}), "a.py")
    assert account(harmless, [A]).untouched(A)


@pytest.mark.parametrize(
    ("base", "head", "state"),
    [
        ("/overlay/lib/python3.12/site-packages/dep/x.py", f"{SITE}/dep/x.py", "seen"),
        (f"{SITE}/dep/x.py", f"{SITE}/dep/x.py", "unaccounted"),
        (f"{SITE}/dep-2.dist-info/METADATA", f"{SITE}/dep-2.dist-info/METADATA", "inert"),
        (f"{SITE}/other/x.py", f"{SITE}/other/x.py", "inert"),
        ("/deps/dep/x.py", "/deps/dep/x.py", "unaccounted"),
        (f"{SITE}/dep/x.py", "/deps/dep/x.py", "seen"),
        ("/elsewhere/dep/x.py", "/elsewhere/dep/x.py", "inert"),
    ],
)
def test_a_distribution_is_seen_where_each_side_loads_its_own(base: str, head: str, state: str):
    dep = Replaced("dep", "1", "2", frozenset({"dep", "dep-2.dist-info"}), roots=frozenset({SITE, "/deps"}))
    found = account(scene(observed(TREE, {base: 1}), observed(TOP, {head: 1}), replaced=(dep,)), [A])
    assert told(found) == {"dep 1 → 2": state}
    assert bool(found.unaccounted(A)) is (state == "unaccounted")


def test_a_distribution_that_could_not_be_replaced_is_unaccounted_for_where_it_is_loaded():
    dep = Replaced("dep", "1", "2", frozenset({"dep"}), "no release fits")
    sides = observed(TREE, {f"{SITE}/dep/x.py": 1}), observed(TOP, {f"{SITE}/dep/x.py": 1})
    (one,) = account(scene(*sides, replaced=(dep,)), [A]).differences
    assert (one.state, one.why) == ("unaccounted", "no release fits")
    (one,) = account(scene(observed(TREE), observed(TOP), replaced=(dep,)), [A]).differences
    assert one.state == "inert"


SERVICE = Peer("127.0.0.1", "8000", listening=True, pid="0", command="python svc/app.py")
REMOTE = Peer("8.8.8.8", "8000", listening=True, pid="0")
BESIDE = Peer("192.0.2.7", "9", listening=False)


def talking(peer: Peer, *names: str, **more: object) -> Account:
    peers = {peer: 1}
    more.setdefault("listening", frozenset({peer.port}))
    return account(scene(observed(TREE, peers=peers), observed(TOP, peers=peers), *names, **more), [A])


def test_a_service_that_the_tests_did_not_start_is_unaccounted_for():
    (_, one) = talking(SERVICE, "svc/app.py").differences
    assert (one.kind, one.what, one.state) == ("service", "127.0.0.1:8000", "unaccounted")
    assert "python svc/app.py" in one.why
    assert "the change edits svc/app.py" in one.why
    assert "shared:" in one.remedy


@pytest.mark.parametrize(
    "names",
    [
        ("README.md",), ("docs/a.rst",), (".github/workflows/lint.yml",),
        ("tests/test_a.py",), ("LICENSE",),
        ("pyproject.toml",), ("uv.lock",), ("requirements-dev.txt",),
        (".pre-commit-config.yaml",), (".gitignore",),
    ],
)  # fmt: skip
def test_a_service_does_not_run_prose_tests_or_manifests(names: tuple[str, ...]):
    assert "127.0.0.1:8000" not in told(talking(SERVICE, *names))


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("tests/server.py", True),
        ("serve.sh", True),
        ("Makefile", True),
        (".github/scripts/server.py", True),
        ("rates.jsonl", True),
        ("tests/test_b.py", False),
        ("mkdocs.yml", False),
        ("docs/a.txt", False),
        ("requirements.txt", False),
        (".github/workflows/lint.yml", False),
        ("tests/baseline/linux-2c-py3.12/api.jsonl", False),
    ],
)
def test_what_a_service_could_run_is_code_wherever_it_lies(name: str, *, matters: bool):
    assert ("127.0.0.1:8000" in told(talking(SERVICE, name))) is matters
    if not matters:
        named = replace(SERVICE, command=f"python {name}")
        assert "127.0.0.1:8000" in told(talking(named, name))


def test_a_list_for_developers_is_nothing_that_a_service_runs():
    for file, matters in (("requirements-dev.txt", False), ("requirements.txt", True)):
        dep = Replaced("dep", "1", "2", frozenset({"dep"}), file=file)
        sides = (observed(TREE), observed(TOP))
        for side in sides:
            side.footprint.peers[SERVICE] = 1
        found = account(scene(*sides, replaced=(dep,), listening=frozenset({"8000"})), [A])
        assert ("127.0.0.1:8000" in told(found)) is matters


def test_a_service_does_not_matter_where_only_comments_differ():
    assert "127.0.0.1:8000" not in told(talking(SERVICE, "svc/app.py", same_code=lambda _: True))


@pytest.mark.parametrize("shared", ["127.0.0.1:8000", "localhost:8000", ":8000", "8000"])
def test_the_policy_calls_a_service_shared(shared: str):
    assert "127.0.0.1:8000" not in told(talking(SERVICE, "svc/app.py", shared=(shared,)))


def test_a_service_of_the_side_itself_one_that_came_later_and_one_elsewhere_are_no_peers():
    base, head = replace(SERVICE, side="base"), replace(SERVICE, side="head")
    sides = observed(TREE, peers={base: 1}), observed(TOP, peers={head: 1})
    assert told(account(scene(*sides, "a.py", listening=frozenset({"8000"})), [A])) == {"a.py": "inert"}
    assert told(talking(SERVICE, "a.py", listening=frozenset())) == {"a.py": "inert"}
    assert told(talking(REMOTE, "a.py")) == {"a.py": "inert"}


def test_a_service_beside_the_container_of_the_tests_may_be_built_from_the_change():
    assert told(talking(BESIDE, "svc/app.py"))["192.0.2.7:9"] == "unaccounted"


def test_what_a_program_that_tells_nothing_opens_is_known_where_files_are_watched():
    dep = Replaced("dep", "1", "2", frozenset({"dep"}), roots=frozenset({SITE}))
    base = observed(TREE, children={"/env/bin/python without the gate's variables": 1})
    (one,) = account(scene(base, observed(TOP), replaced=(dep,), watched=False), [A]).differences
    assert (one.state, "without the gate's variables" in one.why) == ("unaccounted", True)
    (one,) = account(scene(base, observed(TOP), replaced=(dep,)), [A]).differences
    assert one.state == "inert"
    foreign = frozenset({f"{SITE}/dep/x.py"})
    (one,) = account(scene(base, observed(TOP), replaced=(dep,), foreign=foreign), [A]).differences
    assert (one.state, f"{SITE}/dep/x.py" in one.why) == ("unaccounted", True)


def test_a_test_that_failed_while_it_was_looked_at_is_not_untouched():
    head = replace(observed(TOP), failed=frozenset({A}))
    assert not account(scene(observed(TREE), head, "a.py"), [A]).untouched(A)


def test_built_files_that_both_sides_have_of_their_own_are_seen(tmp_path: Path):
    base, head = replace(BASE, tree=tmp_path / "base"), replace(HEAD, tree=tmp_path / "head")
    for side, text in ((base, "1"), (head, "2")):
        side.tree.mkdir()
        (side.tree / "fast.so").write_text(text)
    sides = observed(base.tree, {"fast.so": 0}), observed(head.tree, {"fast.so": 0})
    one = scene(*sides, "src/fast.c", ignored=("fast.so",))
    found = account(replace(one, equipped=replace(one.equipped, sides=(base, head))), [A])
    assert told(found) == {"src/fast.c": "inert", "fast.so": "seen"}
    assert not found.untouched(A)


def test_a_base_without_the_test_has_nothing_to_clear():
    found = account(scene(Observed(empty=True), observed(TOP), "tests/test_a.py"), [A])
    assert told(found) == {"tests/test_a.py": "inert"}


def test_the_server_of_the_other_side_is_unaccounted_for():
    peer = replace(SERVICE, side="head")
    sides = observed(TREE, peers={peer: 1}), observed(TOP, peers={peer: 1})
    assert told(account(scene(*sides, "a.py"), [A]))["127.0.0.1:8000"] == "unaccounted"


def test_a_database_is_shared_unless_its_image_or_its_migrations_are_edited():
    store = Peer("unix", "/run/postgresql/.s.PGSQL.5432", listening=True, pid="1")
    assert told(talking(store, "app.py")) == {"app.py": "inert"}
    assert told(talking(store, "app.py", images=("postgres:17",)))[store.port] == "unaccounted"
    assert told(talking(store, "db/migrations/2.py"))[store.port] == "unaccounted"
    peers, files = {store: 1}, {"db/migrations/2.py": 0}
    sides = observed(TREE, peers=peers), observed(TOP, files, peers=peers)
    seen = account(scene(*sides, "db/migrations/2.py", listening=frozenset({store.port})), [A])
    assert told(seen) == {"db/migrations/2.py": "seen"}, "the tests migrate a database of their own"


def test_programs_that_act_elsewhere_are_named():
    head = observed(TOP, children={"/usr/bin/docker": 1})
    assert told(account(scene(observed(TREE), head, "app.py"), [A]))["docker"] == "unaccounted"
    assert told(account(scene(observed(TREE), head, "README.md"), [A])) == {"README.md": "inert"}


def test_a_file_outside_that_this_job_wrote_is_named_where_the_change_may_have_said_so():
    path = "/cache/model.bin"
    sides = observed(TREE, outside={path: 1}), observed(TOP, outside={path: 1})
    written = {"written_since": lambda one: one == path}
    assert told(account(scene(*sides, "models.lock", **written), [A]))[path] == "unaccounted"
    assert told(account(scene(*sides, "models.lock"), [A])) == {"models.lock": "inert"}
    opened = observed(TREE, {"app.py": 0}, outside={path: 1}), observed(TOP, {"app.py": 0}, outside={path: 1})
    assert told(account(scene(*opened, "app.py", **written), [A])) == {"app.py": "seen"}


def test_an_ignored_file_that_the_base_lacks_is_named_with_what_stopped_it():
    base = Observed(Footprint(errors=[(f"{TREE}/shop.py:1", "ModuleNotFoundError: no _version")]))
    head = observed(TOP, {"_version.py": 0, ".cache/x": 0, "unused.so": 0})
    found = account(scene(base, head, "shop.py", ignored=("_version.py", ".cache/x")), [A])
    one = next(one for one in found.differences if one.what == "_version.py")
    assert one.state == "unaccounted"
    assert one.why.endswith("and stopped: ModuleNotFoundError: no _version (shop.py:1)")
    assert ".cache/x" not in told(found)


def test_a_base_that_stopped_for_no_known_reason_is_named():
    base = Observed(Footprint(), problem="the base side ended with exit code 4:\nE   ValueError: x")
    (*_, one) = account(scene(base, observed(TOP), "a.py"), [A]).differences
    assert (one.what, one.state) == ("base", "unaccounted")
    assert "ValueError: x" in one.why


def test_a_side_that_tells_nothing_is_unaccounted_for():
    found = account(scene(Observed(), observed(TOP), "a.py"), [A])
    assert told(found) == {"a.py": "inert", "tests of the base": "unaccounted"}
    assert account(scene(Observed(), Observed()), [A]).differences == (), "nothing differs"


def test_a_test_whose_file_the_base_lacks_has_nothing_to_be_cleared(tmp_path: Path):
    (tmp_path / "head/tests").mkdir(parents=True)
    (tmp_path / "head/tests/test_a.py").write_text("")
    stopped = Observed(Footprint(), problem="the base side ended with exit code 4")
    one = scene(stopped, observed(TOP), "tests/test_a.py")
    sides = replace(BASE, root=tmp_path / "base"), replace(HEAD, root=tmp_path / "head")
    found = account(replace(one, equipped=replace(one.equipped, sides=sides)), [A])
    assert found.unaccounted(A) == ()
    assert not found.untouched(A)


def test_accounts_of_several_suites_are_one():
    first = Account((Difference("file", "a", "seen"),), {A: Reached(touched=True, seen=(0,))})
    other = Account(
        (Difference("service", "b", "unaccounted"),), {B: Reached(touched=True, unaccounted=(0,))}
    )
    both = merged([first, other])
    assert [one.what for one in both.differences] == ["a", "b"]
    assert [one.what for one in both.unaccounted(B)] == ["b"]
    assert [one.what for one in both.seen(A, "file")] == ["a"]


# Footprints.


def test_notes_are_read_by_process_and_test():
    lines = [
        "7\tprocess\t1\t/env/bin/python\t/env",
        "7\tfile\t/work/a.py",
        f"7\ttest\t{A}",
        "7\tfile\t/work/b.py",
        "8\tprocess\t7\t/env/bin/python\t/env",
        "8\tfile\t/work/c.py",
        "8\ttest\tinner::test",
        f"7\ttest\t{B}",
        "7\tfile\t/work/b.py",
        "7\tconnect\t127.0.0.1\t8000\tyes\t3\t\t/srv\tpython app.py",
        "7\tconnect\t127.0.0.1\t9\tno",
        "7\tchild\t/usr/bin/git",
        "7\tbind\t127.0.0.1\t8001",
        "7\terror\t/work/a.py:1\tValueError: x",
        "7\toutside\t/etc/x",
        "torn",
    ]
    found = footprint(lines, {A, B})
    assert found.tests == {A: 1, B: 2}
    assert found.files == {"/work/a.py": 0, "/work/b.py": 1, "/work/c.py": 0}
    service = Peer("127.0.0.1", "8000", listening=True, pid="3", directory="/srv", command="python app.py")
    assert found.peers == {service: 2, Peer("127.0.0.1", "9"): 2}
    assert service.address == "127.0.0.1:8000"
    assert (found.children, found.bound) == ({"/usr/bin/git": 2}, {"127.0.0.1:8001"})
    assert found.processes[0] == Process("7", ("1",), "/env/bin/python", "/env")
    assert found.errors == [("/work/a.py:1", "ValueError: x")]
    assert found.outside == {"/etc/x": 2}


def test_a_program_is_opaque_unless_it_is_harmless_or_a_python_that_tells(tmp_path: Path):
    script = tmp_path / "cli"
    script.write_bytes(b"#!/env/bin/python\n")
    python = Process("2", "1", "/env/bin/python3", "/env")
    children = {"/usr/bin/git": 0, "python3": 0, str(script): 0, "./server": 0}
    assert Observed(Footprint(children=children, processes=[python])).opaque == {"./server"}


def test_a_python_that_was_started_more_often_than_it_said_so_tells_nothing():
    python, main = "/env/bin/python", Process("7", ("1",), "/env/bin/python", "/env")
    child, grandchild = (
        Process(pid, (above, "7"), python, "/env") for pid, above in (("8", "7"), ("9", "8"))
    )

    def silent(*processes: Process, starts: list[tuple[str, str]]) -> frozenset[str]:
        return Observed(Footprint(processes=[main, *processes], starts=starts)).silent

    assert silent(child, starts=[("7", python)]) == set()
    assert silent(starts=[("7", python)]) == {python}
    assert silent(child, starts=[("7", python), ("7", python)]) == {python}
    assert silent(child, grandchild, starts=[("7", python), ("7", python), ("8", python)]) == {python}
    assert silent(starts=[("7", "/usr/bin/git")]) == set()


@pytest.mark.parametrize(
    ("words", "program", "cleared"),
    [
        (["env", "-i", "python", "-m", "shop"], "python", True),
        (["env", "A=1", "python", "x.py"], "python", False),
        (["timeout", "-k", "5", "9s", "tool", "a"], "tool", False),
        (["sudo", "-E", "tool"], "tool", True),
        (["sh", "-c", "nice -n 3 tool a"], "tool", False),
        (["sh", "-c", "a | b"], "sh", False),
        (["env"], "env", False),
    ],
)
def test_what_a_wrapper_starts_is_the_program(words: list[str], program: str, *, cleared: bool):
    found, _, without = _program(words[0], words)
    assert (found, without) == (program, cleared)


def test_a_queue_is_shared_unless_a_worker_of_the_work_tree_waits_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gate.confirm.accounting.is_store", lambda _: True)
    broker = Peer("127.0.0.1", "6379", listening=True, pid="9", command="redis-server")
    assert "127.0.0.1:6379" not in told(talking(broker, "app.py"))
    found = talking(broker, "app.py", workers={"6379": "celery worker"})
    assert told(found)["127.0.0.1:6379"] == "unaccounted"
    assert "celery worker" in found.differences[-1].why
    assert "127.0.0.1:6379" not in told(talking(broker, "README.md", workers={"6379": "celery worker"}))


def test_the_project_in_another_environment_is_the_same_for_both_sides(tmp_path: Path):
    def started(name: str, projects: set[str], **more: object) -> dict[str, str]:
        place = tmp_path / "app" / "lib" / "python3.12" / "site-packages" / f"{name}-1.dist-info"
        place.mkdir(parents=True, exist_ok=True)
        for file, text in more.items():
            (place / f"{file}.json").write_text(str(text))
        process = Process("8", ("7",), "/x/python", str(tmp_path / "app"))
        sides = observed(TREE, processes=[process]), observed(TOP, processes=[process])
        return told(account(scene(*sides, "src/x.py", prefix="/env", projects=frozenset(projects)), [A]))

    assert started("shop", {"shop"})["shop"] == "unaccounted"
    assert "shop" not in started("shop", {"other"})
    editable = '{"url": "file:///work", "dir_info": {"editable": true}}'
    assert "other" not in started("other", {"other"}, direct_url=editable)


def test_a_file_outside_counts_if_it_is_younger_than_the_change_and_no_installer_wrote_it(tmp_path: Path):
    packages = tmp_path / "env" / "lib" / "python3.12" / "site-packages"
    (packages / "dep-1.dist-info").mkdir(parents=True)
    (packages / "dep-1.dist-info" / "RECORD").write_text("dep/x.py,,\n../../../share/dep.txt,,\n")
    prefix = str(tmp_path / "env")

    def outside(path: str, *names: str, younger: bool = True) -> bool:
        sides = observed(TREE, outside={path: 1}), observed(TOP, outside={path: 1})
        made = scene(*sides, *(names or ("src/x.c",)), prefix=prefix, written_since=lambda _: younger)
        return told(account(made, [A])).get(path) == "unaccounted"

    assert outside("/opt/libcalc.so")
    assert not outside("/opt/libcalc.so", younger=False)
    assert not outside("/opt/libcalc.so", "README.md")
    assert outside(f"{prefix}/lib/libcalc.so")
    assert outside(f"{packages}/copied/x.py")
    assert not outside(f"{TREE}/made.txt")
    assert not outside(str(HEAD.scratch / "compiled" / "x.pyc"))
    for path in (
        packages / "dep/x.py",
        packages / "_virtualenv.py",
        f"{prefix}/share/dep.txt",
        f"{prefix}/bin/dep",
    ):
        assert not outside(str(path)), path


def test_what_was_made_for_a_side_is_its_own():
    found = scene(observed(TREE), observed(TOP), "a.py")
    assert found.is_own(str(BASE.scratch / "environment"))  # where install: puts the base's environment
    assert found.is_own(f"{TREE}/.venv")
    assert not found.is_own("/opt/app")

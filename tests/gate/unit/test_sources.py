"""git.py and sources.py on real repositories."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gate.baseline.files import to_lines, write_suite
from gate.git import (
    GitError,
    add_worktree,
    changed_files,
    commit_files,
    file_at,
    files_at,
    head_commit,
    inside_repository,
    merge_base,
    remove_worktree,
    top_level,
    worktrees,
)
from gate.located import LocatedError
from gate.pipeline.load import load_policy, load_sources
from tests.gate.build import MACHINE, accept, judge, metric, of_kind, remembered, run_of, suite_run

STRICT = "version: 1\nsuites: {api: {run: pytest}}\nmetrics:\n  a.p50: {critical: 150 ms}\n"
LOOSE = STRICT.replace("150 ms", "900 ms")
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Repository:
    path: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, message: str = "change", **files: str) -> str:
        for name, text in files.items():
            self.write(name.replace("__", "/"), text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    @property
    def thresholds(self) -> Path:
        return self.path / "thresholds.yaml"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "service")
    made.path.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    return made


@pytest.fixture
def change(repository: Repository) -> Repository:
    """A branch `change` off `main`, which holds strict rules and a baseline."""
    repository.write("thresholds.yaml", STRICT)
    write_suite(repository.path / "tests" / "baseline", remembered(suite_run([metric("a.p50", 100)])))
    repository.commit("base")
    repository.git("switch", "--quiet", "--create", "change")
    return repository


# git.py


def test_the_merge_base_is_where_the_branch_began(repository):
    base = repository.commit(a="1")
    repository.git("switch", "--quiet", "--create", "change")
    repository.commit(b="2")
    repository.git("switch", "--quiet", "main")
    newer = repository.commit(c="3")
    repository.git("switch", "--quiet", "change")
    assert merge_base(repository.path, "main") == base
    assert merge_base(repository.path, base[:10]) == base
    assert merge_base(repository.path, newer) == base


@pytest.mark.parametrize("ref", ["nowhere", "origin/main", "0" * 40, ""])
def test_an_unknown_ref_says_what_to_fetch(repository, ref):
    repository.commit(a="1")
    with pytest.raises(GitError) as error:
        merge_base(repository.path, ref)
    assert str(error.value).endswith(f"fetch it first: git fetch origin {ref}")


def test_a_branch_that_only_the_remote_has_is_called_by_its_whole_name(repository):
    repository.git("update-ref", "refs/remotes/origin/trunk", repository.commit(a="1"))
    with pytest.raises(GitError, match="'trunk' is not known in this repository; write origin/trunk"):
        merge_base(repository.path, "trunk")


def test_a_repository_of_another_user_is_not_called_none(repository, monkeypatch):
    repository.commit(a="1")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(GitError, match="belongs to another user; allow it first: git config"):
        merge_base(repository.path, "main")


@pytest.mark.parametrize("ref", ["--output=/tmp/x", "-x"])
def test_an_option_is_no_ref(repository, ref):
    repository.commit(a="1")
    with pytest.raises(GitError, match="is no git ref"):
        merge_base(repository.path, ref)


def test_outside_a_repository_base_makes_no_sense(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(GitError, match="--base needs a git repository with a commit"):
        merge_base(tmp_path, "main")
    assert head_commit(tmp_path) == ""
    assert not inside_repository(tmp_path, tmp_path)


def test_a_repository_without_a_commit_has_no_base(repository):
    with pytest.raises(GitError, match="--base needs a git repository with a commit"):
        merge_base(repository.path, "main")
    assert head_commit(repository.path) == ""


def test_a_shallow_history_asks_for_more(repository, tmp_path):
    repository.commit(a="1")
    repository.git("switch", "--quiet", "--create", "change")
    repository.commit(b="2")
    repository.git("switch", "--quiet", "main")
    repository.commit(c="3")
    shallow = Repository(tmp_path / "shallow")
    origin = repository.path.as_uri()
    repository.git("clone", "--quiet", "--depth=1", "--branch=change", origin, str(shallow.path))
    shallow.git("fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main")
    with pytest.raises(GitError, match="no common commit here; fetch more history: git fetch --unshallow"):
        merge_base(shallow.path, "origin/main")


def test_a_file_is_read_as_it_was_at_a_commit(repository):
    first = repository.commit(sub__file="old\n")
    repository.commit(sub__file="new\n")
    file = repository.path / "sub" / "file"
    file.write_text("not committed")
    assert file_at(repository.path, first, file) == b"old\n"
    assert file_at(repository.path / "sub", "HEAD", file) == b"new\n"
    assert file_at(repository.path, first, repository.path / "missing") is None


def test_a_commit_that_cannot_be_read_is_not_a_missing_file(repository):
    repository.commit(a="1")
    with pytest.raises(GitError):
        file_at(repository.path, "0" * 40, repository.path / "a")


def test_files_below_a_directory_are_read_as_they_were(repository):
    first = repository.commit(
        **{"base__x__api.jsonl": "1", "base__y__z w.jsonl": "2", "base__note.md": "3", "other__a.jsonl": "4"}
    )
    repository.commit(**{"base__x__api.jsonl": "changed"})
    found = files_at(repository.path, first, repository.path / "base", ".jsonl")
    assert found == {"base/x/api.jsonl": b"1", "base/y/z w.jsonl": b"2"}
    assert files_at(repository.path, first, repository.path / "nowhere", ".jsonl") == {}


def test_names_beyond_ascii_are_found(repository):
    first = repository.commit(**{"base__größe.jsonl": "1"})
    found = files_at(repository.path, first, repository.path / "base", ".jsonl")
    assert found == {"base/größe.jsonl": b"1"}


def test_a_path_outside_the_repository_cannot_be_read_from_it(repository, tmp_path):
    repository.commit(a="1")
    assert inside_repository(repository.path, repository.path / "not" / "there")
    assert not inside_repository(repository.path, tmp_path)
    with pytest.raises(GitError, match="lies outside the repository"):
        files_at(repository.path, "HEAD", tmp_path, ".jsonl")


def test_a_worktree_holds_a_commit_and_leaves_nothing_behind(repository, tmp_path):
    first = repository.commit(a="old")
    repository.commit(a="new")
    top, path = top_level(repository.path), tmp_path / "a worktree"
    add_worktree(top, path, first)
    assert (path / "a").read_text() == "old"
    assert worktrees(top) == [top, path]
    (path / "a").write_text("edited")
    remove_worktree(top, path)
    assert not path.exists()
    assert worktrees(top) == [top]
    remove_worktree(top, path)
    with pytest.raises(GitError):
        add_worktree(top, path, "0" * 40)


# sources.py


def test_without_a_base_the_work_tree_is_read(change):
    change.thresholds.write_text(LOOSE)
    sources = load_sources(change.thresholds, None, None)
    assert (sources.base, sources.notes, sources.problems) == ("", (), ())
    assert str(sources.policy.entries[0].values["critical"]) == "900 ms"
    assert sources.baseline.comparable("api", MACHINE) is not None


def test_a_missing_policy_says_what_to_write(tmp_path):
    with pytest.raises(LocatedError, match=r"thresholds\.yaml:1:1: No such file or directory; write"):
        load_policy(tmp_path / "thresholds.yaml")


def test_a_policy_that_is_no_text_is_located(tmp_path):
    file = tmp_path / "thresholds.yaml"
    file.write_bytes(b"version: 1\nsuites: \xff\n")
    with pytest.raises(LocatedError, match=r"thresholds\.yaml:2:1: not UTF-8 text; save the file as UTF-8"):
        load_policy(file)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    file = tmp_path / "thresholds.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + STRICT.encode())
    assert load_policy(file).suites


def test_a_change_that_leaves_the_rules_alone_has_no_note(change):
    base = change.git("rev-parse", "HEAD")
    change.commit(code="x")
    sources = load_sources(change.thresholds, None, "main")
    assert (sources.base, sources.notes, sources.problems) == (base, (), ())
    assert sources.policy.source == f"thresholds.yaml@{base[:12]}"
    assert sources.baseline.comparable("api", MACHINE) is not None


def test_a_change_that_loosens_the_rules_is_judged_by_the_old_ones(change):
    change.thresholds.write_text(LOOSE)
    change.commit("loosen")
    sources = load_sources(change.thresholds, None, "main")
    assert [(n.kind, n.level, n.subject, n.message) for n in sources.notes] == [
        ("policy-change", "warn", "thresholds.yaml", "differs from the base, whose rules were used")
    ]
    run = run_of(suite_run([metric("a.p50", 200)]))
    verdict = judge(run, sources.baseline, sources.policy, base=sources.base, notes=sources.notes)
    assert of_kind(verdict, "limit")
    assert of_kind(verdict, "policy-change")
    assert verdict.policy == f"thresholds.yaml@{sources.base[:12]}"


def test_an_edit_that_is_not_committed_is_a_change_too(change):
    change.thresholds.write_text(LOOSE)
    assert [note.subject for note in load_sources(change.thresholds, None, "main").notes] == [
        "thresholds.yaml"
    ]


def test_a_change_of_the_baseline_is_told_and_not_used(change):
    write_suite(change.path / "tests" / "baseline", remembered(suite_run([metric("a.p50", 900)])))
    change.commit("accept")
    sources = load_sources(change.thresholds, None, "main")
    assert [(note.kind, note.subject) for note in sources.notes] == [("policy-change", "tests/baseline")]
    known = sources.baseline.comparable("api", MACHINE)
    assert known is not None
    assert known.history("a.p50") == [100]


def test_a_baseline_that_the_change_deletes_is_used_all_the_same(change):
    for file in (change.path / "tests" / "baseline").rglob("*.jsonl"):
        file.unlink()
    sources = load_sources(change.thresholds, None, "main")
    assert [note.subject for note in sources.notes] == ["tests/baseline"]
    assert sources.baseline.comparable("api", MACHINE) is not None


def test_a_base_without_rules_takes_those_of_the_change_and_says_so(repository):
    repository.commit(code="x")
    repository.git("switch", "--quiet", "--create", "change")
    repository.commit("rules", **{"thresholds.yaml": STRICT})
    sources = load_sources(repository.thresholds, None, "main")
    (note,) = sources.notes
    assert (note.kind, note.level) == ("policy-change", "warn")
    assert note.message == "is new in this change: there are no rules at the base, its own were used"
    assert sources.policy.entries


def test_a_damaged_baseline_at_the_base_is_a_problem_and_not_a_crash(change):
    (file,) = (change.path / "tests" / "baseline").rglob("*.jsonl")
    change.git("switch", "--quiet", "main")
    file.write_text("<<<<<<< HEAD\n")
    change.commit("broken")
    for base in ("main", None):
        (problem,) = load_sources(change.thresholds, None, base).problems
        assert problem.subject.endswith(f"{MACHINE.id}/api.jsonl:1")
        assert problem.message == "merge conflict"
        assert "gate baseline repair" in problem.remedy


def test_a_baseline_outside_the_repository_is_read_from_where_it_lies(change, tmp_path):
    write_suite(tmp_path / "stored", remembered(suite_run([metric("a.p50", 7)])))
    sources = load_sources(change.thresholds, tmp_path / "stored", "main")
    known = sources.baseline.comparable("api", MACHINE)
    assert known is not None
    assert known.history("a.p50") == [7]
    assert not sources.notes


def test_thresholds_in_a_folder_name_a_baseline_beside_them(repository):
    repository.write("service/thresholds.yaml", STRICT)
    write_suite(
        repository.path / "service" / "tests" / "baseline", remembered(suite_run([metric("a.p50", 5)]))
    )
    base = repository.commit("base")
    sources = load_sources(repository.path / "service" / "thresholds.yaml", None, base)
    assert sources.baseline.comparable("api", MACHINE) is not None
    assert not sources.notes


def test_a_change_cannot_put_a_symlink_in_place_of_the_rules(change):
    change.write("loose.yaml", LOOSE)
    change.thresholds.unlink()
    change.thresholds.symlink_to("loose.yaml")
    change.commit("sneak")
    sources = load_sources(change.thresholds, None, "main")
    assert str(sources.policy.entries[0].values["critical"]) == "150 ms"


@pytest.mark.parametrize("inside", [True, False])
def test_a_change_cannot_put_a_symlink_in_place_of_the_baseline(change, tmp_path, inside):
    stored = change.path / "tests" / "baseline"
    stored.rename(tmp_path / "away")
    target = (change.path / "empty") if inside else (tmp_path / "outside")
    target.mkdir()
    stored.symlink_to(target)
    sources = load_sources(change.thresholds, None, "main")
    known = sources.baseline.comparable("api", MACHINE)
    assert known is not None
    assert known.history("a.p50") == [100]


def test_changed_files_are_those_of_commits_and_of_the_work_tree(change):
    base = change.git("rev-parse", "HEAD")
    assert changed_files(change.path, base) == []
    change.commit("code", **{"app__a.py": "1", "app__größe.py": "1"})
    change.write("app/untracked.py", "1")
    change.write("ignored.log", "1")
    change.write(".git/info/exclude", "*.log\n")
    change.git("mv", "thresholds.yaml", "moved.yaml")
    assert changed_files(change.path / "app", base) == [
        "app/a.py", "app/größe.py", "app/untracked.py", "moved.yaml", "thresholds.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("app.py", True),
        ("requirements.lock", True),
        ("data/prices.json", True),
        ("tests/test_app.py", True),
        ("README.md", True),
        (".github/workflows/ci.yml", True),
        ("app/.github/code.py", True),
        ("tests/baseline/x/api.jsonl", False),
        ("tests/baseline/loader.py", True),
        ("data/rows.jsonl", True),
    ],
)
def test_every_file_but_accepted_runs_is_a_change(change, name, matters):
    assert not load_sources(change.thresholds, None, "main").changed
    change.write(name, "x")
    assert load_sources(change.thresholds, None, "main").changed is matters


def test_without_a_base_anything_may_have_changed(change):
    assert load_sources(change.thresholds, None, None).changed


def test_data_in_another_folder_of_the_same_name_matters(change):
    change.write("service/data/baseline/prices.jsonl", "x")
    assert load_sources(change.thresholds, None, "main").changed


def test_a_prompt_that_the_service_loads_matters(change):
    change.write("service/prompts/seller.md", "x")
    assert load_sources(change.thresholds, None, "main").changed


# A baseline that is gone at the base.


def test_a_base_that_lost_its_baseline_says_which_commit_took_it(repository):
    repository.write("thresholds.yaml", STRICT)
    write_suite(repository.path / "tests" / "baseline", remembered(suite_run([metric("a.p50", 100)])))
    repository.commit("runs")
    repository.git("rm", "-r", "--quiet", "tests/baseline")
    removal = repository.commit("tidy up")
    repository.commit("work", service="1")
    sources = load_sources(repository.thresholds, None, "main")
    (note,) = sources.notes
    assert (note.kind, note.level, note.subject) == ("environment", "warn", "tests/baseline")
    assert f"{removal[:12]} of 2024-01-01 removed them" in note.message
    assert note.remedy == f"bring them back: git checkout {removal[:12]}^ -- tests/baseline"


def test_a_base_that_moved_its_baseline_says_where_it_is(repository):
    repository.write("thresholds.yaml", STRICT)
    write_suite(repository.path / "tests" / "baseline", remembered(suite_run([metric("a.p50", 100)])))
    repository.commit("runs")
    repository.git("mv", "tests/baseline", "runs")
    repository.commit("another place")
    (note,) = load_sources(repository.thresholds, None, "main").notes
    assert note.message.endswith("moved them to runs")
    assert "baseline: runs" in note.remedy


def test_a_base_that_never_had_a_baseline_lost_none(repository):
    repository.write("thresholds.yaml", STRICT)
    repository.commit("first")
    assert load_sources(repository.thresholds, None, "main").notes == ()


# A baseline on a branch of its own.


def on_branch(repository: Repository, commits: list[str]) -> None:
    """A branch `gate-baseline` that has one accepted run of each commit, as a remote holds it."""
    tip = ""
    known = None
    for number, commit in enumerate(commits):
        run = suite_run([metric("a.p50", 100 + number)], created=1_700_000_000 + number)
        known = accept(known, run, commit)
        name = f"tests/baseline/{known.environment.id}/{known.suite}.jsonl"
        tip = commit_files(repository.path, tip, {name: to_lines(known)}, f"run\n\nMeasured: {commit}")
    repository.git("update-ref", "refs/remotes/origin/gate-baseline", tip)


@pytest.fixture
def branched(repository: Repository) -> tuple[Repository, list[str]]:
    """Three commits on main; the accepted run of each is on a branch."""
    repository.write("thresholds.yaml", STRICT + "baseline_branch: gate-baseline\n")
    commits = [repository.commit(f"c{number}") for number in range(3)]
    on_branch(repository, commits)
    return repository, commits


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_branch_is_read_as_it_was_for_the_base(branched, place):
    repository, commits = branched
    repository.git("switch", "--quiet", "--create", "change", commits[place])
    repository.commit("work", service="1")
    sources = load_sources(repository.thresholds, None, commits[place])
    assert [len(suite.runs) for suite in sources.baseline.suites] == [place + 1]
    assert sources.problems == ()


def test_without_a_base_the_tip_of_the_branch_is_read(branched):
    repository, _ = branched
    (suite,) = load_sources(repository.thresholds, None, None).baseline.suites
    assert len(suite.runs) == 3


def test_a_base_before_all_accepted_runs_has_none(branched):
    repository, commits = branched
    on_branch(repository, commits[1:])
    repository.git("switch", "--quiet", "--create", "change", commits[0])
    assert load_sources(repository.thresholds, None, commits[0]).baseline.suites == ()


def test_a_branch_that_nobody_made_yet_holds_no_runs(repository, tmp_path):
    repository.write("thresholds.yaml", STRICT + "baseline_branch: gate-baseline\n")
    repository.commit("first")
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(tmp_path / "bare"))
    repository.git("remote", "add", "origin", str(tmp_path / "bare"))
    sources = load_sources(repository.thresholds, None, "main")
    assert (sources.baseline.suites, sources.problems) == ((), ())


def test_a_branch_that_cannot_be_reached_is_an_error_and_no_empty_memory(branched):
    repository, _ = branched
    repository.git("update-ref", "-d", "refs/remotes/origin/gate-baseline")
    with pytest.raises(GitError, match="origin"):
        load_sources(repository.thresholds, None, "main")


def test_a_shallow_history_cannot_tell_what_was_accepted_before(branched, tmp_path):
    repository, _ = branched
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    shallow = Repository(tmp_path / "shallow")
    shallow.git(
        "fetch", "--quiet", "origin", "refs/remotes/origin/gate-baseline:refs/remotes/origin/gate-baseline"
    )
    shallow.git("remote", "set-url", "origin", str(tmp_path / "nowhere"))
    with pytest.raises(GitError, match="fetch-depth: 0"):
        load_sources(shallow.thresholds, None, "HEAD")
    shallow.git("remote", "set-url", "origin", f"file://{repository.path}")
    assert len(load_sources(shallow.thresholds, None, "HEAD").baseline.suites[0].runs) == 3, "it was fetched"


def test_a_change_cannot_name_another_branch(branched):
    repository, commits = branched
    repository.git("switch", "--quiet", "--create", "change")
    repository.write("thresholds.yaml", STRICT + "baseline_branch: mine\n")
    repository.commit("work")
    sources = load_sources(repository.thresholds, None, commits[2])
    assert sources.policy.baseline_branch == "gate-baseline"
    assert len(sources.baseline.suites[0].runs) == 3
    assert "policy-change" in {note.kind for note in sources.notes}


def test_a_branch_that_gives_nothing_is_told_from_a_first_run(branched):
    repository, commits = branched
    on_branch(repository, commits[1:])
    repository.git("switch", "--quiet", "--create", "change", commits[0])
    (note,) = load_sources(repository.thresholds, None, commits[0]).notes
    assert note.message == f"nothing on branch gate-baseline is as old as the base {commits[0][:12]}"
    repository.git("remote", "add", "origin", str(repository.path))
    repository.git("update-ref", "-d", "refs/remotes/origin/gate-baseline")
    for base in (None, commits[0]):
        (note,) = load_sources(repository.thresholds, None, base).notes
        assert (note.level, note.message) == ("warn", "origin has no branch gate-baseline")

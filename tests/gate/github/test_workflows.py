"""The workflows as GitHub would run them: every way a pull request can end, its check and its comment."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.gate.github.double import Double
from tests.gate.github.rig import FILES, TOP, Outcome, Rig, git, make_template

SERVICE = FILES["service.py"]


def own_files() -> dict[str, str]:
    """The workflows and actions of this repository, but that the gate is on the PATH already."""
    files: dict[str, str] = {}
    for path in (TOP / ".github").rglob("*.yml"):
        text = re.sub(
            r"( +)- uses: (\./\.github/actions/\w+).*\n",
            r'\1- uses: \2\n\1  with: {install: "false"}\n',
            path.read_text(),
        )
        files[str(path.relative_to(TOP))] = text
    return files


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "shop"
    make_template(root, FILES | own_files())
    return root


@pytest.fixture
def rig(tmp_path: Path, double: Double, template: Path) -> Rig:
    return Rig(tmp_path, double, template)


def first_line(double: Double) -> str:
    (body,) = double.bodies(7)
    return body.splitlines()[1]


def ends(rig: Rig, outcome: Outcome, check: str, comment: str, *, owner: str = "acme") -> None:
    """The required check, and what the second workflow says then."""
    assert outcome.check == check, outcome.log
    told = rig.relay(outcome, owner=owner)
    assert told.jobs == {"relay": "success"}, told.log
    assert rig.double.violations == []
    assert rig.double.checks[-1]["conclusion"] == check
    if comment:
        assert comment in first_line(rig.double)
    else:
        assert rig.double.bodies(7) == []


def test_a_green_pull_request_has_a_green_check_and_no_comment(rig):
    rig.change({"service.py": SERVICE + "\n# a remark\n"})
    ends(rig, rig.pull_request(), "success", "")


@pytest.mark.long
def test_what_others_merged_meanwhile_is_not_blamed_on_the_pull_request(rig, double):
    """The merge commit rests on a younger main than the event says."""
    rig.change({"service.py": SERVICE + "\n# a remark\n"})
    rig.git("checkout", "--quiet", "main")
    (rig.root / "thresholds.yaml").write_text(FILES["thresholds.yaml"] + "# others\n")
    rig.commit("others")
    rig.git("merge", "--quiet", "--no-ff", "--message", "merge", "topic")
    outcome = rig.pull_request()
    assert outcome.check == "success", outcome.log
    verdict = json.loads((rig.artifacts / "regression-gate" / "verdict.json").read_text())
    assert verdict["base"]["commit"] == rig.git("rev-parse", "HEAD^1")
    assert [f["subject"] for f in verdict["findings"] if f["kind"] == "policy-change"] == []


@pytest.mark.long
def test_a_work_count_that_grew(rig, double):
    rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    ends(rig, rig.pull_request(), "failure", "1 regression")
    assert "`api.home.calls{service=store}` | 1\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}2" in double.bodies(7)[0]
    rig.change({"service.py": SERVICE + "\nMENDED = True\n"})
    ends(rig, rig.pull_request(), "success", "passed")
    assert len(double.bodies(7)[0].splitlines()) == 2, "nothing to say: one line"


def test_an_operation_that_got_slower_is_confirmed_where_it_was_measured(rig, double):
    slower = SERVICE.replace("return sum(range(2000))", "return [sum(range(2000)) for _ in range(20)][0]")
    rig.change({"service.py": slower})
    ends(rig, rig.pull_request(), "failure", "2 regressions")
    assert "confirmed on one machine; history:" in double.bodies(7)[0]


def test_a_new_failure_is_annotated_at_its_line(rig, double):
    rig.change({"test_load.py": "def test_queue():\n    assert 1 == 2\n"})
    ends(rig, rig.pull_request(), "failure", "1 new failure")
    (remark, *_) = double.checks[0]["output"]["annotations"]
    assert (remark["path"], remark["start_line"]) == ("test_load.py", 2)


@pytest.mark.long
def test_a_suite_that_crashes_is_an_error_and_the_others_are_judged(rig, double):
    rig.change({"test_load.py": "import os\n\ndef test_queue():\n    os._exit(9)\n"})
    ends(rig, rig.pull_request(), "failure", "1 unusable report")
    assert "'load' crashed" in double.bodies(7)[0]
    assert "3 tests passed" in first_line(double)


@pytest.mark.long
def test_a_collection_error_is_an_error(rig):
    rig.change({"test_integration.py": "import nothing_of_that_name\n"})
    ends(rig, rig.pull_request(), "failure", "error: ")


@pytest.mark.long
def test_a_comparison_that_crashes_is_an_error_though_the_suites_passed(rig, double):
    """The base cannot be measured: times would be judged by history alone, here by nothing."""
    rig.git("checkout", "--quiet", "main")
    (rig.root / "conftest.py").write_text(
        "import os\n\nif os.environ.get('GATE_LOCKSTEP'):\n    os._exit(7)\n"
    )
    slow = SERVICE.replace("return sum(range(2000))", "return [sum(range(2000)) for _ in range(20)][0]")
    rig.base = rig.commit("a base that crashes when it is measured")
    rig.git("branch", "--force", "topic", "main")
    rig.git("checkout", "--quiet", "topic")
    rig.change({"service.py": slow})
    ends(rig, rig.pull_request(), "failure", "error: ")
    assert "the comparison of base and head is missing" in double.bodies(7)[0]


@pytest.mark.long
def test_a_cancelled_suite_is_an_error(rig, double):
    rig.change({"service.py": SERVICE + "\n# a remark\n"})
    rig.lost = "measured-gate~load"
    ends(rig, rig.pull_request(), "failure", "error: 1 unusable report")
    assert "reports/measured-gate~load/load.json" in double.bodies(7)[0]


@pytest.mark.long
def test_a_fork_whose_token_only_reads(rig, double):
    head = rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    double.add_pull(7, head, owner="stranger", author="eve")
    outcome = rig.pull_request(token="reader")
    assert double.bodies(7) == []
    ends(rig, outcome, "failure", "1 regression", owner="stranger")


@pytest.mark.parametrize("suites", [["integration", "load"], ["load"]])
@pytest.mark.long
def test_a_dispatch_with_inputs(rig, suites):
    """Of one artifact alone `download-artifact` makes no folder of its name."""
    rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    inputs = {"suites": " ".join(suites), "strictness": "strict"}
    outcome = rig.act("workflow_dispatch", {"inputs": inputs})
    assert outcome.check == "success", outcome.log  # what got worse was not asked for
    left = {path.name for path in rig.artifacts.iterdir()}
    assert left == {*(f"measured-gate~{suite}" for suite in suites), "regression-gate", "measured-gate~~1"}
    verdict = json.loads((rig.artifacts / "regression-gate" / "verdict.json").read_text())
    assert [suite["name"] for suite in verdict["suites"]] == suites
    assert rig.act("workflow_dispatch", {"inputs": {"suites": "nonsense"}}).check == "failure"


@pytest.mark.parametrize(("branch", "ends"), [("main", "success"), ("topic", "failure")])
def test_a_dispatch_asks_for_an_update_of_the_baseline(branch, ends, rig):
    rig.git("checkout", "--quiet", branch)
    inputs = {"suites": "integration", "update-baseline": "true"}
    event = {"inputs": inputs, "ref": f"refs/heads/{branch}"}
    outcome = rig.act("workflow_dispatch", event)
    assert outcome.check == ends, outcome.log
    if branch != "main":
        assert "only runs of branch main are accepted; start it there" in outcome.log
        return
    updated = rig.learn(rig.base, "success", event="workflow_dispatch")
    assert updated.jobs == {"update": "success"}, updated.log
    assert git(rig.remote, "log", "--format=%s", "-1", "main").startswith("chore(baseline): accept")


def test_a_dispatch_that_did_not_ask_teaches_nothing(rig):
    rig.git("checkout", "--quiet", "main")
    rig.act("workflow_dispatch", {"inputs": {"suites": "integration"}, "ref": "refs/heads/main"})
    updated = rig.learn(rig.base, "success", event="workflow_dispatch")
    assert "nobody asked this run to update the baseline" in updated.log
    assert git(rig.remote, "rev-parse", "main") == rig.base


def test_a_dispatch_rebuilds_the_baseline_from_fresh_runs(rig):
    rig.git("checkout", "--quiet", "main")
    inputs = {"reason": "new machines", "runs": "2", "suites": "performance load"}
    event = {"inputs": inputs, "ref": "refs/heads/main"}
    outcome = rig.act("workflow_dispatch", event, workflow="regression-rebuild.yml")
    assert outcome.jobs == dict.fromkeys(("plan", "measure", "commit"), "success"), outcome.log
    message = git(rig.remote, "log", "-1", "--format=%B", "main")
    assert message.startswith(f"chore(baseline): rebuild from runs of {rig.base[:12]} [skip ci]")
    assert ": new machines" in message
    names = git(rig.remote, "show", "--name-only", "--format=", "main").splitlines()
    assert {Path(name).name for name in names} == {"performance.jsonl", "load.jsonl"}
    lines = git(rig.remote, "show", f"main:{names[0]}").splitlines()
    runs = [line for line in map(json.loads, lines) if line["kind"] == "accepted"]
    assert [run["commit"] for run in runs] == [rig.base] * 2, "the run of the template is gone"
    assert runs[0]["waived"][0]["why"] == "new machines"


def test_a_push_to_main_that_passes_is_accepted_and_committed(rig):
    rig.git("checkout", "--quiet", "main")
    (rig.root / "service.py").write_text(SERVICE + "\n# merged\n")
    head = rig.commit("merge")
    rig.git("push", "--quiet", str(rig.remote), "main")
    pushed = rig.act("push", {"ref": "refs/heads/main", "before": rig.base, "after": head})
    assert pushed.check == "success", pushed.log
    updated = rig.learn(head, "success")
    assert updated.jobs == {"update": "success"}, updated.log
    log = git(rig.remote, "log", "--format=%s by %an", "--max-count=2", "main").splitlines()
    assert log[0] == f"chore(baseline): accept {head[:12]} [skip ci] by github-actions[bot]"
    assert log[1].startswith("merge")
    files = git(rig.remote, "show", "--name-only", "--format=", "main").splitlines()
    assert {Path(file).name for file in files} == {"performance.jsonl", "load.jsonl", "integration.jsonl"}


def test_of_a_push_to_main_that_fails_all_but_what_got_worse_is_accepted(rig):
    rig.git("checkout", "--quiet", "main")
    (rig.root / "service.py").write_text(SERVICE.replace("CALLS = 1", "CALLS = 2"))
    head = rig.commit("merge")
    rig.git("push", "--quiet", str(rig.remote), "main")
    assert rig.act("push", {"ref": "refs/heads/main", "before": rig.base, "after": head}).check == "failure"
    updated = rig.learn(head, "failure")
    assert updated.jobs == {"update": "success"}, updated.log
    files = git(rig.remote, "show", "--name-only", "--format=", "main").splitlines()
    assert {Path(file).name for file in files} == {"performance.jsonl", "load.jsonl", "integration.jsonl"}
    (performance,) = (name for name in files if name.endswith("performance.jsonl"))
    lines = map(json.loads, git(rig.remote, "show", f"main:{performance}").splitlines())
    (accepted,) = (line for line in lines if line["kind"] == "accepted" and line["commit"] == head)
    assert accepted["held"] == ["api.home.calls{service=store}"]
    assert "calls" not in json.dumps(accepted["values"])


def test_a_push_to_main_that_was_not_judged_teaches_nothing(rig):
    before = git(rig.remote, "rev-parse", "main")
    updated = rig.learn(rig.change({"service.py": SERVICE + "\n# merged\n"}), "failure")
    assert updated.jobs == {"update": "success"}, updated.log
    assert "so it was not judged" in updated.log
    assert git(rig.remote, "rev-parse", "main") == before


@pytest.mark.long
def test_a_group_of_the_merge_queue_is_judged_against_its_base(rig):
    rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    head = rig.git("rev-parse", "HEAD")
    queued = {
        "base_sha": rig.base,
        "head_sha": head,
        "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{head}",
    }
    assert rig.act("merge_group", {"action": "checks_requested", "merge_group": queued}).check == "failure"
    verdict = json.loads((rig.artifacts / "regression-gate" / "verdict.json").read_text())
    assert verdict["base"]["commit"] == rig.base
    assert [f["subject"] for f in verdict["findings"] if f["level"] == "fail"] == [
        "api.home.calls{service=store}"
    ]


def test_a_waiver_by_comment_turns_the_run_green_and_stays_visible(rig, double):
    head = rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    ends(rig, rig.pull_request(), "failure", "1 regression")
    number = double.add_comment(7, "kim", "/gate waive api.home the second store is wanted")
    comment = {"id": number, "body": double.comments[number]["body"], "user": {"login": "kim"},
               "created_at": double.now, "updated_at": double.now,
               "html_url": f"https://github.com/acme/shop/pull/7#issuecomment-{number}"}  # fmt: skip
    payload = {"action": "created", "issue": {"number": 7, "pull_request": {}}, "comment": comment}
    rig.git("checkout", "--quiet", "main")
    obeyed = rig.act("issue_comment", payload, workflow="regression-comment.yml")
    rig.git("checkout", "--quiet", "topic")
    assert obeyed.jobs == {"obey": "success"}, obeyed.log
    assert (double.reruns, double.reactions) == ([42], [(number, "+1")])
    ends(rig, rig.pull_request(), "success", "1 regression waived")
    assert "waived by kim: the second store is wanted" in double.bodies(7)[0]
    assert double.pulls[7]["head"] == head


def test_a_pull_request_that_loosens_its_own_rules_is_red_and_told_first(rig, double):
    loose = FILES["thresholds.yaml"].replace("metrics:\n", 'metrics:\n  "*": {tolerance: off}\n')
    (kept,) = (rig.root / "tests" / "baseline").rglob("performance.jsonl")
    forged = kept.read_text().replace('{service=store}":1', '{service=store}":2')
    assert forged != kept.read_text()
    baseline = {str(kept.relative_to(rig.root)): forged}
    rig.change(
        {"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2"), "thresholds.yaml": loose, **baseline}
    )
    ends(rig, rig.pull_request(), "failure", "1 regression")
    body = double.bodies(7)[0]
    assert body.index("This pull request changes the rules") < body.index("**Regressions**")


def test_an_edited_workflow_that_measures_nothing_is_told(rig, double):
    text = (rig.root / ".github/workflows/regression-gate.yml").read_text()
    idle = text[: text.index("jobs:")] + (
        "jobs:\n  regression-gate:\n    runs-on: ubuntu-24.04\n    steps: [{run: 'true'}]\n"
    )
    rig.change(
        {
            ".github/workflows/regression-gate.yml": idle,
            "service.py": SERVICE.replace("CALLS = 1", "CALLS = 2"),
        }
    )
    outcome = rig.pull_request()
    assert outcome.check == "success", "what it can do: its own check"
    told = rig.relay(outcome)
    assert told.jobs == {"relay": "success"}
    assert double.checks[-1]["conclusion"] == "failure"
    assert "error: " in first_line(double)
    assert "`.github/workflows/regression-gate.yml` decides how this is judged" in double.bodies(7)[0]


FORGER = """import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_json_modifyreport(json_report):
    for test in json_report["tests"]:
        for metric in test.get("metadata", {}).get("gate", {}).get("metrics", []):
            if metric["name"].startswith("api.home.calls"):
                metric["value"] = 1
"""


def test_a_forged_report_is_green_and_its_forger_is_named_first(rig, double):
    """What a pull request can do: it runs its own code in its own suite. It is seen."""
    rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2"), "conftest.py": FORGER})
    ends(rig, rig.pull_request(), "success", "passed: 1 policy change")
    assert "> - `conftest.py` decides how this is judged" in double.bodies(7)[0]


@pytest.mark.long
def test_names_that_hold_scripts_are_inert(rig, tmp_path):
    owned = tmp_path / "owned"
    hostile = f'"; touch {owned}; echo "$(touch {owned})`touch {owned}`'
    test = (
        f"import pytest\n\n@pytest.mark.parametrize('x', [{hostile!r}])\n"
        "def test_queue(x):\n    print('::error::owned')\n    assert x == '@everyone'\n"
    )
    rig.change({"test_load.py": test})
    ends(rig, rig.pull_request(), "failure", "new failure")
    assert not owned.exists()


@pytest.mark.long
def test_a_second_job_of_one_name_stops_at_once(rig, double):
    """A matrix whose jobs all bear the name `gate`: what the first one found stays."""
    rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    first = rig.pull_request()
    rig.same_run = True
    ends(rig, first, "failure", "1 regression")
    kept = rig.artifacts / "regression-gate" / "verdict.json"
    verdict, said = kept.read_bytes(), double.bodies(7)
    rig.change({"service.py": SERVICE})
    second = rig.pull_request()
    assert second.check == "failure"
    assert "gate name 'gate' is taken by another job of this run; set a unique input gate" in second.log
    assert "Run the suite" not in second.log
    assert ((rig.artifacts / "regression-gate" / "verdict.json").read_bytes(), double.bodies(7)) == (
        verdict,
        said,
    )


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.long
def test_a_further_attempt_is_for_the_job_that_had_the_name(same, rig):
    """Else the job that was refused could be first this time, and its green replace the other one's red."""
    rig.change({"service.py": SERVICE + "\n# a remark\n"})
    assert rig.pull_request().check == "success"
    if not same:
        (rig.artifacts / "measured-gate~~1" / "job.json").write_text("another job\n")
    rig.same_run, rig.attempt = True, 2
    again = rig.pull_request()
    assert again.check == ("success" if same else "failure"), again.log
    assert ("gate name 'gate' is taken" in again.log) is not same


def test_a_suite_of_another_name_is_none_and_lines_separate_as_spaces_do(rig):
    rig.change({"service.py": SERVICE.replace("CALLS = 1", "CALLS = 2")})
    outcome = rig.act("workflow_dispatch", {"inputs": {"suites": "integration\nperformance\n"}})
    assert outcome.check == "failure", outcome.log
    verdict = json.loads((rig.artifacts / "regression-gate" / "verdict.json").read_text())
    assert [suite["name"] for suite in verdict["suites"]] == ["integration", "performance"]


HOSTILE = """import os

def test_queue():
    for place in (os.environ["RUNNER_TEMP"], os.environ["GITHUB_WORKSPACE"] + "/reports"):
        for name in ("waivers.json", ".gitignore", "regression-gate"):
            os.makedirs(f"{place}/{name}/x", exist_ok=True)
"""


def test_a_suite_cannot_stand_in_the_way_of_the_question(rig, double):
    """What it leaves at the places of the judging job is no answer of GitHub's."""
    rig.change({"test_load.py": HOSTILE})
    double.pulls[7]["base"] = "strict"
    outcome = rig.pull_request()
    assert outcome.check == "failure"
    assert "this run is for base branch main, and #7 is now for strict" in outcome.log


USED = re.compile(r"uses: ([\w./-]+/[\w./-]+)@(\S+) # (v\S+)")
FILES_OF_OURS = (*(TOP / ".github").rglob("*.yml"), TOP / "action.yml")
RELEASES = {
    ("actions/checkout", "v7.0.1"): "3d3c42e5aac5ba805825da76410c181273ba90b1",
    ("actions/setup-python", "v7.0.0"): "5fda3b95a4ea91299a34e894583c3862153e4b97",
    ("actions/upload-artifact", "v7.0.0"): "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f",
    ("actions/download-artifact", "v8.0.1"): "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c",
}
"""What `git ls-remote --tags` says of each release; in tests.yml `zizmor` asks GitHub."""


def test_comment_and_hash_of_a_pin_agree_everywhere():
    used: set[str] = set()
    for file in FILES_OF_OURS:
        for name, pin, version in USED.findall(file.read_text()):
            assert RELEASES[name, version] == pin, f"{file}: {name}"
            used.add(name)
        others = re.findall(r"uses: [\w-]+/", file.read_text())
        assert len(others) == len(USED.findall(file.read_text())), f"{file}: an action without a pin"
    assert used == {name for name, _ in RELEASES}
    majors = {f"{name}@{version.partition('.')[0]}" for name, version in RELEASES}
    for document in ("docs/github.md", "docs/measuring.md", "README.md"):
        named = set(re.findall(r"actions/[\w-]+@v\d+", (TOP / document).read_text()))
        assert named <= majors, document


def test_the_pinned_majors_run_on_a_runtime_that_github_supports(tmp_path: Path):
    """A hash hides from actionlint which runtime an action has; a major does not."""
    steps: list[str] = []
    for file in FILES_OF_OURS:
        text = USED.sub(lambda m: f"uses: {m[1]}@{m[3].partition('.')[0]}", file.read_text())
        if file.parent.name == "workflows":
            (tmp_path / file.name).write_text(text)
        steps += re.findall(r"uses: (actions/\S+@v\d+)", text)
    # actionlint reads no action, so what they use stands in a workflow.
    lines = [f"      - uses: {name}" for name in sorted(set(steps))]
    lines = [f"{line}\n        with: {{path: x}}" if "upload" in line else line for line in lines]
    (tmp_path / "all.yml").write_text(
        "on: push\njobs:\n  all:\n    runs-on: ubuntu-24.04\n    steps:\n" + "\n".join(lines) + "\n"
    )
    files = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(["actionlint", *files], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    old = (tmp_path / "all.yml").read_text().replace("checkout@v7", "checkout@v3")
    (tmp_path / "all.yml").write_text(old)
    done = subprocess.run(["actionlint", *files], capture_output=True, text=True, timeout=120, check=False)
    assert "checkout@v3" in done.stdout, "else it knows no runtime"
    majors = [file for file in files if not file.endswith("all.yml")]
    command = ["zizmor", "--offline", "--no-progress", "--persona", "pedantic", "--format", "json", *majors]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = {finding["ident"] for finding in json.loads(done.stdout) if not finding["ignored"]}
    assert found <= {"unpinned-uses"}, "what hashes hid from it"


def test_the_workflows_pass_the_checkers():
    """What act does not see: permissions, injection, pins, schema."""
    files = sorted(str(path) for path in (TOP / ".github" / "workflows").iterdir())
    actions = sorted(str(path) for path in FILES_OF_OURS if path.name == "action.yml")
    assert len(actions) == 3
    for command in (
        ["actionlint", *files],
        ["zizmor", "--offline", "--no-progress", "--persona", "pedantic", *files, *actions],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files],
        ["check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"

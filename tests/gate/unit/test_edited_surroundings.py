"""What a change edits in its workflows: variables, Python, the runner, images."""

from gate.sides.variables import (
    edited_images,
    edited_python,
    edited_surroundings,
    edited_variables,
    sets_variables,
)

FILE = ".github/workflows/gate.yml"


def variables(
    before: str, after: str, environment: dict[str, str], file: str = FILE, running: str = ""
) -> dict[str, str | None]:
    return edited_variables({file: before.encode()}, {file: after.encode()}, environment, running)


def test_the_base_has_its_own_value() -> None:
    text = "env:\n  SHOP_N: {}\n"
    assert variables(text.format(20000), text.format(60000), {"SHOP_N": "60000"}) == {"SHOP_N": "20000"}


def test_a_value_that_the_workflow_did_not_set_stays() -> None:
    text = "env:\n  SHOP_N: {}\n"
    assert variables(text.format(20000), text.format(60000), {"SHOP_N": "7"}) == {}
    assert variables(text.format(20000), text.format(60000), {}) == {}


def test_the_same_place_says_what_the_value_was() -> None:
    text = "jobs:\n  load: {{env: {{SHOP_N: {}}}}}\n  lint: {{env: {{SHOP_N: 1}}}}\n"
    assert variables(text.format(20), text.format(60), {"SHOP_N": "60"}) == {"SHOP_N": "20"}


def test_a_value_that_another_job_had_already_is_no_edit() -> None:
    before = "jobs:\n  load: {env: {SHOP_N: 20}}\n  lint: {env: {SHOP_N: 60}}\n"
    after = "jobs:\n  load: {env: {SHOP_N: 60}}\n"
    assert variables(before, after, {"SHOP_N": "60"}) == {}


def test_a_new_variable_is_not_set_at_the_base() -> None:
    assert variables("on: push\n", "env: {FAST: 1}\n", {"FAST": "1"}) == {"FAST": None}


def test_a_removed_variable_is_set_at_the_base_by_the_running_workflow_alone() -> None:
    before, after = "env: {FAST: 1}\n", "on: push\n"
    assert variables(before, after, {}, running=FILE) == {"FAST": "1"}
    assert variables(before, after, {}) == {}
    assert variables(before, after, {"FAST": "1"}, running=FILE) == {}


def test_what_a_step_sets_for_the_next() -> None:
    text = "jobs: {{a: {{steps: [{{run: 'echo \"SHOP_N={}\" >> $GITHUB_ENV'}}]}}}}\n"
    assert variables(text.format(20), text.format(60), {"SHOP_N": "60"}) == {"SHOP_N": "20"}


def test_dotenv_files() -> None:
    before, after = "# ours\nexport SHOP_N=20\nA='x'\n", "export SHOP_N=60\nA='x'\n"
    assert variables(before, after, {"SHOP_N": "60", "A": "x"}, "deploy/ci.env") == {"SHOP_N": "20"}


def test_expressions_and_broken_files_say_nothing() -> None:
    assert variables("env: {A: '${{ x }}'}", "env: {A: '${{ y }}'}", {"A": "${{ y }}"}) == {}
    assert variables("env: [", "env: {A: 1}", {"A": "1"}) == {"A": None}


def test_which_files_set_variables() -> None:
    assert all(
        map(
            sets_variables,
            (FILE, ".github/actions/a/action.yml", "action.yml", ".env", "a/.env.ci", "ci.env"),
        )
    )
    assert not any(map(sets_variables, ("environment.py", "env.py", "docs/workflows.yml")))


def test_python() -> None:
    def edited(before: str, after: str, running: str) -> str:
        text = "jobs: {{a: {{steps: [{{with: {{python-version: {}}}}}]}}}}"
        return edited_python(
            {FILE: text.format(before).encode()}, {FILE: text.format(after).encode()}, running
        )

    assert edited("'3.11'", "'3.12'", "3.12.4") == "3.11"
    assert edited("'3.1'", "'3.12'", "3.12.4") == "3.1"
    assert edited("['3.11', '3.12']", "['3.12', '3.13']", "3.12.4") == ""
    assert edited("'3.11'", "'3.12'", "3.10.4") == ""


def test_where_a_job_runs() -> None:
    text = "jobs: {{a: {{runs-on: {}}}, b: {{runs-on: x}}}}"
    before, after = text.format("ubuntu-22.04").encode(), text.format("ubuntu-24.04").encode()
    assert edited_surroundings(before, after, "a") == ["runs-on: ubuntu-22.04 → ubuntu-24.04"]
    assert edited_surroundings(before, after, "b") == []
    assert edited_surroundings(before, after, "gone") == []
    assert edited_surroundings(None, after, "a") == []


def test_images() -> None:
    text = "jobs: {{a: {{services: {{db: {{image: 'postgres:{}'}}}}}}}}"
    before, after = {FILE: text.format(15).encode()}, {FILE: text.format(16).encode()}
    assert edited_images(before, after) == ["postgres:15", "postgres:16"]
    assert edited_images(after, after) == []

"""What a suite did instead of leaving a report."""

import pytest

from gate.no_report import why_no_report

USAGE = "usage: pytest [options]\npytest: error: unrecognized arguments: --json-report --json-report-file=x"


@pytest.mark.parametrize(
    ("command", "code", "said", "heard", "running", "why"),
    [
        ("pytst t", 127, "sh: 1: pytst: not found\n", False, (), "command was not found: sh: 1: pytst: not"),
        ("./run", 126, "sh: 1: ./run: Permission denied", False, (), "cannot be executed: sh: 1: ./run"),
        ("pytest t", 4, USAGE, False, (), "ran a pytest without the gate's plugin; install it in"),
        ("python -m pytest", 1, "python: No module named pytest", False, (), "without pytest or the gate's"),
        ("pytest --json-report-file=x.json", 0, "1 passed", True, (), "wrote its report elsewhere"),
        ("env -i pytest t", 0, "1 passed", False, (), "env -i drops the gate's variables; run"),
        ("tox -e py311", 1, "1 failed", False, (), "pass_env = GATE_*"),
        (
            "unset PYTEST_ADDOPTS; pytest",
            0,
            "1 passed",
            True,
            (),
            "drops the environment variable PYTEST",
        ),
        (
            "pytest t",
            1,
            "Traceback ...\npytest.PytestConfigWarning: assertions",
            False,
            (),
            "exit code 1 before its tests began: pytest.PytestConfigWarning: assertions",
        ),
        ("make test", 0, "1 passed", False, (), "'make test' drops the environment variables"),
        ("pytest t", 3, "", True, ("t.py::test_b", "t.py::test_a"), "t.py::test_a and 1 more were running"),
        ("pytest t", 139, "", True, ("t.py::test_a",), "crashed with exit code 139 while t.py::test_a was"),
        (
            "pytest t",
            4,
            "E   KeyError: 'x'\n",
            True,
            (),
            "ended with exit code 4 and wrote no report: Key",
        ),
        ("pytest t", 127, "", True, (), "ended with exit code 127 and wrote no report"),
    ],
)
def test_each_cause_is_told_as_what_it_was(command, code, said, heard, running, why):  # noqa: PLR0917
    assert why in why_no_report(command, code, said, heard=heard, running=running)

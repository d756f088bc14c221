"""The tests on every Python and pytest that is promised: `nox`; one: `nox -s "tests(3.13, pytest 9)"`."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True

PAIRS = [("3.11", "8"), ("3.11", "9"), ("3.12", "9"), ("3.13", "9")]


@nox.session
@nox.parametrize("python, pytest", PAIRS, ids=[f"{python}, pytest {pytest}" for python, pytest in PAIRS])
def tests(session: nox.Session, pytest: str) -> None:
    """Unit, end-to-end and gated suites."""
    session.install("--require-hashes", "-r", "requirements.lock")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    if pytest != "9":
        session.install(f"pytest=={pytest}.*")
    session.run("pytest", "tests/gate", "-n", "2", "--dist", "worksteal", "-m", "not long", *session.posargs)
    session.run("pytest", "tests/agents", "tests/load", "tests/performance", "tests/integration", "-q")

"""A double of GitHub for each test, and connections to it that wait a thousandth of what GitHub asks for."""

from collections.abc import Callable, Iterator

import pytest

from gate.github.client import GitHub
from gate.github.context import Context
from tests.gate.github.double import Double

HEAD = "a" * 40
OLD = "b" * 40


@pytest.fixture
def double() -> Iterator[Double]:
    """A pull request, number 7, and the run 42 that judged its head."""
    with Double().serving() as served:
        served.add_pull(7, HEAD)
        served.add_run(42, HEAD)
        served.permissions |= {"kim": "write", "ada": "admin", "sam": "read"}
        yield served


@pytest.fixture
def connect(double: Double) -> Iterator[Callable[..., GitHub]]:
    """A connection with a token."""
    opened: list[GitHub] = []

    def connection(
        token: str = "writer", *, url: str = "", timeout: float = 0.5, patience: float = 20
    ) -> GitHub:
        context = Context("acme/shop", token, url or double.url, run_id=42)
        opened.append(GitHub(context, timeout=timeout, patience=patience, pace=0.001))
        return opened[-1]

    yield connection
    for github in opened:
        github.__exit__(None, None, None)

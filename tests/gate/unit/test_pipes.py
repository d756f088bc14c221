"""Named pipes: what is written arrives, and only what is meant for them; no file is ever touched."""

import os
import threading
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from gate.no_report import unreached
from pytest_regression_gate.pipes import Address, Pipe

LONG = b"x" * 300_000
"""More than a pipe holds."""


@pytest.fixture
def pipe(tmp_path: Path) -> Generator[Pipe]:
    with Pipe(tmp_path, "pipe") as pipe:
        yield pipe


def test_lines_arrive_in_order_whoever_opens_the_pipe(pipe: Pipe):
    address = Address.from_text(str(pipe.address))
    assert pipe.receive(0) is None
    for line in (b"one", b"two words", b""):
        address.send(line)
    assert [pipe.receive(0) for _ in range(4)] == [b"one", b"two words", b"", None]


def test_a_line_may_be_longer_than_a_pipe(pipe: Pipe):
    writer = threading.Thread(target=pipe.address.send, args=(LONG,))
    writer.start()
    assert pipe.receive(10) == LONG
    writer.join()


def test_what_bears_another_token_is_not_heard(pipe: Pipe):
    other = Address(pipe.address.path, "0" * 16)
    other.send(b"of an earlier run")
    pipe.address.send(b"of this one")
    assert [pipe.receive(0), pipe.receive(0)] == [b"of this one", None]
    pipe.send(b"a command")
    assert other.receive() == b""


def test_the_other_end_waits_until_something_is_said_or_the_owner_is_gone(pipe: Pipe):
    heard: list[bytes] = []

    def listen() -> None:
        with suppress(FileNotFoundError):  # it may ask once more just after the end
            while data := pipe.address.receive():
                heard.append(data)

    listener = threading.Thread(target=listen)
    listener.start()
    pipe.send(b"begin")
    while not heard:
        pass
    pipe.close()
    listener.join(10)
    assert not listener.is_alive()
    assert heard == [b"begin\n"]


def test_an_owner_that_is_gone_is_told(tmp_path: Path):
    with Pipe(tmp_path, "pipe") as pipe:
        assert pipe.address.reachable
    assert not pipe.address.reachable
    with pytest.raises(OSError, match="No such file"):
        pipe.address.send(b"too late")
    os.mkfifo(pipe.address.path)  # what a killed owner leaves
    assert not pipe.address.reachable
    with pytest.raises(OSError, match="No such device"):
        pipe.address.send(b"too late")
    assert pipe.address.receive() == b""


def test_no_file_is_written_that_is_no_pipe(tmp_path: Path):
    precious = tmp_path / "app.db"
    precious.write_bytes(b"precious")
    address = Address(str(precious), "token")
    assert not address.reachable
    with pytest.raises(OSError, match="is no named pipe"):
        address.send(b"progress")
    with pytest.raises(OSError, match="is no named pipe"):
        address.receive()
    assert precious.read_bytes() == b"precious"


def test_descriptors_beyond_a_thousand_are_no_limit(tmp_path: Path):
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with Pipe(tmp_path, "pipe") as pipe:
            pipe.address.send(b"here")
            assert pipe.receive(0) == b"here"
    finally:
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tox -e py311", "pass_env = GATE_*, PYTEST_ADDOPTS"),
        ("python -m tox", "pass_env"),
        ("cd api && /usr/bin/tox", "pass_env"),
        ("sudo -u app pytest", "--preserve-env"),
        ("env -i PATH=$PATH pytest", "env -i"),
        ("docker run --rm api pytest", "container"),
        ("env A=1 pytest tests/toxicity", "'env A=1 pytest tests/toxicity' drops"),
    ],
)
def test_what_keeps_the_variables_is_named(command: str, said: str):
    assert said in unreached(command)

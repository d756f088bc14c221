"""Services beside a suite: started, waited for, ended with all they started, and named when they fail."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from gate.policy import Service
from gate.services import ready
from gate.services.serving import Place, ServiceError, Serving, serving
from gate.services.variables import filled_in, in_order, secrets_of, without
from gate.units import Quantity
from tests.gate.unit.test_processes import gone, written

PYTHON = sys.executable
SERVER = f"{PYTHON} -m http.server --bind 127.0.0.1 $GATE_PORT"
SHORT = Quantity(300, "ms")


def place(root: Path, **others: Any) -> Place:
    return Place(root, "head", dict(os.environ), **others)


def fetched(port: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return answer.status


def refused(root: Path, service: Service, **others: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught, serving([service], place(root, **others)):
        pytest.fail("it was used")
    return caught.value


def lasting(seconds: int) -> str:
    """A command that only this process of the test runner starts."""
    return f"sleep {seconds}.{os.getpid()}"


def processes_naming(text: str) -> list[int]:
    """Processes that have a text in their command."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if text in " ".join(p.info["cmdline"] or [])]


def test_it_is_there_while_the_block_runs_and_gone_afterwards(tmp_path: Path):
    with serving([Service("api", SERVER)], place(tmp_path)) as services:
        told = services.variables
        assert fetched(told["GATE_PORT"]) == 200
        assert told["GATE_PORT"] == told["GATE_PORT_API"]
        assert (told["GATE_HOST"], told["GATE_SIDE"]) == ("127.0.0.1", "head")
        assert Path(told["GATE_DIR"]).is_dir()
        services.check()
        [running] = services.running
    assert gone(running.process.pid)
    assert not Path(told["GATE_DIR"]).exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(told["GATE_PORT"])), timeout=1)


def test_two_sides_have_nothing_in_common(tmp_path: Path):
    base = replace(place(tmp_path), side="base")
    with (
        serving([Service("api", SERVER)], base) as one,
        serving([Service("api", SERVER)], place(tmp_path)) as other,
    ):
        for name in ("GATE_PORT", "GATE_DIR", "GATE_ID", "GATE_SIDE"):
            assert one.variables[name] != other.variables[name]
        assert one.variables["GATE_ID"].isidentifier()


def test_without_needs_nothing_is_told(tmp_path: Path):
    with serving([], place(tmp_path)) as services:
        assert services == Serving()


def test_in_their_order_and_each_knows_those_before_it(tmp_path: Path):
    data = Service("data-base", SERVER)
    cache = Service("cache", SERVER, after=(data,))
    listing = f"echo api $GATE_PORT_DATA_BASE $GATE_PORT_CACHE > order; {SERVER}"
    api = Service(
        "api", listing, after=(data, cache), env=(("URL", "tcp://$GATE_HOST_CACHE:${GATE_PORT_CACHE}"),)
    )
    assert [one.name for one in in_order([api, data])] == ["data-base", "cache", "api"]
    with serving([api], place(tmp_path)) as services:
        told = services.variables
        assert told["GATE_PORT"] == told["GATE_PORT_API"]
        assert (tmp_path / "order").read_text().split()[1:] == [
            told["GATE_PORT_DATA_BASE"],
            told["GATE_PORT_CACHE"],
        ]
        assert "URL" not in told


def test_prepared_before_it_starts_and_cleaned_up_when_it_has_ended(tmp_path: Path):
    service = Service(
        "api",
        f"echo run $MODE >> steps; {SERVER}",
        prepare="echo prepare $GATE_ID $MODE >> steps",
        cleanup="echo cleanup $GATE_ID >> steps",
        env=(("MODE", "$OTHER-mode"),),
    )
    where = replace(place(tmp_path), environment={**os.environ, "OTHER": "other"})
    with serving([service], where) as services:
        name = services.variables["GATE_ID"]
    assert (tmp_path / "steps").read_text().splitlines() == [
        f"prepare {name} other-mode",
        "run other-mode",
        f"cleanup {name}",
    ]


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (
            Service("api", f"{PYTHON} -c 'raise KeyError(5)'"),
            "cannot run: service 'api' ended with exit code 1 before it was ready: KeyError: 5",
        ),
        (
            Service("api", "kill -SEGV $$"),
            "cannot run: service 'api' was killed by signal 11 before it was ready",
        ),
        (
            Service("api", SERVER, prepare="echo no such table; exit 3"),
            "cannot run: service 'api' failed: its prepare command ended with exit code 3: no such table",
        ),
        (
            Service("api", "echo I wait; exec sleep 60", timeout=SHORT),
            "cannot run: service 'api' was not ready after 300 ms (waited for 127.0.0.1:",
        ),
        (
            Service("api", "exec sleep 60", ready="listening", timeout=SHORT),
            "cannot run: service 'api' was not ready after 300 ms (waited for listening)",
        ),
        (
            Service("api", SERVER, ready="http://127.0.0.1:$GATE_PORT/missing", timeout=SHORT),
            "cannot run: service 'api' was not ready after 300 ms (waited for http://127.0.0.1:",
        ),
        (
            Service("api", SERVER, prepare="exec sleep 60", timeout=SHORT),
            "cannot run: service 'api' failed: its prepare command takes longer than 300 ms",
        ),
        (
            Service("api", SERVER, env=(("URL", "$NOT_THERE_AT_ALL"),)),
            "cannot run: service 'api' failed: services.api.env.URL: $NOT_THERE_AT_ALL is not set",
        ),
        (
            Service("api", SERVER, cwd="nowhere"),
            "cannot run: service 'api' failed: services.api.cwd: no directory 'nowhere'",
        ),
        (
            Service("db", shared=True, port=1, timeout=SHORT),
            "cannot run: service 'db' was not ready after 300 ms (waited for 127.0.0.1:1)",
        ),
    ],
)
def test_why_it_cannot_be_used(tmp_path: Path, service: Service, said: str):
    assert refused(tmp_path, service).line.startswith(said)


def test_one_that_ends_while_the_suite_runs(tmp_path: Path):
    code = (
        "import os, time\n"
        "print('up', flush=True)\n"
        "while not os.path.exists('end'): time.sleep(.01)\n"
        "raise OSError('disk full')"
    )
    dies = f'{PYTHON} -c "{code}"'
    with serving([Service("api", dies, ready="up")], place(tmp_path)) as services:
        services.check()
        (tmp_path / "end").touch()
        services.running[0].process.wait(timeout=30)
        with pytest.raises(ServiceError, match=r"'api' ended with exit code 1 while the suite ran") as caught:
            services.check()
    assert caught.value.line.endswith("OSError: disk full")


def test_a_line_of_its_output_may_say_that_it_is_ready(tmp_path: Path):
    with serving(
        [Service("worker", "echo worker is up; exec sleep 60", ready="is up")], place(tmp_path)
    ) as found:
        found.check()


def test_it_ends_though_it_ignores_being_asked_and_leaves_a_daemon(tmp_path: Path):
    stubborn = f"trap '' TERM; setsid {lasting(987)} & echo $! > daemon; {SERVER}"
    with serving([Service("api", stubborn)], place(tmp_path)):
        daemon = int(written(tmp_path / "daemon"))
    assert gone(daemon)
    assert not processes_naming(lasting(987))


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are adopted on Linux alone")
def test_a_daemon_without_its_variables_ends_with_it(tmp_path: Path):
    daemon = f'env -i PATH="$PATH" setsid sh -c "{lasting(654)} & setsid {lasting(654)} &"'
    with serving([Service("api", f"{daemon}; {SERVER}", prepare=f"{daemon}")], place(tmp_path)):
        pass
    assert not processes_naming(lasting(654))


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are adopted on Linux alone")
def test_a_daemon_of_the_side_that_ends_last(tmp_path: Path):
    """It is nobody's child only when its service ends, and then the other side is over."""
    daemon = Service("api", f'env -i PATH="$PATH" setsid {lasting(543)} & {SERVER}')
    with serving([daemon], place(tmp_path)), serving([Service("api", SERVER)], place(tmp_path)):
        pass
    assert not processes_naming(lasting(543))


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are adopted on Linux alone")
def test_a_server_that_is_a_daemon_without_its_variables(tmp_path: Path):
    server = f'env -i PATH="$PATH" GATE_PORT="$GATE_PORT" setsid -f {SERVER}; exec sleep 60'
    with serving([Service("api", server)], place(tmp_path)) as services:
        port = services.variables["GATE_PORT"]
        assert fetched(port) == 200
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(port)), timeout=1)


def test_a_flood_of_output_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gate.services.logs._LONGEST", 200_000)
    flood = f"{PYTHON} -c \"print('up', flush=True)\nwhile True: print('x' * 99)\""
    kept = tmp_path / "kept.log"
    with serving([Service("api", flood, ready="up")], place(tmp_path, logs=lambda _: kept)) as services:
        log = services.running[0].log
        for _ in range(600):
            if b"[the gate cut" in log.read_bytes():
                break
            time.sleep(0.05)
        else:
            pytest.fail("it is not cut")
    assert kept.stat().st_size < 100_000
    assert "xxx" in kept.read_text()


def test_a_port_that_somebody_else_takes_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], ready.free_port()])
        monkeypatch.setattr("gate.services.serving.free_port", lambda _: next(ports))
        with serving([Service("api", SERVER)], place(tmp_path, listen=said.append)) as services:
            assert fetched(services.variables["GATE_PORT"]) == 200
        assert said == [f"service api: something else took port {taken.getsockname()[1]}; trying another one"]


def test_what_answers_at_its_port_must_be_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that listens elsewhere looks ready where another process answers."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr("gate.services.serving.free_port", lambda _: other.getsockname()[1])
        problem = refused(tmp_path, Service("api", "exec sleep 60"))
    assert "something else had its port 3 times" in problem.line


def test_secrets_are_in_no_message_and_no_log(tmp_path: Path):
    kept = tmp_path / "kept.log"
    where = replace(
        place(tmp_path, logs=lambda _: kept),
        environment={**os.environ, "PASSWORD": "sesame-1234", "PORT_": "80"},
    )
    service = Service(
        "api", "echo $URL; exit 1", env=(("URL", "tcp://me:$PASSWORD@$GATE_HOST"), ("SMALL", "$PORT_"))
    )
    with pytest.raises(ServiceError) as caught, serving([service], where):
        pass
    for text in (str(caught.value), caught.value.line, kept.read_text()):
        assert "***" in text
        assert "sesame" not in text
    assert refused_prepare(service, where) == "its prepare command ended with exit code 1: ***"


def refused_prepare(service: Service, where: Place) -> str:
    broken = replace(service, prepare=service.run)
    with pytest.raises(ServiceError) as caught, serving([broken], where):
        pass
    assert "sesame" not in str(caught.value)
    return caught.value.line.partition("failed: ")[2]


def test_secrets_of_one_service_are_hidden_in_the_others_and_in_what_is_waited_for(tmp_path: Path):
    kept = tmp_path / "kept.log"
    where = replace(
        place(tmp_path, logs=lambda _: kept), environment={**os.environ, "PASSWORD": "sesame 12/34"}
    )
    first = Service("db", SERVER, env=(("PW", "$PASSWORD"),))
    quoted = f"{PYTHON} -c \"import os, urllib.parse as u; print(u.quote(os.environ['PASSWORD'], safe=''))\""
    waits = "http://127.0.0.1:$GATE_PORT/$PASSWORD"
    for second in (
        Service("api", f"echo $PASSWORD; {quoted}; exit 3", after=(first,)),
        Service("api", "exec sleep 9", ready=waits, after=(first,), timeout=SHORT),
    ):
        with pytest.raises(ServiceError) as caught, serving([second], where):
            pass
        assert "sesame" not in str(caught.value) + caught.value.line + kept.read_text()


def test_only_what_comes_from_outside_is_hidden():
    service = Service("api", "x", env=(("A", "plain"), ("B", "$GATE_DIR/app.db"), ("C", "$KEY")))
    assert secrets_of(service, {"GATE_DIR": "/tmp/somewhere", "KEY": "0123456789"}) == ["0123456789"]
    assert without("a 0123456789 b", ["0123456789"]) == "a *** b"
    assert filled_in("$A${B}c $$", {"A": "1", "B": "2"}) == "12c $$"


def test_a_shared_one_is_prepared_and_left_alone(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        service = Service("db", shared=True, port=port, prepare="echo $GATE_PORT > made", cleanup="rm made")
        with serving([service], place(tmp_path)) as services:
            assert services.variables["GATE_PORT_DB"] == str(port)
            assert (tmp_path / "made").read_text().strip() == str(port)
            assert not services.running
        assert not (tmp_path / "made").exists()
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


KILLED = """
import os, sys
from pathlib import Path
from gate.policy import Service
from gate.processes import interruptible
from gate.services.serving import Place, serving
root = Path(sys.argv[1])
interruptible()
service = Service("api", sys.argv[2], cleanup="touch cleaned")
with serving([service], Place(root, "head", dict(os.environ))) as services:
    (root / "told").write_text(services.variables["GATE_DIR"] + " " + str(services.running[0].process.pid))
    import time
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_gate_ends(tmp_path: Path, number: int):
    command = [PYTHON, "-c", KILLED, tmp_path, f"setsid {lasting(876)} & {SERVER}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    directory, pid = written(tmp_path / "told").split()
    process.send_signal(number)
    process.wait(timeout=60)
    assert gone(int(pid))
    for _ in range(600):
        left = [*processes_naming(lasting(876)), *([directory] if Path(directory).exists() else [])]
        if not left and (tmp_path / "cleaned").exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"left: {left}")

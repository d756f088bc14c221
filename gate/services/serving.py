"""Starts services in their order, waits until they are ready, and ends them with all that they started."""

import subprocess
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gate.policy import LOOPBACK, Service
from gate.processes import adopting, cleaned_up, end_processes_of, fresh_directory, process_group, run_to_end
from gate.services.logs import Listener, end_of, last_error, shortened
from gate.services.ready import free_port, is_ready, taken_by_another
from gate.services.variables import (
    Address,
    UnknownVariableError,
    filled_in,
    in_order,
    secrets_of,
    told,
    without,
)

_STARTS: Final = 3
"""How often a service is started whose port somebody else took in between."""
_LOOK: Final = 0.02
_SAY: Final = 5.0
"""Seconds after which, again and again, is said what is waited for."""
_GRACE: Final = 1.0
"""Seconds between asking a service to end and killing it: of two sides one after the other, within five."""
_LINES: Final = 15
_CLEAN_UP_SECONDS: Final = 30.0


class ServiceError(Exception):
    """A service cannot be used. The message holds the end of what it printed."""

    def __init__(self, service: str, what: str, said: str = "") -> None:
        self.line = f"cannot run: service {service!r} {what}{last_error(said)}"
        """The message in one line."""
        super().__init__(f"cannot run: service {service!r} {what}:\n{said}" if said else self.line)


@dataclass(frozen=True)
class Place:
    """Where services run, and as whose."""

    root: Path
    """The directory of thresholds.yaml on this side."""
    side: str
    """`base` or `head`."""
    environment: Mapping[str, str]
    moved: Callable[[str], str] = lambda text: text
    """Leads paths of the work tree into the side's tree."""
    logs: Callable[[str], Path] | None = None
    """Where the end of a service's log is kept; None: nowhere."""
    listen: Callable[[str], None] = lambda _: None


@dataclass
class _Running:
    """A service that was started."""

    service: Service
    process: "subprocess.Popen[bytes]"
    log: Path
    secrets: Collection[str]

    @property
    def said(self) -> str:
        """The last lines of its log, without secrets."""
        return "\n".join(end_of(self.log, self.secrets).splitlines()[-_LINES:])

    def ended(self) -> str:
        """How it ended; empty: it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


@dataclass
class Serving:
    """The services of one start."""

    variables: dict[str, str] = field(default_factory=dict[str, str])
    """For the suite."""
    running: list[_Running] = field(default_factory=list[_Running])
    ports: frozenset[str] = frozenset()
    """Of those that it started."""

    def check(self) -> None:
        """Look whether all of them still run.

        Raises:
            ServiceError: one has ended by itself.
        """
        for one in self.running:
            if how := one.ended():
                raise ServiceError(one.service.name, f"{how} while the suite ran", one.said)


@contextmanager
def serving(needs: Sequence[Service], place: Place) -> Generator[Serving]:
    """Start services; they are gone, and what they left is cleaned up, when the block ends.

    Args:
        needs: what the suite names; what these come `after` is started as well.
        place: where.

    Raises:
        ServiceError: one does not get ready.
    """
    if not needs:
        yield Serving()
        return
    with ExitStack() as stack:
        stack.enter_context(adopting())
        directory = stack.enter_context(fresh_directory("gate-services-"))
        stack.callback(end_processes_of, directory)
        starter = _Starter(place, directory)
        stack.enter_context(shortened(lambda: [one.log for one in starter.running]))
        for service in in_order(needs):
            starter.start(service, stack)
        variables = told(place.side, directory, starter.known, needs[0].name)
        yield Serving(variables, starter.running, starter.ports)


@dataclass
class _Starter:
    """Starts one service after the other."""

    place: Place
    directory: Path
    """Of this side and this start alone."""
    known: dict[str, Address] = field(default_factory=dict[str, Address])
    """Where services are, by name."""
    running: list[_Running] = field(default_factory=list[_Running])
    secrets: set[str] = field(default_factory=set[str])
    """Of all services so far: each of them has the gate's whole environment."""

    @property
    def ports(self) -> frozenset[str]:
        """Of the services that were started."""
        return frozenset(str(self.known[one.service.name].port) for one in self.running)

    def start(self, service: Service, stack: ExitStack) -> None:
        """Start a service and wait for it; it ends with the stack."""
        for _ in range(_STARTS):
            port = service.port if service.shared else free_port(service.host)
            self.known[service.name] = Address(service.host, port)
            with ExitStack() as attempt:
                if self._attempt(service, attempt):
                    stack.push(attempt.pop_all())
                    return
            self.place.listen(f"service {service.name}: something else took port {port}; trying another one")
        what = (
            f"cannot listen: something else had its port {_STARTS} times; let it use $GATE_PORT of {LOOPBACK}"
        )
        raise ServiceError(service.name, what)

    def _attempt(self, service: Service, stack: ExitStack) -> bool:
        """Prepare and start a service; whether the port that it listens on is its own."""
        variables = self._variables(service)
        self.secrets.update(secrets_of(service, variables))
        where = self.place.root / service.cwd
        if not where.is_dir():
            raise ServiceError(
                service.name, f"failed: services.{service.name}.cwd: no directory {service.cwd!r}"
            )
        if service.cleanup:
            command = self.place.moved(service.cleanup)
            stack.enter_context(cleaned_up(command, cwd=where, env=variables, seconds=_CLEAN_UP_SECONDS))
        if service.prepare:
            self._prepare(service, where, variables)
        if service.shared:
            return self._wait(service, variables, None)
        log = self.directory / f"{service.name}.log"
        if self.place.logs is not None:
            stack.callback(_keep, log, self.place.logs(service.name), self.secrets)
        output = stack.enter_context(log.open("ab"))
        process = stack.enter_context(
            process_group(
                self.place.moved(service.run), cwd=where, env=variables, output=output, grace=_GRACE
            )
        )
        self.known[service.name] = replace(self.known[service.name], pid=process.pid)
        running = _Running(service, process, log, self.secrets)
        self.running.append(running)
        own = self._wait(service, variables, running)
        if not own:
            self.running.remove(running)
        return own

    def _variables(self, service: Service) -> dict[str, str]:
        """All that its processes are told."""
        place = self.place
        base = {**place.environment, **told(place.side, self.directory, self.known, service.name)}
        where = f"services.{service.name}.env"
        own = {
            name: _filled_in(place.moved(text), base, service, f"{where}.{name}")
            for name, text in service.env
        }
        return base | own

    def _prepare(self, service: Service, where: Path, variables: Mapping[str, str]) -> None:
        self.place.listen(f"service {service.name}: preparing it")
        code, said = run_to_end(
            self.place.moved(service.prepare), cwd=where, env=variables, seconds=service.timeout.to("s")
        )
        if code != 0:
            how = f"takes longer than {service.timeout}" if code is None else f"ended with exit code {code}"
            tail = without("\n".join(said[-_LINES:]), self.secrets)
            raise ServiceError(service.name, f"failed: its prepare command {how}", tail)

    def _wait(self, service: Service, variables: Mapping[str, str], running: _Running | None) -> bool:
        """Wait until a service is ready; whether the port is its own.

        Raises:
            ServiceError: it ended, or is not ready in time.
        """
        address = self.known[service.name]
        condition = _filled_in(service.ready, variables, service, f"services.{service.name}.ready")
        what = f"{address.host}:{address.port}" if condition == "port" else without(condition, self.secrets)
        log = Listener(running.log) if running else None
        begun = say = time.monotonic()
        while True:
            now = time.monotonic()
            if running and (how := running.ended()):
                if taken_by_another(address.port, address.pid, self.directory, running.said):
                    return False
                raise ServiceError(service.name, f"{how} before it was ready", running.said)
            if is_ready(condition, address.host, address.port, log):
                return running is None or not taken_by_another(address.port, address.pid, self.directory, "")
            if now - begun > service.timeout.to("s"):
                late = f"was not ready after {service.timeout} (waited for {what})"
                raise ServiceError(service.name, late, running.said if running else "")
            if now - say > _SAY:
                say = now
                self.place.listen(f"service {service.name}: waiting for {what}, {now - begun:.0f} s")
            time.sleep(_LOOK)


def _filled_in(text: str, variables: Mapping[str, str], service: Service, where: str) -> str:
    try:
        return filled_in(text, variables)
    except UnknownVariableError as error:
        raise ServiceError(service.name, f"failed: {where}: {error}") from None


def _keep(log: Path, kept: Path, secrets: Collection[str]) -> None:
    """Leave the end of a log where the user finds it, without secrets."""
    with suppress(OSError):
        kept.write_text(end_of(log, secrets), encoding="utf-8", errors="replace")

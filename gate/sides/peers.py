"""Services beside the tests: is it a database or a cache, which runs none of the project's code?"""

import os
import socket
from typing import Final

import psutil

from gate.sides.footprints import Peer

_STORES: Final = frozenset(
    {
        "beam.smp", "clickhouse-serv", "epmd", "etcd", "mariadbd", "memcached", "minio", "mongod", "mysqld",
        "nats-server", "postgres", "redis-server", "redis-sentinel", "valkey-server",
    }
)  # fmt: skip
"""Names of processes, which Linux cuts after 15 characters."""
_GREETINGS: Final = (
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", (b"S", b"N")),  # PostgreSQL: SSLRequest
    (b"PING\r\n", (b"+PONG", b"-NOAUTH", b"-DENIED")),  # Redis, Valkey
    (b"version\r\n", (b"VERSION",)),  # memcached
    (b"AMQP\x00\x00\x09\x01", (b"\x01\x00\x00", b"AMQP")),  # RabbitMQ
)
_SECONDS: Final = 0.3
_LOCAL: Final = frozenset({"localhost", "0.0.0.0", "::", "::1"})
_MYSQL: Final = b"\x0a"
"""The version of the protocol in a greeting, after its four bytes of length and number."""


def is_local(host: str) -> bool:
    """Whether an address is one of this machine's."""
    if host in _LOCAL or host.startswith(("127.", "::ffff:127.")):
        return True
    return any(host == address.address for found in psutil.net_if_addrs().values() for address in found)


def is_store(peer: Peer) -> bool:
    """Whether a peer speaks the protocol of a database, a cache or a queue.

    The name of its process tells; where that is not this user's, or a container's, it is asked.
    """
    if peer.host == "unix":
        return "PGSQL" in peer.port or any(word in peer.port for word in ("mysql", "redis", "mongo"))
    if peer.pid:
        try:
            name = psutil.Process(int(peer.pid)).name()
        except (psutil.Error, ValueError):
            name = os.path.basename(peer.command.partition(" ")[0])  # noqa: PTH119 - a text
        if name in _STORES:
            return True
        if "proxy" not in name and "rootless" not in name and "slirp" not in name:
            return False
    return _greets_first(peer) or any(_answers(peer, *greeting) for greeting in _GREETINGS)


def _greets_first(peer: Peer) -> bool:
    """MySQL and MariaDB speak before they are asked."""
    answer = _talk(peer, b"")
    return answer[4:5] == _MYSQL


def _answers(peer: Peer, said: bytes, wanted: tuple[bytes, ...]) -> bool:
    return _talk(peer, said).startswith(wanted)


def _talk(peer: Peer, said: bytes) -> bytes:
    host = "127.0.0.1" if peer.host in {"", "0.0.0.0", "localhost"} else peer.host
    try:
        with socket.create_connection((host, int(peer.port)), timeout=_SECONDS) as connection:
            if said:
                connection.sendall(said)
            return connection.recv(64)
    except (OSError, ValueError):
        return b""

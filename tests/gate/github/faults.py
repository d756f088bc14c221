"""The double's HTTP side, and everything that can go wrong on it."""

import hashlib
import json
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.gate.github import validation

if TYPE_CHECKING:
    from tests.gate.github.double import Double, Reply


@dataclass
class Fault:
    """How some requests go wrong."""

    operation: str
    kind: str
    """refuse (status, headers, message), silent, silent-after, drop, drop-after, huge, malformed, truncated,
    html, redirect, slow."""
    times: int = 1
    options: dict[str, Any] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    @property
    def double(self) -> "Double":
        return self.server.double  # type: ignore[attr-defined,no-any-return]

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path.removeprefix("/api/v3"), dict(parse_qsl(parts.query, keep_blank_values=True))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        authorization = self.headers.get("Authorization", "")
        if path.startswith("/_store/"):
            self._store(path, authorization)
            return
        if path.startswith("/_moved"):
            path = path.removeprefix("/_moved")
        found = validation.find(self.command, path)
        fault = self._fault(found[0] if found else "")
        kind = fault.kind if fault else ""
        if fault and self._before(kind, fault):
            return
        body = json.loads(raw) if raw else None
        reply = self.double.answer(
            self.command, path, query, body, authorization.removeprefix("Bearer ") or None
        )
        if kind == "silent-after":
            self.double.over.wait(30)
            self._cut()
        elif kind == "drop-after":
            self._cut()
        else:
            self._send(reply, kind)

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - as the standard library calls them

    def _fault(self, operation: str) -> Fault | None:
        with self.double.lock:
            for fault in self.double.faults:
                if fault.times > 0 and fault.operation in {"*", operation}:
                    fault.times -= 1
                    return fault
        return None

    def _before(self, kind: str, fault: Fault) -> bool:
        """Go wrong without doing what was asked; whether that was all."""
        options = fault.options
        if kind == "refuse":
            text = options.get("message", "it is refused")
            self._plain(options["status"], json.dumps({"message": text}).encode(), options.get("headers", {}))
        elif kind == "html":
            self._plain(options["status"], b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
        elif kind == "silent":
            self.double.over.wait(30)
            self._cut()
        elif kind == "drop":
            self._cut()
        elif kind == "redirect":
            self._plain(
                options.get("status", 307), b"", {"Location": options.get("to", f"/_moved{self.path}")}
            )
        else:
            if kind == "slow":
                self.double.over.wait(options.get("seconds", 0.1))
            return False
        return True

    def _send(self, reply: "Reply", kind: str) -> None:
        data = b"" if reply.body is None else json.dumps(reply.body).encode()
        headers = dict(reply.headers)
        if page := headers.pop("X-Next-Page", ""):
            parts = urlsplit(self.path)
            query = "&".join(
                [*(f"{k}={v}" for k, v in parse_qsl(parts.query) if k != "page"), f"page={page}"]
            )
            headers["Link"] = f'<{self.double.url}{parts.path}?{query}>; rel="next"'
        if self.command == "GET" and reply.status == 200:
            tag = f'"{hashlib.sha1(data).hexdigest()}"'
            headers["ETag"] = tag
            if self.headers.get("If-None-Match") == tag:
                self._plain(304, b"", headers)
                return
        if kind == "huge":
            data = data[:-1] + b" " * 10_000_000 + data[-1:]
        elif kind == "malformed":
            data = b'{"id": 12, "body": '
        elif kind == "truncated":
            headers["Content-Length"] = str(len(data) + 1000)
        elif kind == "wrong-clock":
            headers["Date"] = formatdate(time.time() - 5 * 86_400, usegmt=True)
        self._plain(reply.status, data, headers)
        if kind == "truncated":
            self._cut()

    def _store(self, path: str, authorization: str) -> None:
        """The store of artifacts, which takes no token."""
        if authorization:
            self.double.violations.append("the token was sent to the store")
            self._plain(400, b"", {})
            return
        _, _, data = self.double.artifacts[int(path.rpartition("/")[2])]
        self._plain(200, data, {"Content-Type": "application/zip"})

    def _plain(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        given = {name.lower() for name in headers}
        for name, value in {"Date": formatdate(usegmt=True), "Content-Type": "application/json"}.items():
            if name.lower() not in given:
                self.send_header(name, value)
        if "content-length" not in given:
            self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
            self.wfile.write(data)

    def _cut(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

"""One request to GitHub and its answer: bounded in size and time, redirects followed, errors sorted out."""

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from gate.github.context import Context
from gate.github.errors import AgainError, ForbiddenError, GitHubError, NotFoundError, UncertainError

MOST_BYTES: Final = 32 * 2**20
"""A hundred comments of the largest size, written as JSON, are less."""
_MOST_REDIRECTS: Final = 3
_MINUTE: Final = 60.0
"""Seconds that GitHub asks for after a secondary limit that names no time."""
_VERSION: Final = "2022-11-28"
_REDIRECTS: Final = frozenset({301, 302, 307, 308})


@dataclass(frozen=True)
class Request:
    """What is asked."""

    method: str
    url: str
    query: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    body: Mapping[str, Any] | None = None
    most: int = MOST_BYTES
    """Bytes of the answer."""
    elsewhere: bool = False
    """Whether it may be redirected to another host, which does not get the token."""

    @property
    def creates(self) -> bool:
        """Whether doing it twice is something else than doing it once."""
        return self.method == "POST"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: httpx.Headers
    body: bytes


class _Message(msgspec.Struct):
    message: str = ""


class Exchange:
    """Sends requests and remembers answers by their entity tags."""

    def __init__(self, context: Context, timeout: float) -> None:
        self._context = context
        self._timeout = timeout
        self._seen: dict[str, Answer] = {}
        self._http = httpx.Client(timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def forget(self) -> None:
        """Take back what was remembered: something of it is damaged."""
        self._seen.clear()

    def send(self, request: Request) -> Answer:
        """One attempt, redirects included: a renamed repository, or the store of an artifact.

        Raises:
            AgainError: it failed in a way that is worth another attempt.
            GitHubError: it failed otherwise.
        """
        token = self._context.token
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._once(request, token)
            if answer.status not in _REDIRECTS:
                return answer
            target = urljoin(request.url, answer.headers.get("location", ""))
            if not self.trusted(target):
                if not request.elsewhere or urlsplit(target).scheme not in {"http", "https"}:
                    raise GitHubError(
                        f"{self._name(request)}: the answer leads to another host; not followed"
                    )
                token = ""
            request = replace(request, url=target, query={})
        raise GitHubError(f"{self._name(request)}: redirected again and again")

    def trusted(self, url: str) -> bool:
        """Whether an address is one of the API's own host."""
        return _origin(url) == _origin(self._context.api)

    def _once(self, request: Request, token: str) -> Answer:
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": _VERSION,
            "User-Agent": "regression-gate",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        built = self._http.build_request(
            request.method, request.url, params=request.query or None, json=request.body, headers=headers
        )
        key = str(built.url)
        remembered = self._seen.get(key) if request.method == "GET" else None
        if remembered:
            built.headers["If-None-Match"] = remembered.headers["etag"]
        try:
            answer = self._received(built, request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout) as error:
            message = f"{self._name(request)}: GitHub cannot be reached: {self._reason(error)}"
            raise AgainError(GitHubError(message)) from None  # nothing was sent
        except httpx.HTTPError as error:
            message = f"{self._name(request)}: no whole answer: {self._reason(error)}"
            if request.creates:
                raise UncertainError(message) from None
            raise AgainError(GitHubError(message)) from None
        if answer.status == 304 and remembered:
            return remembered
        self._sort_out(request, answer)
        if request.method == "GET" and answer.status == 200 and "etag" in answer.headers:
            self._seen[key] = answer
        return answer

    def _received(self, built: httpx.Request, request: Request) -> Answer:
        """Read an answer within bounds; a drip of bytes is no answer."""
        deadline = time.monotonic() + self._timeout
        answer = self._http.send(built, stream=True)
        try:
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > request.most:
                    raise GitHubError(f"{self._name(request)}: the answer is over {request.most:,} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("it did not end in time")
            return Answer(answer.status_code, answer.headers, bytes(body))
        finally:
            answer.close()

    def _sort_out(self, request: Request, answer: Answer) -> None:
        """Raise what is no success."""
        status = answer.status
        if status < 400:
            return
        said = _said(answer)
        text = f"{self._name(request)}: {status}{f', {said}' if said else ''}"
        wait = _asked_to_wait(answer, said) if status in {403, 429} else None
        if wait is not None:
            raise AgainError(GitHubError(f"{text}; rate limit, GitHub asks to wait {wait:.0f} s"), wait)
        if status == 401:
            raise ForbiddenError(
                f"{text}; the token is missing or no longer valid, give the step GITHUB_TOKEN"
            )
        if status == 403:
            wanted = answer.headers.get("x-accepted-github-permissions", "")
            remedy = (
                f"the job needs one of: {_permissions(wanted)}" if wanted else "the token may not do that"
            )
            raise ForbiddenError(f"{text}; {remedy}")
        if status in {404, 410}:
            raise NotFoundError(text)
        if status == 409:  # somebody else changes it at this moment; nothing was done
            raise AgainError(GitHubError(text))
        if status < 500:
            raise GitHubError(text)
        if request.creates:
            raise UncertainError(text)
        raise AgainError(GitHubError(text))

    def _name(self, request: Request) -> str:
        """A request for people: the path alone, since an address may hold a signature."""
        path = urlsplit(request.url).path.removeprefix(urlsplit(self._context.api).path)
        return f"{request.method} {path}"

    def _reason(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        return text.replace(self._context.token, "***") if self._context.token else text


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _said(answer: Answer) -> str:
    """GitHub's own words on an error, short."""
    try:
        return msgspec.json.decode(answer.body, type=_Message).message[:200]
    except msgspec.DecodeError:
        return ""


def _asked_to_wait(answer: Answer, said: str) -> float | None:
    """Seconds until a limit ends; None if it is no limit.

    By the clock of the answer: this machine's may be wrong.
    """
    headers = answer.headers
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return float(after)
    if headers.get("x-ratelimit-remaining") == "0":
        return max(1.0, float(reset) - _date(headers) + 1) if reset.isdecimal() else _MINUTE
    return _MINUTE if answer.status == 429 or "secondary rate limit" in said.lower() else None


def _date(headers: httpx.Headers) -> float:
    """When an answer was sent, in seconds of the epoch."""
    try:
        return email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()


def _permissions(header: str) -> str:
    """`issues=write; pull_requests=write` as a workflow writes it."""
    return header.replace("=", ": ").replace("_", "-").replace(";", ",")

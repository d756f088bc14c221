"""GitHub's REST API: typed documents, pages, and patience with what passes.

Reads and changes are tried again whatever went wrong on the way. What creates something is tried again only
where GitHub certainly did not do it; else the caller looks it up first (`UncertainError`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
import stamina

from gate.github.context import Context
from gate.github.errors import AgainError, GitHubError, NotFoundError, UncertainError
from gate.github.exchange import Answer, Exchange, Request

PATIENCE: Final = 120.0
"""Seconds that one request may take with all its repetitions."""
TIMEOUT: Final = 20.0
"""Seconds for one attempt."""
_ATTEMPTS: Final = 6
_MOST_PAGES: Final = 50
_NEXT: Final = re.compile(r'<([^>]+)>\s*;\s*rel="next"')

_T = TypeVar("_T")


class GitHub:
    """One connection to GitHub. Use it as a context manager.

    Paths are below the repository; those that begin with `//` below the root of the API.

    Args:
        context: where it is, and the token.
        patience: seconds that a request may take with all its repetitions.
        timeout: seconds for one attempt; None: `TIMEOUT`.
        pace: factor of all waiting; tests make it small.
    """

    def __init__(
        self, context: Context, *, patience: float = PATIENCE, timeout: float | None = None, pace: float = 1.0
    ) -> None:
        self.context = context
        self._patience = patience
        self._pace = pace
        self._exchange = Exchange(context, timeout or TIMEOUT)
        stamina.instrumentation.set_on_retry_hooks([])  # the log shall hold results, not attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exchange.close()

    def get(self, path: str, kind: type[_T], **query: str | int) -> _T:
        """Read one document."""
        return self._repeated(
            Request("GET", self._url(path), query), lambda answer: _decoded(answer.body, kind)
        )

    def pages(self, path: str, kind: type[_T], key: str = "", **query: str | int) -> Iterator[_T]:
        """Read a list page by page.

        Args:
            path: of the list.
            kind: of its members.
            key: where the list stands in each page; empty: the page is the list.
            query: parameters.

        Raises:
            GitHubError: a page cannot be had, or there is no end of them.
        """
        request = Request("GET", self._url(path), {**query, "per_page": 100})
        for _ in range(_MOST_PAGES):
            members, link = self._repeated(request, lambda answer: _page(answer, kind, key))
            yield from members
            following = _NEXT.search(link)
            if not following:
                return
            if not self._exchange.trusted(following[1]):
                raise GitHubError(f"the next page of {path} is on another host; not followed")
            request = Request("GET", following[1])
        raise GitHubError(f"{path} has more than {_MOST_PAGES} pages")

    def create(self, path: str, body: Mapping[str, Any], kind: type[_T]) -> _T:
        """Create something.

        Raises:
            UncertainError: it may or may not have been created.
        """
        request = Request("POST", self._url(path), body=body)
        return self._repeated(request, lambda answer: _decoded(answer.body, kind))

    def create_once(
        self, path: str, body: Mapping[str, Any], kind: type[_T], known: Callable[[], _T | None]
    ) -> _T:
        """Create something, and look whether it is there before it is created again.

        Args:
            path: where.
            body: what.
            kind: of the answer.
            known: looks it up.
        """
        try:
            return self.create(path, body, kind)
        except UncertainError:
            return known() or self.create(path, body, kind)

    def change(self, path: str, body: Mapping[str, Any]) -> None:
        """Change something; twice is as good as once."""
        self._repeated(Request("PATCH", self._url(path), body=body), _nothing)

    def delete(self, path: str) -> None:
        """Delete something; what is not there is no error."""
        with suppress(NotFoundError):
            self._repeated(Request("DELETE", self._url(path)), _nothing)

    def download(self, path: str, most: int) -> bytes:
        """Fetch a file of so many bytes at most, to which GitHub redirects; the token stays with GitHub."""
        request = Request("GET", self._url(path), most=most, elsewhere=True)
        return self._repeated(request, lambda answer: answer.body)

    def _repeated(self, request: Request, read: Callable[[Answer], _T]) -> _T:
        left = self._patience

        def worth_it(error: Exception) -> bool | float:
            nonlocal left
            if not isinstance(error, AgainError):
                return False
            if error.wait is None:
                return True
            wait = error.wait * self._pace
            left -= wait
            return wait if left > 0 else False

        try:
            for attempt in stamina.retry_context(
                on=worth_it,
                attempts=_ATTEMPTS,
                timeout=self._patience,
                wait_initial=self._pace,
                wait_max=20 * self._pace,
                wait_jitter=self._pace,
            ):
                with attempt:
                    return self._attempt(request, read)
        except AgainError as error:
            raise error.cause from None
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, request: Request, read: Callable[[Answer], _T]) -> _T:
        answer = self._exchange.send(request)
        try:
            return read(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._exchange.forget()
            damaged = f"{request.method} {urlsplit(request.url).path}: the answer is damaged: {error}"
            if request.creates:
                raise UncertainError(damaged) from None
            raise AgainError(GitHubError(damaged)) from None

    def _url(self, path: str) -> str:
        if path.startswith("//"):
            return f"{self.context.api}{path[1:]}"
        return f"{self.context.api}/repos/{self.context.repository}{path}"


def _decoded(body: bytes, kind: type[_T]) -> _T:
    return msgspec.json.decode(body, type=kind)


def _page(answer: Answer, kind: type[_T], key: str) -> tuple[list[_T], str]:
    """The members of one page, and the header that names the next one."""
    body = answer.body
    if key:
        body = bytes(_decoded(body, dict[str, msgspec.Raw]).get(key, msgspec.Raw(b"null")))
    return _decoded(body, list[kind]), answer.headers.get("link", "")


def _nothing(answer: Answer) -> None:
    """For answers that say nothing new."""

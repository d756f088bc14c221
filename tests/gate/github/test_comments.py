"""One comment, whatever goes wrong: the fault table."""

import socket
import threading
import time
from email.utils import formatdate

import pytest

from gate.github.comments import write_comment as written
from gate.github.errors import ForbiddenError, GitHubError, NotFoundError
from tests.gate.github.conftest import HEAD

CREATE, UPDATE, LIST = "issues/create-comment", "issues/update-comment", "issues/list-comments"
RUN = (42, 1)


def write_comment(github, pull, gate, run, text, *, verdict="failed", **more):
    return written(github, pull, gate, run, text, verdict=verdict, **more)


def ahead(days: float) -> dict[str, str]:
    """Headers of a server whose clock is days ahead; its limit ends in half a minute."""
    now = time.time() + days * 86_400
    return {
        "Date": formatdate(now, usegmt=True),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(now + 30)),
    }


PASSING = {
    "rate limit": (LIST, "refuse", {"status": 403, "headers": ahead(0)}),
    "rate limit, its clock five days ahead": (LIST, "refuse", {"status": 403, "headers": ahead(5)}),
    "rate limit, its clock five days behind": (LIST, "refuse", {"status": 403, "headers": ahead(-5)}),
    "429 with retry-after": (CREATE, "refuse", {"status": 429, "headers": {"Retry-After": "7"}}),
    "429 without retry-after": (CREATE, "refuse", {"status": 429}),
    "secondary limit": (CREATE, "refuse", {"status": 403, "headers": {"Retry-After": "60"}}),
    "secondary limit that names no time": (
        CREATE, "refuse", {"status": 403, "message": "You have exceeded a secondary rate limit."},
    ),
    "409": (CREATE, "refuse", {"status": 409}),
    "500 on reading": (LIST, "refuse", {"status": 500}),
    "500 on creating": (CREATE, "refuse", {"status": 500}),
    "502 with a page for people": (CREATE, "html", {"status": 502}),
    "503 on changing": (UPDATE, "refuse", {"status": 503}),
    "timeout before the write": (CREATE, "silent", {}),
    "timeout after the write": (CREATE, "silent-after", {}),
    "timeout after a change": (UPDATE, "silent-after", {}),
    "connection reset before the write": (CREATE, "drop", {}),
    "connection reset after the write": (CREATE, "drop-after", {}),
    "connection reset on reading": (LIST, "drop", {}),
    "10 MB answer": (LIST, "huge", {}),
    "damaged JSON on reading": (LIST, "malformed", {}),
    "damaged JSON after the write": (CREATE, "malformed", {}),
    "answer cut short": (LIST, "truncated", {}),
    "answer to the write cut short": (CREATE, "truncated", {}),
    "redirect of a renamed repository": (CREATE, "redirect", {"status": 301}),
    "redirect that keeps the method": (LIST, "redirect", {"status": 307}),
    "a comment that was deleted meanwhile": (UPDATE, "refuse", {"status": 404}),
    "slow": (LIST, "slow", {"seconds": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_leaves_one_comment_with_the_last_word(name, double, connect):
    operation, kind, options = PASSING[name]
    double.fail(operation, kind, **options)
    if operation == UPDATE:
        write_comment(connect(), 7, "gate", (41, 1), "before")
    begun = time.monotonic()
    write_comment(connect(), 7, "gate", RUN, "the verdict")
    assert [body.partition("\n")[2] for body in double.bodies(7)] == ["the verdict"]
    assert double.violations == []
    assert double.faults[0].times == 0, "the fault took place"
    if operation == CREATE and (kind.endswith("-after") or kind in {"malformed", "truncated"}):
        assert len(double.asked(CREATE)) == 1, "looked up, not repeated"
    assert time.monotonic() - begun < 20


REFUSED = {
    "read-only token": ("reader", (), ForbiddenError, "issues: write, pull-requests: write"),
    "expired token": ("unknown", (), ForbiddenError, "no longer valid"),
    "410": ("writer", (LIST, "refuse", {"status": 410}), NotFoundError, "410"),
    "422": ("writer", (CREATE, "refuse", {"status": 422}), GitHubError, "422"),
    "redirect to another host": (
        "writer", (LIST, "redirect", {"to": "https://evil.example/x"}), GitHubError, "another host",
    ),
    "redirects for ever": ("writer", (LIST, "redirect", {"to": "/repos/acme/shop/issues/7/comments"}),
                           GitHubError, "again and again"),
    "500 for ever": ("writer", (LIST, "refuse", {"status": 500}), GitHubError, "500"),
    "502 for every write": ("writer", (CREATE, "html", {"status": 502}), GitHubError, "502"),
    "a limit that ends in days": (
        "writer",
        (LIST, "refuse", {"status": 403, "headers": {"Retry-After": "400000"}}),
        GitHubError,
        "asks to wait 400000 s",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_pass_is_said_in_bounded_time_and_leaves_nothing(name, double, connect):
    token, fault, error, says = REFUSED[name]
    if fault:
        operation, kind, options = fault
        double.fail(operation, kind, times=10_000, **options)
    begun = time.monotonic()
    with pytest.raises(error) as raised:
        write_comment(connect(token), 7, "gate", RUN, "the verdict")
    assert says in str(raised.value)
    assert token not in str(raised.value)
    assert double.bodies(7) == []
    assert time.monotonic() - begun < 20


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_network(connect):
    with pytest.raises(GitHubError, match="cannot be reached"):
        write_comment(connect(url=f"http://127.0.0.1:{closed_port()}"), 7, "gate", RUN, "x")


def test_a_proxy_that_does_not_answer(connect, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(GitHubError, match="cannot be reached"):
        write_comment(connect(url="http://api.github.invalid"), 7, "gate", RUN, "x")


def test_a_comment_on_the_second_page_is_found(double, connect):
    for number in range(150):
        double.add_comment(7, "kim", f"remark {number}")
    write_comment(connect(), 7, "gate", (41, 1), "before")
    assert write_comment(connect(), 7, "gate", RUN, "after") == "edited"
    assert len(double.bodies(7)) == 1


def test_ten_runs_at_once_leave_one_comment_of_the_youngest(double, connect):
    for number in range(1, 11):
        double.add_run(number, HEAD)
    runs = [threading.Thread(target=write_comment, args=(connect(timeout=10), 7, "gate", (n, 1), f"run {n}"))
            for n in range(1, 11)]  # fmt: skip
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=30)
    assert len(double.bodies(7)) == 1
    write_comment(connect(), 7, "gate", (10, 1), "run 10")
    assert double.bodies(7)[0].endswith("run 10")
    assert double.violations == []


def test_a_run_that_never_took_place_has_not_the_last_word(double, connect):
    """Code that may comment as the gate could write the marker of a later run."""
    write_comment(connect(), 7, "gate", (10**15, 1), "forged")
    assert write_comment(connect(), 7, "gate", RUN, "the verdict") == "edited"


def test_another_bot_that_repeats_our_marker_is_not_us(double, connect):
    theirs = "<!-- regression-gate: gate run 1.1 -->\nquoted"
    double.add_comment(7, "quote-app[bot]", theirs)
    assert write_comment(connect(), 7, "gate", RUN, "the verdict") == "created"
    assert theirs in [comment["body"] for comment in double.comments.values()]


def test_an_older_run_does_not_overwrite_a_younger_one(double, connect):
    write_comment(connect(), 7, "gate", (42, 2), "second attempt")
    assert write_comment(connect(), 7, "gate", (42, 1), "first attempt") == "superseded"
    assert double.bodies(7)[0].endswith("second attempt")


def test_what_somebody_else_wrote_is_never_touched(double, connect):
    theirs = "<!-- regression-gate: gate run 999999.1 -->\nmine now"
    double.add_comment(7, "mallory", theirs)
    assert write_comment(connect(), 7, "gate", RUN, "the verdict") == "created"
    assert [c["body"] for c in double.comments.values() if c["login"] == "mallory"] == [theirs]


def test_gates_of_other_names_have_comments_of_their_own(double, connect):
    write_comment(connect(), 7, "gate", RUN, "one")
    write_comment(connect(), 7, "gate-2", RUN, "two")
    assert len(double.bodies(7)) == 2


def test_nothing_to_say_writes_no_first_comment_and_edits_one_that_is_there(double, connect):
    assert write_comment(connect(), 7, "gate", RUN, "fine", needed=False) == "unneeded"
    write_comment(connect(), 7, "gate", (41, 1), "bad")
    assert write_comment(connect(), 7, "gate", RUN, "fine", needed=False) == "edited"


def test_unchanged_pages_are_not_sent_again(double, connect):
    github = connect()
    write_comment(github, 7, "gate", RUN, "x")
    assert write_comment(github, 7, "gate", RUN, "x") == "unchanged"


def test_a_server_of_ones_own_is_reached_below_its_prefix(double, connect):
    assert write_comment(connect(url=f"{double.url}/api/v3"), 7, "gate", RUN, "x") == "created"


def test_a_wrong_field_is_caught_by_the_double(double, connect):
    with pytest.raises(GitHubError, match="422"):
        connect().create("/issues/7/comments", {"body": "x", "bdoy": "y"}, dict)
    with pytest.raises(GitHubError, match="422"):
        list(connect().pages("/issues/7/comments", dict, perpage=3))
    assert len(double.violations) == 2
    with pytest.raises(NotFoundError):
        connect().get("/isues/7", dict)
    assert len(double.violations) == 3


ENDS = ["passed", "inconclusive", "failed", "error"]


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_of_two_jobs_of_one_name_the_worse_verdict_stays(first, second, double, connect):
    write_comment(connect(), 7, "gate", RUN, f"job 1 {first}", verdict=first)
    outcome = write_comment(connect(), 7, "gate", RUN, f"job 2 {second}", verdict=second, needed=False)
    (body,) = double.bodies(7)
    worse = ENDS.index(second) > ENDS.index(first)
    assert (f"job 2 {second}" if worse else f"job 1 {first}") in body
    assert outcome == ("edited" if worse else "shared")
    assert "Two jobs of this run speak as gate `gate`" in body
    assert body.startswith(f"<!-- regression-gate: gate run 42.1 {second if worse else first} -->")
    again = write_comment(connect(), 7, "gate", RUN, "job 3", verdict="passed")
    assert (again, double.bodies(7)) == ("shared", [body])


def test_a_further_attempt_speaks_for_itself(double, connect):
    write_comment(connect(), 7, "gate", RUN, "red", verdict="failed")
    write_comment(connect(), 7, "gate", (42, 2), "green", verdict="passed")
    assert double.bodies(7) == ["<!-- regression-gate: gate run 42.2 passed -->\ngreen"]


def test_who_speaks_alone_may_correct_itself(double, connect):
    write_comment(connect(), 7, "gate", RUN, "two pull requests have one head", verdict="error", alone=True)
    write_comment(connect(), 7, "gate", RUN, "fine", verdict="passed", alone=True)
    assert double.bodies(7)[0].endswith("\nfine")

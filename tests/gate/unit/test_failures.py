import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.readers.failures import describe, normalise

ROOT = "/home/me/service"
HERE = [("tests/test_api.py", 12)]


def signature(message: str, kind: str = "", frames=HERE) -> str:
    return describe(message, kind, frames, ROOT).signature


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("TimeoutError: task 7f3a2b19 took 1.52 s", "TimeoutError: task <id> took N s"),
        ("assert 503 == 200", "assert N == N"),
        ("assert -1.5e-07 < 1,000.5", "assert N < N"),
        ("no user 550e8400-e29b-41d4-a716-446655440000", "no user <id>"),
        ("at 2024-05-01T10:00:00.123Z", "at <time>"),
        ("at 2024-05-01 10:00:00+02:00", "at <time>"),
        ("on 2024-05-01", "on <time>"),
        ("No such file: '/tmp/pytest-of-me/pytest-3/x/a.db'", "No such file: '<path>'"),
        (r"No such file: C:\Users\me\a.db", "No such file: <path>"),
        ("commit 0b1c2d3e4f5a6b7c8d9e is gone", "commit <id> is gone"),
        ("\n\n  first\nsecond", "first"),
        ("", ""),
        ("KeyError: 'feedface'", "KeyError: 'feedface'"),
    ],
)
def test_what_changes_from_run_to_run_is_taken_out(message, expected):
    assert normalise(message) == expected


@given(st.integers(0, 2**64 - 1))
def test_addresses_are_taken_out_whatever_they_are(address):
    assert normalise(f"<Lead at {address:#x}>") == normalise("<Lead at 0x1>")


@given(st.floats(0.001, 1e6), st.integers(0, 10**9), st.uuids())
def test_latencies_counts_and_ids_do_not_make_another_failure(latency, count, identity):
    message = f"AssertionError: request {identity} of {count} took {latency:.3f} ms"
    assert signature(message) == signature(
        "AssertionError: request 550e8400-e29b-41d4-a716-446655440000 of 3 took 1.0 ms"
    )


@given(st.text(max_size=80))
def test_taking_out_twice_changes_nothing_more(message):
    once = normalise(message)
    assert normalise(once) == once
    assert "\n" not in once


@pytest.mark.parametrize(
    ("one", "other"),
    [("task 7F3A2B19 late", "task 1C9D8E2A late"), ("job 01HXYZK3 lost", "job 01HXZ9QP lost"),
     ("node 4a9f down", "node 7b1c down")],
)  # fmt: skip
def test_other_ids_do_not_make_another_failure(one, other):
    assert signature(one) == signature(other)


def test_the_same_failure_on_another_line_is_the_same():
    moved = [("tests/test_api.py", 99)]
    assert signature("KeyError: 'price'") == signature("KeyError: 'price'", frames=moved)


@pytest.mark.parametrize(
    ("message", "kind", "frames"),
    [
        ("ValueError: 'price'", "", HERE),
        ("KeyError: 'rent'", "", HERE),
        ("KeyError: 'price'", "", [("tests/other.py", 12)]),
        ("KeyError: 'price'", "LookupError", HERE),
    ],
)
def test_another_type_message_or_file_is_another_failure(message, kind, frames):
    assert signature(message, kind, frames) != signature("KeyError: 'price'")


@pytest.mark.parametrize(
    ("message", "kind", "expected"),
    [
        ("KeyError: 'price'", "", "KeyError"),
        ("httpx.ReadTimeout: slow", "httpx.TimeoutException", "httpx.TimeoutException"),
        ("assert 1 == 2", "", "AssertionError"),
        ("assert 1 == 2", "AssertionError", "AssertionError"),
        ("StopIteration", "", "StopIteration"),
        ("ExceptionGroup: two (2 sub-exceptions)", "", "ExceptionGroup"),
        ("something broke", "", "failure"),
        ("Error in the middle: no type", "", "failure"),
    ],
)
def test_the_type_comes_from_the_report_or_from_the_message(message, kind, expected):
    assert signature(message, kind).split(" | ")[0] == expected


@pytest.mark.parametrize(
    ("message", "kind", "expected"),
    [
        ("Failed: DID NOT RAISE", "Failed", "Failed"),
        ("Exception: boom", "Exception", "Exception"),
        ("httpx.ReadTimeout: slow", "ReadTimeout", "ReadTimeout"),
    ],
)
def test_every_type_that_the_report_names_is_the_type(message, kind, expected):
    assert signature(message, kind).split(" | ")[0] == expected


@pytest.mark.parametrize(
    ("frames", "where"),
    [
        ([("tests/t.py", 3), ("app/bots.py", 40)], "app/bots.py:40"),
        ([("tests/t.py", 3), ("/usr/lib/python3.11/json/decoder.py", 355)], "tests/t.py:3"),
        ([("tests/t.py", 3), (".venv/lib/python3.11/site-packages/httpx/x.py", 1)], "tests/t.py:3"),
        ([(f"{ROOT}/app/bots.py", 40)], "app/bots.py:40"),
        ([("tests/t.py", 3), ("<string>", 1)], "tests/t.py:3"),
        ([("/elsewhere/app.py", 7)], "/elsewhere/app.py:7"),
        ([("/usr/lib/python3/dist-packages/yaml/x.py", 1)], ""),
        ([], ""),
    ],
)
def test_the_place_is_the_innermost_frame_of_ours(frames, where):
    failure = describe("KeyError: 'x'", "", frames, ROOT)
    assert failure.where == where
    assert failure.signature.split(" | ")[1] == where.rpartition(":")[0]


def test_a_message_is_kept_as_it_was_but_not_without_end():
    failure = describe("KeyError: 12\nmore", "", HERE, ROOT)
    assert failure.message == "KeyError: 12"
    long = describe("E" * 5000, "", HERE, ROOT)
    assert len(long.message) == 300
    assert len(long.signature) < 400

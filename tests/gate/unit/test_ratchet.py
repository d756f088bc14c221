"""What was mended leaves thresholds.yaml: which entries, and nothing but their lines."""

import dataclasses

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gate.baseline import Baseline
from gate.baseline.records import SuiteRecords
from gate.model import Run
from gate.ratchet import mended, without_entries
from gate.thresholds import parse_policy
from tests.gate.build import CREATED, OTHER_MACHINE, accept, baseline_from, outcome, run_of, suite_run

FILE = """# Rules of the shop.
version: 1
suites: {api: {run: pytest tests}}   # one

known_failures:

  # the sandbox is slow
  t.py::a:   # all parameters
    owner: "@payments"   # kim
    # since the migration
    until: 2026-12-24

  # stays
  "t.py::b[x: y]": {until: 2026-12-24,
                    owner: me}   # two lines
  t.py::c:
    until: 2026-12-24
    issue: |
      two
      lines
  # behind it

metrics:
  a.p50: {critical: 1 s}
"""


def cut(text: str, *patterns: str) -> str:
    return without_entries(text, patterns)


def test_the_lines_of_an_entry_go_and_nothing_else():
    gone = ["  t.py::a:   # all parameters\n", '    owner: "@payments"   # kim\n',
            "    # since the migration\n", "    until: 2026-12-24\n\n  # stays"]  # fmt: skip
    expected = FILE.replace("".join(gone), "\n  # stays")
    assert expected != FILE
    assert cut(FILE, "t.py::a") == expected


def test_a_mapping_in_braces_and_a_block_of_text_go_whole():
    start, end = FILE.index('  "t.py::b'), FILE.index("  t.py::c")
    assert cut(FILE, "t.py::b[x: y]") == FILE[:start] + FILE[end:]
    start, end = end, FILE.index("  # behind it")
    assert cut(FILE, "t.py::c") == FILE[:start] + FILE[end:]


def test_the_section_goes_with_its_last_entry():
    text = cut(FILE, "t.py::a", "t.py::b[x: y]", "t.py::c")
    assert "known_failures" not in text
    assert text.startswith(FILE[: FILE.index("known_failures")])
    assert text.endswith("  # behind it\n\nmetrics:\n  a.p50: {critical: 1 s}\n")


@pytest.mark.parametrize("patterns", [(), ("t.py::d",), ("a.p50",), ("known_failures",)])
def test_what_is_not_there_changes_nothing(patterns):
    assert cut(FILE, *patterns) == FILE


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_the_last_lines_of_a_file_go_however_they_end(end):
    text = FILE[: FILE.index("metrics")].replace("\n", end)
    for tail in (text, text.rstrip()):
        assert parse_policy(cut(tail, "t.py::c")).known_failures == tuple(
            known for known in parse_policy(tail).known_failures if known.pattern != "t.py::c"
        )
    assert cut(text, "t.py::c").count(end) == text.count(end) - 5


@pytest.mark.parametrize(
    ("going", "left"),
    [
        ("a", "{b: {until: 2033-01-01}, c: {until: 2033-01-01}}"),
        ("b", "{a: {until: 2033-01-01}, c: {until: 2033-01-01}}"),
        ("bc", "{a: {until: 2033-01-01}}"),
        ("ab", "{c: {until: 2033-01-01}}"),
    ],
)
def test_entries_in_braces_go_with_one_comma_each(going, left):
    text = "known_failures: {a: {until: 2033-01-01}, b: {until: 2033-01-01}, c: {until: 2033-01-01}}  # all\n"
    assert cut(text, *going) == f"known_failures: {left}  # all\n"


def test_a_mark_at_the_beginning_of_the_file_stays():
    assert cut("\ufeff" + FILE, "t.py::a") == "\ufeff" + cut(FILE, "t.py::a")


names = st.text("ab:[]{},#&*!|>'\"% -é", min_size=1, max_size=8).map(lambda text: f"t.py::{text}")
comments = st.sampled_from(["", "# about it", "  # about it", "    # deeper"])


@st.composite
def files(draw):
    """A policy with known failures in every way of writing, comments and blank lines between them."""
    patterns = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    whole = draw(st.sampled_from(["block", "section in braces", "all in braces"]))
    fields = [
        {"until": "2026-12-24"} | ({"owner": draw(st.sampled_from(["me", "@a, b", "# no", "it's: {}"]))}
                                   if draw(st.booleans()) else {})
        for _ in patterns
    ]  # fmt: skip

    def flow(values, **more):
        text = yaml.safe_dump(values, default_flow_style=True, width=draw(st.sampled_from([20, 500])), **more)
        return text.strip().removesuffix("...").strip()

    suites = {"api": {"run": "pytest tests"}}
    section = dict(zip(patterns, fields, strict=True))
    if whole == "all in braces":
        return patterns, flow({"version": 1, "known_failures": section, "suites": suites}, sort_keys=False)
    if whole == "section in braces":
        body = " " + flow(section, sort_keys=False).replace("\n", "\n  ") + "\n"
    else:
        body = "\n"
        for pattern, values in section.items():
            quoted = '"' + pattern.replace("\\", "\\\\").replace('"', '\\"') + '"'
            body += draw(comments) + "\n" * draw(st.integers(1, 2))
            tail = draw(st.sampled_from(["", "   # why"]))
            if draw(st.booleans()):
                body += f"  {quoted}: {flow(values)}{tail}\n".replace("\n ", "\n      ")
            else:
                lines = yaml.safe_dump(values, default_flow_style=False).splitlines()
                body += f"  {quoted}:{tail}\n" + "".join(f"    {line}\n" for line in lines)
    before = draw(st.booleans())
    head = "version: 1\nsuites: {api: {run: pytest tests}}\n"
    return patterns, f"known_failures:{body}{head}" if before else f"{head}known_failures:{body}"


@given(files(), st.data())
def test_what_is_left_means_the_same_without_the_entries(file, data):
    patterns, text = file
    policy = parse_policy(text)
    assert [known.pattern for known in policy.known_failures] == patterns
    going = data.draw(st.sets(st.sampled_from(patterns)))
    left = parse_policy(cut(text, *going))
    kept = [known for known in policy.known_failures if known.pattern not in going]
    here = [dataclasses.replace(known, place=kept[0].place) for known in left.known_failures]
    assert here == [dataclasses.replace(known, place=kept[0].place) for known in kept]
    assert dataclasses.replace(left, known_failures=()) == dataclasses.replace(policy, known_failures=())
    remaining = iter(text)
    assert all(letter in remaining for letter in cut(text, *going)), "nothing is added or moved"


@settings(max_examples=30)
@given(files())
def test_comments_outside_of_entries_stay(file):
    patterns, text = file
    assume(len(patterns) > 1)
    about = text.count("# about it") + text.count("# deeper")
    left = cut(text, patterns[0])
    assert left.count("# about it") + left.count("# deeper") == about


# Which entries.

P, F, S = "passed", "failed", "skipped"
A, B = "t.py::a[1]", "t.py::a[2]"


def entries(*patterns: str):
    listed = "".join(f'  "{pattern}": {{until: 2026-12-24}}\n' for pattern in patterns)
    return parse_policy(f"version: 1\nsuites: {{api: {{run: pytest}}}}\nknown_failures:\n{listed}")


def kept(*runs: dict[str, str]) -> tuple[Run, SuiteRecords]:
    """Runs with the outcomes of their tests, and what is remembered of them."""
    known, run = None, None
    for number, results in enumerate(runs):
        tests = [outcome(nodeid, result) for nodeid, result in results.items()]
        run = suite_run(tests=tests, created=CREATED + number)
        known = accept(known, run, f"{number}")
    assert known is not None
    assert run is not None
    return run_of(run), known


def accepted(*runs: dict[str, str]) -> tuple[Run, Baseline]:
    run, known = kept(*runs)
    return run, baseline_from(known)


@pytest.mark.parametrize(
    ("runs", "over"),
    [
        ([{A: F}, {A: P}, {A: P}, {A: P}], True),
        ([{A: P}, {A: P}, {A: P}], True),
        ([{A: F}, {A: P}, {A: P}], False),
        ([{A: P}, {A: F}, {A: P}], False),
        ([{A: P}, {A: P}, {A: P}, {A: F}], False),
        ([{A: P, B: P}] * 3, True),
        ([{A: P, B: P}] * 2 + [{A: P, B: F}], False),
        ([{A: P, B: F}] + [{A: P, B: P}] * 2, False),
        ([{A: P, B: S}] * 3, True),
        ([{A: S}] * 3, False),
        ([{"t.py::other": P}] * 3, False),
    ],
)
def test_an_entry_goes_when_all_its_tests_passed_in_three_accepted_runs(runs, over):
    assert mended(entries("t.py::a"), *accepted(*runs)) == (("t.py::a",) if over else ())


def test_a_flaky_test_keeps_its_entry():
    assert mended(entries("t.py::a"), *accepted(*[{A: P}] * 3), flaky={A}) == ()


def test_a_test_belongs_to_its_most_specific_entry():
    run, known = accepted(*[{A: P, B: F}] * 3)
    assert mended(entries("t.py::*", A), run, known) == (A,)
    assert mended(entries("t.py::*", B), run, known) == ("t.py::*",)


def test_what_fails_in_another_suite_or_environment_keeps_the_entry():
    run, known = kept(*[{A: P}] * 3)
    other = accept(None, suite_run(tests=[outcome("u.py::a", F, suite="load")], name="load"), "c")
    assert mended(entries("*"), run, baseline_from(known, other)) == ()
    assert mended(entries("t.py::*"), run, baseline_from(known, other)) == ("t.py::*",)
    later = suite_run(tests=[outcome(A, F)], created=CREATED + 1, environment=OTHER_MACHINE)
    assert mended(entries("t.py::*"), run, baseline_from(known, accept(None, later, "c"))) == ()

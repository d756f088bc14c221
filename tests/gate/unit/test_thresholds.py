import re
from pathlib import Path

import pytest

from gate.located import MAX_BYTES, LocatedError, Place, read_yaml
from gate.policy import OFF, Suite
from gate.thresholds import parse_policy
from gate.units import Quantity
from tests.gate.build import HEADER

ROOT = Path(__file__).parents[3]


def mistakes(text: str) -> str:
    with pytest.raises(LocatedError) as error:
        parse_policy(text)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1:1: the file is empty; begin with 'version: 1' and 'suites:'"),
        ("\n# only a comment\n", "1:1: the file is empty; begin with 'version: 1' and 'suites:'"),
        ("- a\n- b\n", "1:1: the file must be a mapping of keys and values, not a list"),
        ("just text\n", "1:1: the file must be a mapping of keys and values, not 'just text'"),
        ("suites: {s: {run: x}}\n", "1:1: 'version: 1' is missing; add it as the first line"),
        ("version: 2\nsuites: {s: {run: x}}\n",
         "1:10: version 2 is not known here; this gate reads version 1"),
        ("version: 1\n", "1:1: 'suites:' is missing; add e.g. suites: {api: {run: pytest tests}}"),
        ("version: 1\nsuites: {}\n", "2:9: suites: name at least one suite, e.g. api: {run: pytest tests}"),
        ("version: 1\nsuites:\n", "2:8: suites must be a mapping of keys and values, not nothing"),
        ("version: 1\nsuites: {s: {}}\n",
         "2:13: suites.s: 'run' is missing; add the command, e.g. run: pytest tests"),
        ("version: 1\nsuites: {s: {run: ''}}\n", "2:19: suites.s.run: is empty"),
        ("version: 1\nsuites: {s: {run: x, durations: maybe}}\n",
         "2:33: suites.s.durations: 'maybe' is not allowed; one of: true, yes, on, false, no, off"),
        ("version: 1\nsuites: {s: {run: x, timeout: 5}}\n",
         "2:31: suites.s.timeout: '5' has the wrong unit; write e.g. 30 min"),
        ("version: 1\nsuites: {a/b: {run: x}}\n",
         "2:10: suite 'a/b': use letters, digits, '.', '_' and '-'; it names a file"),
        ("version: 1\nsuites: {..: {run: x}}\n",
         "2:10: suite '..': use letters, digits, '.', '_' and '-'; it names a file"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_frame_of_the_file_is_located(text, says):
    assert mistakes(text).splitlines()[0] == f"thresholds.yaml:{says}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metric: {}\n", "3:1: the file: unknown key 'metric'; did you mean 'metrics'?"),
        ("xyz: {}\n", "3:1: the file: unknown key 'xyz'; known here: version, baseline, baseline_branch,"
                      " install, libraries, shared, watch, max_age, services, suites, defaults, github,"
                      " metrics, known_failures"),
        ("metrics: [a]\n", "3:10: metrics must be a mapping of keys and values, not a list"),
        ("metrics: {a.p50: 5}\n", "3:18: metrics[a.p50] must be a mapping of keys and values, not '5'"),
        ("metrics: {a.p50: }\n", "3:17: metrics[a.p50] must be a mapping of keys and values, not nothing"),
        ("metrics: {a.p50: {}}\n", "3:11: metrics[a.p50] says nothing; give it a limit or a tolerance"),
        ("metrics: {a.p50: {warnin: 1 ms}}\n",
         "3:19: metrics[a.p50]: unknown key 'warnin'; did you mean 'warning'?"),
        ("metrics: {a.p50: {warning: 150 mss}}\n",
         "3:28: metrics[a.p50].warning: unknown unit 'mss'; did you mean 150 ms?"),
        ("metrics: {a.p50: {warning: [1]}}\n",
         "3:28: metrics[a.p50].warning must be a single value, not a list"),
        ("metrics: {a.p50: {warning: null}}\n",
         "3:28: metrics[a.p50].warning must be a single value, not nothing"),
        ("metrics: {a.p50: {target: 1e400 ms}}\n",
         "3:27: metrics[a.p50].target: '1e400 ms' is out of range: at most 16 digits, exponents up to e15"),
        ("metrics: {a.p50: {better: up}}\n",
         "3:27: metrics[a.p50].better: 'up' is not allowed; one of: lower, higher"),
        ("metrics: {a.p50: {better: highr}}\n",
         "3:27: metrics[a.p50].better: 'highr' is not allowed; did you mean 'higher'?"),
        ("metrics:\n  a.p50: {warning: 1 ms}\n  a.p50: {critical: 2 ms}\n",
         "5:3: duplicate key 'a.p50', first in line 4; merge the two"),
        ("metrics:\n  'a{x=1,y=2}': {warning: 1 ms}\n  'a{y=2,x=1}': {critical: 2 ms}\n",
         "5:3: metrics[a{y=2,x=1}] names the same metrics as line 4; merge the two"),
        ("metrics:\n  api.*: {warning: 1 ms}\n  api.**: {critical: 2 ms}\n",
         "5:3: metrics[api.**] names the same metrics as line 4; merge the two"),
        ("github: {protected: 'ci/*, tools/*'}\n",
         "3:21: github.protected: 'ci/*,' ends with ','; separate the globs with spaces alone"),
        ("github: {protected: ./ci/*}\n",
         "3:21: github.protected: './ci/*' is no relative path; write 'ci/*'"),
        ("github: {protected: ../ci/*}\n",
         "3:21: github.protected: '../ci/*' points outside; a glob cannot begin with ../"),
        ("baseline_branch: 5\n", '3:18: baseline_branch must be a string; write "5" in quotes'),
        ("metrics: {a b: {warning: 1 ms}}\n",
         "3:11: metrics: 'a b' is no metric name or glob; write e.g. load.api.p95{users=100}"),
        ("metrics: {a.p50: {warning: 3 ms, critical: 2 ms}}\n",
         "3:28: metrics[a.p50]: warning 3 ms lies beyond critical 2 ms, which fails first"
         "; if higher is better, say better: higher"),
        ("metrics: {a.p50: {better: higher, warning: 1 ms, critical: 2 ms}}\n",
         "3:44: metrics[a.p50]: warning 1 ms lies beyond critical 2 ms, which fails first"),
        ("metrics: {a.p50: {warning: 2000 ms, critical: 1 s}}\n",
         "3:28: metrics[a.p50]: warning 2000 ms lies beyond critical 1 s, which fails first"
         "; if higher is better, say better: higher"),
        ("metrics: {a.p50: {warning: 3 ms, critical: 2 MB}}\n",
         "3:28: metrics[a.p50]: cannot compare ms with MB"),
        ("defaults: {tolerance: 5 ms}\n",
         "3:23: defaults.tolerance: '5 ms' has the wrong unit; write e.g. 10 %"),
        ("defaults: {tolerance: -5 %}\n", "3:23: defaults.tolerance: '-5 %' is negative"),
        ("defaults: {confirm: maybe}\n",
         "3:21: defaults.confirm: 'maybe' is not allowed; one of: true, budget, suspects, all, false, off"),
        ("watch: MODE 2FAST\n", "3:8: watch: '2FAST' is no name of a variable; write e.g. DATABASE_MODE"),
        ("watch: MODE api_token\n",
         "3:8: watch: 'api_token' looks like a secret, and accepted runs can be read by anybody"),
        ("max_age: 3\n", "3:10: max_age: '3' has the wrong unit; write e.g. 30 min"),
        ("<<: {a: 1}\n", "3:1: the file: unknown key '<<'; known here: version, baseline, baseline_branch,"
                         " install, libraries, shared, watch, max_age, services, suites, defaults, github,"
                         " metrics, known_failures"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_line_column_and_remedy(text, says):
    assert mistakes(HEADER + text) == f"thresholds.yaml:{says}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metrics:\n\ta.p50: {warning: 1 ms}\n", "4:1: a tab; YAML wants spaces for indentation, use two"),
        ("metrics:\n  a.p50: {warning:\t1 ms}\n", "4:19: a tab where YAML wants spaces; replace it"),
        ("metrics:\n  *.calls: {tolerance: 0}\n", '4:4: a name that begins with * needs quotes: "*.calls"'),
        ("metrics: {*.calls: {tolerance: 0}}\n", '3:12: a name that begins with * needs quotes: "*.calls"'),
        ("a: &x 1\nb: *x\n", "3:4: anchors and aliases are not supported; write the value out"),
        ("? [a]\n: 1\n", "3:3: a key must be plain text; put quotes around it"),
        ("a: 'unclosed\n", "4:1: not YAML: found unexpected end of stream"),
        ("a: b: c\n", "3:5: not YAML: mapping values are not allowed here"),
        ("---\nversion: 1\n", "3:1: not YAML: but found another document"),
        ("metrics:\n  a.p50: {warning: 5 ms}\n b: 1\n", "5:2: not YAML: expected <block end>"),
        ("metrics: {load.p95{users=1}: {warning: 1 ms}}\n", "3:19: not YAML: expected ',' or '}'"),
    ],
)
def test_a_mistake_of_syntax_is_located(text, says):
    found = mistakes(HEADER + text)
    assert found.startswith(f"thresholds.yaml:{says}")
    assert len(found.splitlines()) == 1


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file():
    text = (
        "version: 1\n"
        "max_age: 5 MB\n"
        "suites: {api: {run: x, timeot: 5 min}}\n"
        "defaults: {tolerance: x}\n"
        "metrics:\n"
        "  b.p50: {warnin: 1 ms, critical: 5 mss}\n"
        "  a.p50: {warning: 5 ms, critical: 1 ms}\n"
    )
    found = mistakes(text).splitlines()
    assert [line.split(": ")[0] for line in found] == [
        "thresholds.yaml:2:10",
        "thresholds.yaml:3:24",
        "thresholds.yaml:4:23",
        "thresholds.yaml:6:11",
        "thresholds.yaml:6:35",
        "thresholds.yaml:7:20",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30 + "]" * 30,
        "[" * 1200 + "]" * 1200,
        "a: {" * 25 + "b: 1" + "}" * 25,
        "x: " + "{a: " * 2000,
    ],
)
def test_deep_nesting_is_a_mistake_and_not_a_crash(text):
    assert re.match(r"thresholds\.yaml:1:\d+: (the file is nested too deeply|not YAML)", mistakes(text))


def test_a_huge_file_is_refused_before_it_is_parsed():
    assert mistakes("#" * (MAX_BYTES + 1)) == "thresholds.yaml:1:1: the file is larger than 1,000,000 bytes"
    assert mistakes("#" * MAX_BYTES).startswith("thresholds.yaml:1:1: the file is empty")


@pytest.mark.parametrize(("text", "place"), [("x\x00y", "1:2"), ("\x07", "1:1"), ("\x1b[31m: 1", "1:1")])
def test_binary_input_is_a_mistake(text, place):
    assert mistakes(text).startswith(f"thresholds.yaml:{place}: not YAML: unacceptable character")


def test_binary_input_is_located():
    assert re.fullmatch(r"thresholds\.yaml:3:4: not YAML: [^\n]*", mistakes(HEADER + "a: \x00\n"))


@pytest.mark.parametrize("text", ["version: abc\n", "version: 1.0\n", "version: '1.1'\n"])
def test_a_version_that_is_no_number_is_explained(text):
    assert "int()" not in mistakes(text + "suites: {s: {run: x}}\n")


def test_tags_are_refused():
    mistakes(HEADER + "metrics: {a.p50: {warning: !seconds 5 ms}}\n")


def test_a_glob_without_a_point_needs_quotes_too():
    assert "needs quotes" in mistakes(HEADER + "metrics:\n  *calls: {tolerance: 0}\n")


def test_a_document_that_is_no_mapping_is_one_mistake():
    assert len(mistakes("- a\n- b\n").splitlines()) == 1


def test_a_tolerance_without_a_unit_is_not_a_thousand_percent():
    mistakes(HEADER + "defaults: {tolerance: 10}\n")


@pytest.mark.parametrize(
    "text",
    [
        "{warning: 3 ms, target: 2 ms}",
        "{warning: 3 ms, critical: 2 ms, target: 5 ms}",
        "{better: higher, warning: 1 ms, target: 2 ms}",
    ],
)
def test_a_warning_that_can_never_speak_is_refused(text):
    assert "lies beyond" in mistakes(HEADER + f"metrics: {{a.p50: {text}}}\n")


@pytest.mark.parametrize(
    "text",
    [
        "{target: 3 ms, critical: 2 ms}",
        "{target: 2048 MB, warning: 1.5 GB, critical: 2 GB}",
        "{better: higher, target: 70 %, warning: 70 %, critical: 60 %}",
    ],
)
def test_a_target_may_lie_beyond_critical_and_equal_the_warning(text):
    assert parse_policy(HEADER + f"metrics: {{a.p50: {text}}}\n").entries


def test_everything_that_can_be_said_is_read():
    policy = parse_policy(
        "version: 1\n"
        "baseline: stored\n"
        "max_age: off\n"
        "suites:\n"
        "  api: {run: pytest tests, durations: yes, timeout: 5 min}\n"
        "  load: {run: make load}\n"
        "defaults: {tolerance: 15 %, confirm: off}\n"
        "metrics:\n"
        "  api.p95{users=100}: {target: 200 ms, warning: 0.15 s, critical: 300 ms}\n"
        '  "*.calls": {tolerance: 0, floor: 2}\n'
        "  cache.hit_rate: {better: higher, warning: 70 %, critical: 60 %, tolerance: off}\n",
        "here.yaml",
    )
    assert policy.baseline == "stored"
    assert policy.max_age == OFF
    assert policy.suites["api"] == Suite("api", "pytest tests", True, Quantity(5, "min"))
    assert not policy.suites["load"].durations
    assert (policy.tolerance, policy.confirm, policy.source) == (Quantity(15, "%"), "off", "here.yaml")
    assert [(entry.pattern, entry.place) for entry in policy.entries] == [
        ("api.p95{users=100}", Place(9, 3)),
        ("*.calls", Place(10, 3)),
        ("cache.hit_rate", Place(11, 3)),
    ]
    assert policy.entries[0].values["warning"] == Quantity(0.15, "s")
    assert policy.entries[2].values["tolerance"] == OFF


@pytest.mark.parametrize(
    ("word", "confirm"),
    [("true", "budget"), ("suspects", "suspects"), ("False", "off"), ("off", "off")],
)
def test_confirmation_is_chosen_by_a_word(word, confirm):
    assert parse_policy(HEADER + f"defaults: {{confirm: {word}}}\n").confirm == confirm


def test_a_byte_order_mark_line_ends_of_windows_and_comments_are_fine():
    assert parse_policy(HEADER.replace("\n", "\r\n") + "# ends here").suites


def test_located_values_know_where_they_stand():
    document = read_yaml("a: 1\nb:\n  - x\n  - {c: d}\n", "f")
    assert isinstance(document.value, dict)
    items = document.value["b"].value
    assert isinstance(items, list)
    assert document.keys["b"] == Place(2, 1)
    assert (items[0].value, items[0].place) == ("x", Place(3, 5))
    assert items[1].kind == "a mapping"


@pytest.mark.parametrize(
    ("services", "says"),
    [
        ("a: {run: x, env: {GATE_PORT: 1}}", "1:43: services.a.env: GATE_PORT is set by the gate"),
        ("a: {shared: true, port: 1, ready: up}", "services.a.ready: nobody sees what a shared service"),
        ("a: {shared: true, port: 1, host: a..b}", "services.a.host: 'a..b' is no name or address"),
        ('a: {run: "x\\0"}', "services.a.run: holds a NUL character; remove it"),
        ("a: {run: x, after: [b]}, b: {run: x, after: [a]}", "services wait for each other: a -> b -> a"),
        ("api: {run: x, after: [aip]}", "unknown service 'aip'; did you mean 'api'?"),
        ("a: {}", "services.a: 'run' is missing; add the command, or shared: true"),
        ("a: {run: x, port: 5}", "services.a.port is for a shared service; let others listen on $GATE_PORT"),
        ("a: {run: x, cwd: ../b}", "services.a.cwd: '../b' is no directory below"),
    ],
)
def test_a_mistake_in_a_service(services: str, says: str):
    text = f"{{version: 1, services: {{{services}}}, suites: {{api: {{run: pytest}}}}}}"
    with pytest.raises(LocatedError) as caught:
        parse_policy(text)
    assert says in str(caught.value)

"""What must hold for whatever stands in a file that the gate reads.

It is read, or refused in one line that says where and what to do. Nothing else is raised, nothing hangs, and
a test that failed without being known never ends green. Which tests failed is asked of Python's own decoder:
nothing of the readers is used for it.
"""

import io
import json
import math
import re
import signal
import tempfile
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

from msgspec.structs import replace
from rich.console import Console

from gate.baseline import Baseline
from gate.baseline.expected import expected
from gate.baseline.files import BaselineError, parse_baseline, salvaged, to_lines
from gate.baseline.records import Memory, SuiteRecords, Where, joined, record_of, united
from gate.cli.shared import console_for
from gate.evidence import Confirmation, from_json
from gate.explain import UnknownSubject, explain
from gate.judge import Inputs, judge
from gate.located import LocatedError
from gate.model import Run, Shard, SuiteRun
from gate.pipeline.align import align
from gate.pipeline.load import load_policy
from gate.policy import Policy, split_pattern
from gate.readers import one_run, pytest_json
from gate.readers.errors import ReportError
from gate.report.annotations import workflow_commands
from gate.report.baseline_report import baseline_document
from gate.report.comment import LIMIT, comment, quiet_comment
from gate.report.explain import print_explanation
from gate.report.history import print_history
from gate.report.html import to_html
from gate.report.markdown import to_markdown
from gate.report.memory import print_baseline, print_metrics
from gate.report.summary import summary, verdict_document
from gate.report.terminal import print_verdict
from gate.thresholds import parse_policy
from gate.units import UnitError, fitting, format_change, format_value, parse
from gate.verdict import EXIT_CODES, Verdict, VerdictWord, read_verdict
from gate.verdict import to_json as verdict_to_json
from gate.waivers import NO_WAIVERS, Waivers, read_waivers
from pytest_regression_gate.metrics import join_name, split_name, subject_of
from tests.gate.build import CREATED, MACHINE, metric, outcome, suite_run

RULES: Final = """version: 1
suites: {api: {run: pytest tests, durations: true}}
metrics:
  "*.p95": {tolerance: 5 %}
  "*.mean": {target: 1 s, warning: 500 ms}
  "*.calls": {tolerance: 0}
  "*.hit_rate": {better: higher, critical: 60 %}
"""
_SECONDS: Final = 20
"""Of the processor's time, for one document: no input needs a second, and the machine may be busy."""
_OURS: Final = re.compile(r"^(?!.*/tests/).*/(?:gate|pytest_regression_gate)/[^/]+(?:/[^/]+)?$")
"""Files of the gate, and none of its tests."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")
_FILE: Final = "thresholds.yaml"
_UNKNOWN_FAILURE: Final = "tests/test_api.py::test_that_nobody_knows"


class BrokenLawError(AssertionError):
    """A law does not hold. Its first words name the law."""


class HangError(BaseException):
    """A document needs too much time. No handler of the gate's stops it."""


def law(holds: object, name: str, about: object = "") -> None:
    """Raise if a law does not hold."""
    if not holds:
        raise BrokenLawError(f"{name}: {str(about)[:300]}")


def check(kind: str, data: bytes) -> str:
    """Try all laws on the contents of a file.

    Returns:
        What became of it, in a word.

    Raises:
        BaseException: whatever must not happen.
    """
    with _watched():
        return LAWS[kind](data)


def tried(kind: str, data: bytes) -> tuple[str, str]:
    """What became of the contents of a file, and what they break: a law, or what is raised and where."""
    try:
        return check(kind, data), ""
    except KeyboardInterrupt:
        raise
    except BrokenLawError as error:
        return "broken", str(error).partition(":")[0]
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if _OURS.search(frame.filename)]
        where = (ours or frames)[-1]
        return "raised", f"{type(error).__name__} in {Path(where.filename).name}, {where.name}"


def defect(kind: str, data: bytes) -> str:
    """What the contents of a file break; empty: nothing."""
    return tried(kind, data)[1]


@contextmanager
def _watched() -> Generator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"more than {_SECONDS} s of the processor's time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def red_in(data: bytes) -> list[str]:
    """Tests and files that failed, as the text of a report says."""
    document = _loaded(data)
    found: list[str] = []
    for test in _dicts(document, "tests"):
        stages = [test.get(name) for name in ("setup", "call", "teardown", "???")]
        outcomes = [test, *(stage for stage in stages if isinstance(stage, dict))]
        if any(one.get("outcome") in ("failed", "error", "subtests failed") for one in outcomes):
            found.append(str(test.get("nodeid")))
    found += [
        str(one.get("nodeid")) for one in _dicts(document, "collectors") if one.get("outcome") == "failed"
    ]
    return found


def _loaded(data: bytes) -> object:
    """What Python's own decoder reads; None: it cannot."""
    try:
        return json.loads(data.decode(errors="replace"), parse_int=lambda _: 0)
    except (ValueError, RecursionError):
        return None


def _dicts(document: object, key: str) -> list[dict[str, Any]]:
    inner = cast(dict[str, Any], document).get(key) if isinstance(document, dict) else None
    return [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []


@cache
def rules() -> Policy:
    """A policy with a rule of each kind."""
    return parse_policy(RULES, _FILE)


def run_in(data: bytes) -> Run:
    """The run of one report; what cannot be read is a problem of it."""
    try:
        read, problems = [pytest_json.read(Path("api.json"), data, rules())], ()
    except ReportError as error:
        _refused(str(error), "api.json")
        read, problems = [], (error.problem,)
    return one_run(read, problems, rules())


def verdict_of(run: Run, baseline: Baseline | None = None) -> Verdict | None:
    """The verdict of a run; None: a limit is no limit of what it measured, and the rules are refused."""
    try:
        return judged(run, baseline)
    except LocatedError as error:
        _located(error, _FILE, RULES.encode())
        return None


def judged(
    run: Run,
    baseline: Baseline | None = None,
    policy: Policy | None = None,
    waivers: Waivers = NO_WAIVERS,
    confirmation: Confirmation | None = None,
) -> Verdict:
    """The verdict of a run."""
    inputs = Inputs(policy or rules(), baseline or Baseline(), waivers=waivers)
    if confirmation:
        inputs = Inputs(policy or rules(), baseline or Baseline(), base="b" * 40, waivers=waivers)
    return judge(*align(run, inputs), confirmation)


def remembered(suite: SuiteRun, times: int = 6) -> SuiteRecords:
    """A suite's run, accepted several times; nobody permits its failures."""
    held = [nodeid for nodeid, test in suite.tests.items() if test.failed]
    known: SuiteRecords | None = None
    for number in range(times):
        earlier = replace(suite, created=max(1.0, suite.created - times + number), commit=f"{number:040x}")
        record = record_of(earlier, Where(earlier.commit), held=held)
        known = joined(known, record) if known else record
    assert known
    return known


def written(known: SuiteRecords) -> tuple[str, bytes]:
    """The file of accepted runs: where it stands, and what it holds."""
    return f"{known.environment.id}/{known.suite}.jsonl", to_lines(known)


def _report(data: bytes) -> str:
    red, run = red_in(data), run_in(data)
    verdict = verdict_of(run)
    if verdict is None:
        return "unfit"
    word = _shown(run, rules(), verdict)
    law(word == "error" or not run.problems, "what is refused is an error", run.problems)
    law(not (red and word == "passed"), "no green over a failed test", red)
    part = one_run(_with_a_second_share(data), (), rules())
    of_part = verdict_of(part) if part.suites else None
    law(not (red and of_part and of_part.verdict == "passed"), "no green over a share's failed test", red)
    for suite in run.suites.values():
        known = remembered(suite)
        law(len(known.environment.id) <= 255, "the name of a directory is short enough", known.environment)
        again = parse_baseline(dict([written(known)]))
        law(again.suites == (known,), "what is accepted can be read again", known)
        after = judged(run, expected(again))
        _printed(after)
        law(not (red and after.verdict == "passed"), "no green over a failed test that was held back", red)
        law(word != "passed" or after.verdict == "passed", "a run is no worse than itself", after.findings)
    return word


def _with_a_second_share(data: bytes) -> list[SuiteRun]:
    try:
        first = pytest_json.read(Path("api.1-of-2.json"), data, rules())
    except ReportError:
        return []
    other = suite_run([metric("other.home.mean", 3.0)], created=CREATED, commit=first.commit, name=first.name)
    return [first, replace(other, source="api.2-of-2.json", shard=Shard(2, 2))]


def _shown(run: Run, policy: Policy, verdict: Verdict) -> VerdictWord:
    """The verdict's word, after everything was printed that can be."""
    _printed(verdict)
    document = baseline_document(run, verdict, policy)
    _encoded(to_markdown(document), to_html(document))
    return verdict.verdict


def _printed(verdict: Verdict) -> None:
    terminal = _console()
    print_verdict(verdict, terminal)
    print_verdict(verdict, terminal, quiet=True)
    texts = [comment(verdict), quiet_comment(verdict), summary(verdict), to_html(verdict_document(verdict))]
    _encoded(_text(terminal), *texts)
    law(len(texts[0]) <= LIMIT, "a comment is short enough", len(texts[0]))
    for line in workflow_commands(verdict):
        law(len(line.splitlines()) == 1, "a command is one line", line)
    law(
        verdict.exit_code == EXIT_CODES[verdict.verdict], "the exit code is that of the word", verdict.verdict
    )
    read = read_verdict(verdict_to_json(verdict))
    law(read.verdict == verdict.verdict, "a verdict that is read says the same", verdict)
    law(read_verdict(verdict_to_json(read)) == read, "a verdict can be read again", verdict)


def _console() -> Console:
    console = console_for(no_color=True)
    console.file = io.StringIO()
    return console


def _text(console: Console) -> str:
    """What was printed, if it is harmless."""
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for line in text.split("\n"):
        law(not line.lstrip().startswith("::"), "no line is a command to the runner", line)
        law(not _CONTROL.search(line), "no control character is printed", repr(line))
    return text


def _encoded(*texts: str) -> None:
    for text in texts:
        text.encode()


def _refused(text: str, place: str) -> None:
    law(len(text.splitlines()) == 1, "what is refused is one line", repr(text))
    law(text.startswith(place), "what is refused is located", repr(text))
    text.encode()


@cache
def _usual_run(*, red: bool) -> Run:
    """A run of much that rules are about; red: with a test that fails and is not known."""
    values = {"api.home.mean": 80.0, "api.home.p95": 120.0, "load.api.p95{users=100}": 90.0, "x.cpu": 4.0}
    figures = [metric(name, value) for name, value in values.items()]
    figures.append(metric("api.home.calls", 3, "count", exact=True))
    figures.append(metric("cache.hit_rate", 0.8, "ratio", better="higher"))
    tests = [outcome(), outcome("tests/test_api.py::test_skipped", "skipped", reason="no service")]
    if red:
        tests.append(outcome(_UNKNOWN_FAILURE, "failed", signature="OSError | a.py | no", message="no"))
    suite = suite_run(figures, tests)
    return Run({suite.name: suite})


@cache
def _usual_baseline() -> Baseline:
    return expected(Memory((remembered(_usual_run(red=False).suites["api"]),)))


def _baseline(data: bytes) -> str:
    path = f"{MACHINE.id}/api.jsonl"
    try:
        _remembers(parse_baseline({path: data}))
    except BaselineError as error:
        elsewhere = re.search(r"this file belongs at (.+)$", error.message)
        _not_remembered(error, path)
        path = elsewhere[1] if elsewhere else path
    else:
        return "read"
    try:
        _remembers(parse_baseline({path: data}))
    except BaselineError as error:
        _not_remembered(error, path)
    else:
        return "read"
    try:
        known, _ = salvaged(path, data)
    except BaselineError as error:
        _not_remembered(error, path)
        return "refused"
    _remembers(Memory((known,)))
    return "salvaged"


def _not_remembered(error: BaselineError, path: str) -> None:
    law(error.remedy, "what is refused has a remedy", error)
    _refused(f"{error}; {error.remedy}", path)


def _remembers(memory: Memory) -> None:
    for known in memory.suites:
        path, data = written(known)
        law(parse_baseline({path: data}) == Memory((known,)), "what is written can be read again", known)
    law(united([memory, memory]) == memory, "a memory joined with itself is the same")
    baseline = expected(memory)
    terminal = _console()
    print_baseline(baseline, "tests/baseline", terminal, quiet=False)
    print_metrics(baseline, "*", terminal)
    print_history(baseline, "*", terminal, quiet=False)
    _encoded(_text(terminal))
    for known in memory.suites:
        verdict = judged(_as_named(known), baseline)
        _printed(verdict)
        law(verdict.verdict != "passed", "no green over an unknown failure")


def _as_named(known: SuiteRecords) -> Run:
    """A run with a failed test, of a suite where it was measured, with a value of each of its metrics."""
    usual = _usual_run(red=True).suites["api"]
    figures = [metric(name, 1.0, suite=known.suite) for name, _ in sorted(known.owners)]
    renamed = replace(
        usual,
        name=known.suite,
        environment=known.environment,
        metrics={**usual.metrics, **{one.name: one for one in figures}},
    )
    return Run({known.suite: renamed})


def _policy(data: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="gate-fuzz-") as directory:
        file = Path(directory, _FILE)
        file.write_bytes(data)
        try:
            policy = load_policy(file)
        except LocatedError as error:
            _located(error, str(file), data)
            return "refused"
    return _holds(policy, data)


def _located(error: LocatedError, file: str, data: bytes) -> None:
    """Each mistake is one line that begins with its place, and the place is in the file."""
    lines = str(error).splitlines()
    law(len(lines) == len(error.mistakes) > 0, "each mistake is one line", repr(str(error)))
    most = len(data.splitlines()) + 2
    for line in lines:
        place = re.match(re.escape(file) + r":(\d+):(\d+): \S", line)
        law(place and 1 <= int(place[1]) <= most and int(place[2]) >= 1, "a mistake is located", line)
    str(error).encode()


def _holds(policy: Policy, data: bytes) -> str:
    for red in (False, True):
        run = _usual_run(red=red)
        try:
            verdict = judged(run, _usual_baseline(), policy)
        except LocatedError as error:
            _located(error, policy.source, data)
            return "unfit"
        _shown(run, policy, verdict)
        law(not (red and verdict.verdict == "passed" and b"known_failures" not in data), "no green by rules")
    terminal = _console()
    for subject in ("api.home.mean", _UNKNOWN_FAILURE):
        try:
            print_explanation(explain(subject, _usual_baseline(), policy), terminal)
        except UnknownSubject:
            continue
    _encoded(_text(terminal))
    return "read"


def _waivers(data: bytes) -> str:
    try:
        waivers = read_waivers(data)
    except ValueError as error:
        _refused(str(error), "not a waivers file")
        return "refused"
    for red in (False, True):
        verdict = judged(_usual_run(red=red), _usual_baseline(), waivers=waivers)
        _printed(verdict)
        law(not (red and verdict.verdict == "passed"), "no waiver permits a new failure")
    return "read"


def _confirmation(data: bytes) -> str:
    try:
        confirmation = from_json(data)
    except ValueError as error:
        _refused(str(error), "no kept confirmation")
        return "refused"
    told = confirmation.reruns.get(_UNKNOWN_FAILURE)
    for red in (False, True):
        verdict = judged(_usual_run(red=red), _usual_baseline(), confirmation=confirmation)
        _printed(verdict)
        law(not (red and not told and verdict.verdict == "passed"), "no green over an unknown failure")
    return "read"


def _units(data: bytes) -> str:
    text = data.decode(errors="replace")
    words = [_quantity(text), _name(text), _pattern(text)]
    return "read" if any(words) else "refused"


def _quantity(text: str) -> bool:
    try:
        quantity = parse(text)
    except UnitError as error:
        law(len(str(error).splitlines()) == 1, "what is refused is one line", repr(str(error)))
        return False
    law(math.isfinite(quantity.value), "a quantity is finite", text)
    _same_number(text.strip(), quantity.value)
    for unit in fitting(quantity.unit):
        there = quantity.to(unit)
        back = (
            parse(f"{format(there, '.15f').rstrip('0').rstrip('.')} {unit}")
            if 1e-9 < abs(there) < 1e9
            else None
        )
        law(
            back is None or math.isclose(back.to(quantity.unit), quantity.value, rel_tol=1e-5),
            "a quantity is the same in another unit",
            f"{text}: {back}",
        )
    for one in (quantity.value, -quantity.value, quantity.value / 1e30):
        _encoded(format_value(one, quantity.unit), format_change(one), str(quantity))
    return True


def _same_number(text: str, value: float) -> None:
    """The digits of a quantity, read without its reader: thousands are grouped by a comma or a line."""
    digits = re.match(r"[-+]?[0-9.,_]+(?:[eE][-+]?[0-9]+)?", text)
    law(
        digits and float(re.sub("[,_]", "", digits[0])) == value,
        "a quantity has the number that is written",
        text,
    )


def _name(text: str) -> bool:
    try:
        base, labels = split_name(text)
    except ValueError as error:
        law(len(str(error).splitlines()) == 1, "what is refused is one line", repr(str(error)))
        return False
    plain = join_name(base, labels)
    law(split_name(plain) == (base, labels), "a name can be taken apart again", text)
    law(subject_of(plain) == subject_of(text), "a subject is the same", text)
    return True


def _pattern(text: str) -> bool:
    try:
        base, labels = split_pattern(text)
    except ValueError as error:
        law(len(str(error).splitlines()) == 1, "what is refused is one line", repr(str(error)))
        return False
    law(split_pattern(join_name(base, labels)) == (base, labels), "a pattern can be taken apart again", text)
    return True


def _verdict(data: bytes) -> str:
    try:
        verdict = read_verdict(data)
    except ValueError as error:
        _refused(str(error), "")
        return "refused"
    _printed(verdict)
    levels = [finding.get("level") for finding in _dicts(_loaded(data), "findings")]
    law(verdict.verdict != "passed" or "fail" not in levels, "no green over a failing finding", levels)
    law(verdict.verdict != "passed" or verdict.exit_code == 0, "green is 0", verdict.exit_code)
    return verdict.verdict


LAWS: Final[dict[str, Callable[[bytes], str]]] = {
    "report": _report,
    "baseline": _baseline,
    "policy": _policy,
    "waivers": _waivers,
    "units": _units,
    "verdict": _verdict,
    "confirmation": _confirmation,
}
"""What is in a file -> its laws."""
READERS: Final = {
    "report": ("report",),
    "baseline": ("baseline",),
    "policy": ("policy", "waivers"),
    "units": ("units",),
    "verdict": ("verdict", "confirmation"),
}
"""What can be asked for on the command line."""
SUFFIXES: Final = {"baseline": ".jsonl", "policy": ".yaml", "units": ".txt"}
"""How files end that are not JSON."""

"""Where a run was measured, and which accepted runs its times are compared with."""

import msgspec
import pytest

from gate.baseline.files import parse_baseline, to_lines
from gate.baseline.records import Memory, SuiteRecords
from gate.model import Shard
from gate.runner import _variables
from pytest_regression_gate.environment import this_environment
from pytest_regression_gate.metrics import UNKNOWN_ENVIRONMENT, Environment
from pytest_regression_gate.pipes import Address
from tests.gate.build import accept, baseline_from, judge, metric, of_kind, one, policy_of, run_of, suite_run

FLEET = tuple(
    Environment(cpu, 4, "ubuntu24", "3.12", memory="16g")
    for cpu in ("AMD EPYC 7763 64-Core Processor", "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz")
)
EPYC, XEON = FLEET


def on(environment: Environment, **changes: object) -> Environment:
    return msgspec.structs.replace(environment, **changes)


def memory_of(environment: Environment, value: float, runs: int = 6) -> SuiteRecords:
    known = None
    for number in range(runs):
        run = suite_run([metric("api.home.p50", value)], created=1_760_000_000 + number)
        run = msgspec.structs.replace(run, environment=environment)
        known = accept(known, run, f"c{number}")
    assert known is not None
    return known


def verdict_on(environment: Environment, value: float, *memories: SuiteRecords):
    run = msgspec.structs.replace(suite_run([metric("api.home.p50", value)]), environment=environment)
    return judge(run_of(run), baseline_from(*memories), policy_of())


def test_a_mixed_fleet_is_compared_cpu_by_cpu():
    memories = memory_of(EPYC, 100.0), memory_of(XEON, 160.0)
    assert of_kind(verdict_on(XEON, 161.0, *memories), "regression") == []
    assert one(verdict_on(EPYC, 161.0, *memories), "regression").state == "suspect"


def test_on_an_unknown_cpu_history_says_nothing_and_says_so():
    verdict = verdict_on(on(EPYC, cpu="AMD EPYC 9V74"), 500.0, memory_of(EPYC, 100.0))
    assert of_kind(verdict, "regression") == []
    found = one(verdict, "environment")
    assert (found.level, "times were not compared" in found.message) == ("warn", True)
    assert verdict.summary.compared == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"os": "ubuntu26"}, "os ubuntu26, not ubuntu24"),
        ({"memory": "32g"}, "memory 32g, not 16g"),
        ({"libraries": {"numpy": "2.2"}}, "numpy 2.2, not 2.1"),
    ],
)
def test_the_nearest_environment_is_used_and_named(change: dict[str, object], words: str):
    known = memory_of(on(EPYC, libraries={"numpy": "2.1"}), 100.0)
    verdict = verdict_on(on(EPYC, libraries={"numpy": "2.1"} | {}, **{}), 100.0, known)
    assert of_kind(verdict, "environment") == []
    verdict = verdict_on(on(known.environment, **change), 200.0, known)
    found = one(verdict, "environment")
    assert (found.level, words in found.message, known.environment.id in found.message) == (
        "info",
        True,
        True,
    )
    assert verdict.environment.id == known.environment.id
    assert one(verdict, "regression").baseline == 100.0


@pytest.mark.parametrize("change", [{"cpu": "AMD EPYC 9V74"}, {"cores": 2}, {"python": "3.13"}])
def test_another_cpu_number_of_cores_or_python_is_never_near(change: dict[str, object]):
    assert baseline_from(memory_of(EPYC, 100.0)).comparable("api", on(EPYC, **change)) is None


def test_of_several_the_one_with_fewest_differences_is_nearest():
    far, near = on(EPYC, os="ubuntu22", memory="32g"), on(EPYC, os="ubuntu22")
    memories = memory_of(far, 1.0, 9), memory_of(near, 1.0, 2)
    found = baseline_from(*memories).comparable("api", EPYC)
    assert found is not None
    assert found.environment == near


def test_a_producer_that_does_not_say_where_it_ran_has_no_near_environment():
    other = on(UNKNOWN_ENVIRONMENT, os="ubuntu24")
    assert baseline_from(memory_of(UNKNOWN_ENVIRONMENT, 1.0)).comparable("api", other) is None


def test_what_an_older_baseline_does_not_say_is_no_difference_and_its_file_goes_on():
    old = memory_of(on(EPYC, memory=""), 100.0)
    known = baseline_from(old).measured_on("api", EPYC)
    assert known is not None
    assert len(known.runs) == 6
    run = msgspec.structs.replace(suite_run([metric("api.home.p50", 100.0)]), environment=EPYC)
    assert accept(old, run, "c9").environment.id == old.environment.id
    assert Memory((old,)).of("api", EPYC) is old
    assert of_kind(verdict_on(EPYC, 100.0, old), "environment") == []


def test_an_environment_travels_through_the_store():
    known = memory_of(on(EPYC, libraries={"numpy": "2.1"}), 100.0)
    path = f"tests/baseline/{known.environment.id}/api.jsonl"
    assert parse_baseline({path: to_lines(known)}) == Memory((known,))
    assert known.environment.id.endswith("-ubuntu24-py3.12-16g-numpy-2.1")


def test_this_machine_tells_its_memory_and_the_libraries_of_the_policy(tmp_path):
    (suite,) = policy_of(suites="{api: {run: x}}").suites.values()
    assert _variables(suite, Shard(1, 1), tmp_path, {}, Address("", ""))["GATE_LIBRARIES"] == ""
    here = this_environment(["msgspec", "no-such-library"])
    assert here.memory.endswith("g")
    assert here.libraries["no-such-library"] == "none"
    assert here.libraries["msgspec"] == ".".join(msgspec.__version__.split(".")[:2])

"""A waiver by name of what base and head are not told apart by."""

import pytest

from gate.accounts import Account, Difference, Reached
from gate.evidence import Confirmation
from gate.verdict import Verdict, Waiver
from gate.waivers import Waivers, permission_for
from tests.gate.build import NODEID, history, judge, metric, of_kind, one, policy_of, run_of, suite_run

STEADY = (100, 101, 99, 100, 100, 101, 99, 100, 100, 100)
SERVICE, PYTHON = "127.0.0.1:8000", "Python 3.11 → 3.12"
SHARED = (
    Difference("service", SERVICE, "unaccounted", "both sides talk to it"),
    Difference("environment", PYTHON, "unaccounted", "both sides run on the head's"),
)


def judged(*subjects: str, accepted: tuple[int, ...] = STEADY) -> Verdict:
    """Twice the time, of a test for which two differences are unaccounted."""
    account = Account(SHARED, {NODEID: Reached(touched=True, unaccounted=(0, 1))})
    waivers = Waivers("", tuple(Waiver(subject, "kim", "staging") for subject in subjects))
    return judge(
        run_of(suite_run([metric("x.p50", 200)])),
        history("x.p50", accepted),
        policy_of(),
        confirmation=Confirmation({}, account=account),
        waivers=waivers,
    )


def test_all_of_it_has_to_be_permitted():
    verdict = judged(SERVICE, PYTHON)
    found = one(verdict, "regression")
    assert (verdict.exit_code, found.level, found.state) == (0, "warn", "waived")
    assert found.message.startswith(f"not judged: base and head may share {SERVICE}, {PYTHON}")
    assert found.message.endswith("; waived by kim: staging")
    assert {f.state for f in of_kind(verdict, "unaccounted")} == {"waived"}
    assert "has no effect" not in str(verdict.findings)
    assert permission_for(found, verdict.waivers), "as the relay asks again"
    assert not permission_for(found, verdict.waivers[:1])


@pytest.mark.parametrize("subjects", [(), (SERVICE,), (PYTHON,), ("127.0.0.1",), ("*x",)])
def test_less_than_all_leaves_it_undecided(subjects: tuple[str, ...]):
    verdict = judged(*subjects)
    assert (verdict.exit_code, one(verdict, "regression").state) == (3, "inconclusive")


def test_a_label_permits_the_regression_and_not_the_difference():
    verdict = judged("*")
    assert not one(verdict, "regression").message.startswith("not judged")
    assert {f.state for f in of_kind(verdict, "unaccounted")} == {None}


def test_without_history_the_difference_alone_is_undecided_until_it_is_permitted():
    assert judged(accepted=(100,)).exit_code == 3
    assert judged(SERVICE, accepted=(100,)).exit_code == 3
    assert judged(SERVICE, PYTHON, accepted=(100,)).exit_code == 0

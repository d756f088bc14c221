"""What `measure.load` records of a load, beside its latencies."""

import asyncio
import gc
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pytest_regression_gate import conditions
from pytest_regression_gate.conditions import Conditions, loop_lag, p99_of
from pytest_regression_gate.latency import Turns
from pytest_regression_gate.load import drive, measure_load
from pytest_regression_gate.recorder import Measure


class Service:
    """Counts who asked for what; may fail at first."""

    def __init__(self, failures: int = 0) -> None:
        self.seen: Counter[tuple[int, int]] = Counter()
        self.failures = failures

    async def request(self, user: int, index: int) -> bool:
        self.seen[user, index] += 1
        await asyncio.sleep(0)
        self.failures -= 1
        return self.failures < 0


async def test_the_warm_up_is_a_part_of_the_load_and_in_no_latency():
    service = Service()
    load = await measure_load(service.request, users=12, requests=11, repeat=2)
    assert (load.total, load.warm_up, load.errors) == (12 * 11 * 2, 100, 0)
    assert service.seen[9, 9] == 3
    assert service.seen[10, 9] == service.seen[9, 10] == 2


async def test_users_are_throughput_times_latency():
    """Little's law: whoever waits for the event loop waits for the answer already."""

    async def request(user: int, index: int) -> None:
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            pass

    for users in (2, 20):
        load = await drive(request, users, requests=20)
        mean = sum(load.latencies) / load.total / 1e3
        assert load.total / load.duration * mean == pytest.approx(users, rel=0.1)


async def test_the_first_request_is_wanted_when_the_load_begins():
    order: list[int] = []

    async def request(user: int, index: int) -> None:
        order.append(user)

    await drive(request, 3, requests=2)
    assert order == [0, 1, 2, 0, 1, 2], "a user that has its answer goes to the end of the queue"


async def test_a_small_load_warms_up_with_all_it_has():
    service = Service()
    load = await measure_load(service.request, users=2, requests=3)
    assert (load.total, load.warm_up) == (6, 6)


async def test_errors_of_the_warm_up_are_errors_of_the_load():
    load = await measure_load(Service(failures=6).request, users=2, requests=3, repeat=3)
    assert (load.total, load.errors, load.warm_up_errors) == (18, 6, 6)
    assert load.error_rate == 6 / 24
    assert load.throughput == pytest.approx(18 / load.duration)
    assert load.run is not None
    assert load.run.error_rate == load.error_rate


async def test_the_first_error_is_kept_also_from_the_warm_up():
    async def fails(user: int, index: int) -> bool:
        raise RuntimeError("no database")

    load = await measure_load(fails, users=1, requests=2)
    assert load.first_error == "RuntimeError: no database"
    assert load.run
    assert load.run.error == load.first_error, "the report says it, where the test does not assert on errors"
    assert load.throughput == 0


async def test_what_the_driver_costs_is_a_share_of_the_time():
    async def empty(user: int, index: int) -> None: ...

    async def work(user: int, index: int) -> None:
        sum(range(50_000))

    idle = (await measure_load(empty, users=5, requests=1_000)).run  # long enough for an interruption or two
    busy = (await measure_load(work, users=5, requests=40)).run
    assert idle is not None
    assert busy is not None
    assert idle.generator is not None
    assert busy.generator is not None
    assert busy.generator < 0.25 < idle.generator
    assert (busy.remote, busy.lag) == (False, None)


async def test_of_a_remote_load_cpu_time_and_lag_of_this_process_are_recorded():
    async def blocks(user: int, index: int) -> None:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        await asyncio.sleep(0)

    async def waits(user: int, index: int) -> None:
        await asyncio.sleep(0.02)

    blocked = (await measure_load(blocks, users=2, requests=5, remote=True)).run
    idle = (await measure_load(waits, users=2, requests=5, remote=True)).run
    assert blocked is not None
    assert idle is not None
    assert blocked.generator is not None
    assert idle.generator is not None
    assert blocked.remote
    assert blocked.generator > idle.generator
    assert blocked.lag is not None
    assert blocked.lag > 1.0


async def test_settling_the_heap_is_not_the_generators_work(monkeypatch: pytest.MonkeyPatch):
    async def waits(user: int, index: int) -> None:
        await asyncio.sleep(0.02)

    def collect() -> None:
        until = time.process_time() + (0.3 if gc.get_freeze_count() == 0 else 0)
        while time.process_time() < until:
            pass

    monkeypatch.setattr(gc, "collect", collect)
    how = (await measure_load(waits, users=2, requests=5, remote=True)).run
    assert how is not None
    assert how.generator is not None
    assert how.generator < 1


async def test_the_record_travels_with_the_latencies_alone():
    measure = Measure("test_load.py::test_api", Path(), Turns(), {})
    await measure.load("load.api{users=2}", Service().request, users=2, requests=5)
    how = {m.name: m.load for m in measure.measurements}
    assert how.keys() == {"load.api", "load.api.throughput", "load.api.error_rate"}
    assert [name for name, load in how.items() if load] == ["load.api"]
    assert how["load.api"] is not None
    assert (how["load.api"].requests, how["load.api"].users, how["load.api"].warm_up) == (10, 2, 10)


async def test_plain_driving_watches_nothing():
    load = await drive(Service().request, users=2, requests=2)
    assert (load.warm_up, load.run) == (0, None)


async def test_lag_is_gone_with_its_block():
    async with loop_lag() as late:
        await asyncio.sleep(0.03)
    seen = len(late)
    await asyncio.sleep(0.02)
    assert 0 < seen == len(late)
    assert p99_of([]) is None
    assert p99_of([1.0, 1.0]) == 1.0


class Clock:
    """A machine of two cores whose counters a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **more: float) -> None:
        self.values = dict(user=100.0, system=0.0, idle=100.0, iowait=0.0, guest=50.0, guest_nice=5.0, **more)
        self.ours, self.wall, self.waited = 10.0, 1000.0, 5.0
        monkeypatch.setattr(psutil, "cpu_times", lambda: self)
        monkeypatch.setattr(conditions, "_cpu_time_of_tree", lambda: self.ours)
        monkeypatch.setattr(conditions, "_waited", lambda: self.waited)
        monkeypatch.setattr(conditions.Clock, "perf_counter", lambda: self.wall)

    def _asdict(self) -> dict[str, float]:
        return dict(self.values)

    def second(self, **moved: float) -> None:
        self.wall += moved.pop("wall", 1.0)
        self.ours += moved.pop("ours", 0.0)
        self.waited += moved.pop("waited", 0.0)
        for name, value in moved.items():
            self.values[name] += value


def test_shares_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch, steal=7.0)
    with Conditions() as seen:
        clock.second(
            user=1.2,
            system=0.2,
            idle=0.3,
            iowait=0.1,
            steal=0.2,
            guest=0.5,
            guest_nice=0.5,
            ours=0.4,
            waited=0.3,
        )
    assert (seen.steal, seen.waited, seen.others) == (0.1, 0.3, 0.5)


def test_what_a_system_does_not_count_is_unknown(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    del clock.values["iowait"]
    monkeypatch.setattr(conditions, "_waited", lambda: None)
    with Conditions() as seen:
        clock.second(user=1.0, idle=1.0, ours=1.02)
    assert (seen.steal, seen.waited, seen.others) == (None, None, 0.0)


def test_in_a_moment_counters_say_nothing(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch, steal=0.0)
    with Conditions() as seen:
        clock.second(wall=0.2, user=0.1, idle=0.2, steal=0.1, waited=0.1)
    assert (seen.steal, seen.waited, seen.others) == (None, None, None)


def test_a_kernel_without_scheduler_statistics_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path):
    for text in (None, "", "1", "a b c"):
        file = tmp_path / "schedstat"
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(conditions, "_OF_THIS_THREAD", file)
        assert conditions._waited() is None
    file.write_text("5 2500000000 7\n")
    assert conditions._waited() == 2.5

"""How large the memory gets: bounded by its window, however many runs were accepted."""

import pytest

from gate.baseline.pruning import KEPT
from tests.gate.bench.year import ENVIRONMENTS, METRICS, TESTS, files_of, remembered


@pytest.mark.long
def test_the_memory_stays_small_and_stops_growing():
    """60 metrics, 45 tests and 60 runs in three environments: 2 MB are allowed."""
    sizes = [sum(map(len, files_of(baseline).values())) for baseline in remembered(240)]
    assert sizes[-1] < 2_000_000
    assert sizes[-1] < 1.01 * sizes[190], "from 60 runs in each environment on"
    assert sizes[-1] > KEPT * 3 * METRICS * len('"api.endpoint_1.p50":20.0,'), "it does hold the runs"


@pytest.mark.long
def test_a_line_of_it_is_a_metric_a_test_or_a_run():
    *_, last = remembered(200)
    files = files_of(last)
    assert len(files) == len(ENVIRONMENTS)
    for data in files.values():
        assert len(data.splitlines()) == 1 + METRICS + TESTS + 1 + KEPT, "header, metrics, tests, pin, runs"

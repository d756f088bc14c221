import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.units import (
    FACTORS,
    Quantity,
    UnitError,
    convert,
    dimension,
    format_bound,
    format_change,
    format_value,
    parse,
)

UNITS = [(kind, unit) for kind, units in FACTORS.items() for unit in units]
PAIRS = [(here, there) for units in FACTORS.values() for here in units for there in units]
numbers = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("150 ms", 150, "ms"),
        ("150ms", 150, "ms"),
        ("  150   ms ", 150, "ms"),
        ("2 GB", 2, "GB"),
        ("1.5 GiB", 1.5, "GiB"),
        ("3 %", 3, "%"),
        ("3%", 3, "%"),
        ("1,000 req/s", 1000, "req/s"),
        ("1,234,567.5 B", 1234567.5, "B"),
        ("1_000 req/s", 1000, "req/s"),
        ("0", 0, ""),
        ("0.7", 0.7, ""),
        (".5 s", 0.5, "s"),
        ("1e3 ms", 1000, "ms"),
        ("-5 ms", -5, "ms"),
        ("+5 ms", 5, "ms"),
        ("10 µs", 10, "µs"),
        ("24 h", 24, "h"),
    ],
)
def test_a_quantity_is_read_as_people_write_it(text, value, unit):
    assert parse(text) == Quantity(value, unit)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is no quantity; write a number and a unit, e.g. 150 ms or 10 %"),
        ("ms", "'ms' is no quantity"),
        ("nan", "'nan' is no quantity"),
        ("inf", "'inf' is no quantity"),
        ("1.2.3 ms", "'1.2.3 ms' is no quantity"),
        ("--5 ms", "'--5 ms' is no quantity"),
        ("1,5 ms", "'1,5 ms' is ambiguous; write decimals with a point, thousands as 1,000"),
        ("1.000,5 ms", "is ambiguous"),
        ("1,00 ms", "is ambiguous"),
        ("100 req/min", "did you mean 1.66667 req/s?"),
        ("512 M", "did you mean 512 MB?"),
        ("5 TB", "did you mean 5000 GB?"),
        ("2 days", "did you mean 48 h?"),
        ("1e400 ms", "'1e400 ms' is out of range"),
        ("150 mss", "unknown unit 'mss'; did you mean 150 ms?"),
        ("150 msec", "unknown unit 'msec'; did you mean 150 ms?"),
        ("5 req/sec", "did you mean 5 req/s?"),
        ("5 minutes", "did you mean 5 min?"),
        ("5 xyzzy", "unknown unit 'xyzzy'; known units: ns, us, µs, ms,"),
    ],
)
def test_a_text_that_is_no_quantity_is_refused_with_a_remedy(text, says):
    with pytest.raises(UnitError) as error:
        parse(text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "meant"), [("5 seconds", "5 s"), ("5 hours", "5 h"), ("10 percent", "10 %"), ("2 gb", "2 GB")]
)
def test_a_unit_written_out_gets_the_suggestion_that_was_meant(text, meant):
    with pytest.raises(UnitError) as error:
        parse(text)
    assert f"did you mean {meant}?" in str(error.value)


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (1.5, "s", "ms", 1500),
        (250, "µs", "ms", 0.25),
        (2, "GB", "MB", 2000),
        (1, "GiB", "MiB", 1024),
        (3, "%", "ratio", 0.03),
        (1, "h", "min", 60),
        (7, "tokens", "tokens", 7),
        (5, "op/s", "req/s", 5),
    ],
)
def test_units_of_one_dimension_convert(value, unit, to, expected):
    assert convert(value, unit, to) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("to", ["count", "tokens", ""])
def test_a_bare_number_is_a_count_or_of_a_unit_that_we_do_not_know(to):
    assert convert(0.7, "", to) == 0.7


@pytest.mark.parametrize("to", ["ms", "MB", "ratio", "%", "req/s"])
def test_a_bare_number_is_no_time_size_share_or_rate_but_nothing_is(to):
    """5 for an error rate, meant 5 %, let 600 of 600 failed requests pass."""
    with pytest.raises(UnitError, match="cannot compare a bare number with"):
        convert(5, "", to)
    assert convert(0, "", to) == 0


@pytest.mark.parametrize(("unit", "to"), [("ms", "MB"), ("ms", ""), ("tokens", "ms"), ("%", "ms")])
def test_units_of_different_dimensions_do_not_convert(unit, to):
    with pytest.raises(UnitError, match="cannot compare"):
        convert(1, unit, to)


@pytest.mark.parametrize(("kind", "unit"), UNITS)
def test_every_known_unit_has_its_dimension_and_can_be_written(kind, unit):
    assert dimension(unit) == kind
    assert parse(f"1 {unit}") == Quantity(1, unit)


def test_an_unknown_unit_has_no_dimension():
    assert dimension("tokens") is None


@given(st.sampled_from(PAIRS), numbers)
def test_converting_there_and_back_changes_nothing(pair, value):
    here, there = pair
    assert convert(convert(value, here, there), there, here) == pytest.approx(value, rel=1e-12, abs=1e-300)


@given(st.sampled_from(PAIRS), numbers, numbers)
def test_converting_is_linear(pair, a, b):
    here, there = pair
    both = Quantity(a + b, here).to(there)
    assert both == pytest.approx(
        Quantity(a, here).to(there) + Quantity(b, here).to(there),
        rel=1e-9,
        abs=abs(convert(max(abs(a), abs(b), 1e-290), here, there)) * 1e-9,
    )


@given(st.integers(0, 100))
def test_a_percentage_is_exactly_the_ratio_that_people_write(percent):
    assert Quantity(percent, "%").to("ratio") == percent / 100


@given(
    st.sampled_from([unit for _, unit in UNITS]),
    st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9),
)
def test_what_is_written_can_be_read_again(unit, value):
    quantity = Quantity(float(f"{value:g}"), unit)
    assert parse(str(quantity)) == quantity


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0421, "ms", "42.1 µs"),
        (0.83, "ratio", "83 %"),
        (5118, "req/s", "5,118 req/s"),
        (150, "ms", "150 ms"),
        (1500, "ms", "1.5 s"),
        (0.15, "s", "150 ms"),
        (90, "s", "1.5 min"),
        (0, "ms", "0 ms"),
        (0, "ratio", "0 %"),
        (-5, "ms", "-5 ms"),
        (2048, "MB", "2.05 GB"),
        (0.5, "MB", "500 kB"),
        (3, "count", "3"),
        (1234, "count", "1,234"),
        (7, "tokens", "7 tokens"),
        (0.0001, "ratio", "0.01 %"),
    ],
)
def test_a_value_is_shown_with_three_digits_and_the_unit_that_reads_best(value, unit, expected):
    assert format_value(value, unit) == expected


@given(st.sampled_from(["ns", "ms", "s", "B", "MB", "GB", "ratio", "req/s"]), st.floats(1e-3, 1e9))
def test_what_is_shown_is_the_value_to_three_digits(unit, value):
    shown = parse(format_value(value, unit))
    assert shown.to(unit) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.195, "+19.5 %"),
        (-0.5, "-50.0 %"),
        (0, "+0.0 %"),
        (0.9949, "+99.5 %"),
        (1.5, "+150 %"),
        (3.99, "+399 %"),
        (4, "× 5"),
        (11, "× 12"),
        (999, "× 1,000"),
    ],
)
def test_a_change_is_shown_in_percent_and_as_a_factor_from_five_times_on(ratio, expected):
    assert format_change(ratio) == expected


def test_a_change_without_a_bound_can_be_shown():
    assert isinstance(format_change(math.inf), str)


def test_both_letters_that_look_like_a_micro_sign_are_one():
    assert parse("200 \N{GREEK SMALL LETTER MU}s") == parse("200 \N{MICRO SIGN}s") == Quantity(200, "µs")


@pytest.mark.parametrize(
    ("bound", "estimate", "text"),
    [
        (0.12, 0.0, "+12.0 %"),
        (5.6e27, 0.0, "unknown"),
        (math.inf, 0.0, "unknown"),
        (210.0, 200.0, "× 211"),
        (-0.9999, 0.0, "unknown"),
        (-1.0, -1.0, "unknown"),
    ],
)
def test_a_bound_that_is_none_is_unknown(bound: float, estimate: float, text: str):
    assert format_bound(bound, estimate) == text

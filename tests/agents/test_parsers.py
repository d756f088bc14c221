"""Budgets and wishes out of free text."""

import pytest

from tests.jorge.budget import BudgetRange, parse_budget
from tests.jorge.needs import Preferences, parse_preferences, urgency_level


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("I have $650k.", (520_000, 650_000)),
        ("I have $600,000.", (480_000, 600_000)),
        ("I have $600000.", (480_000, 600_000)),
        ("I have $1.2M.", (960_000, 1_200_000)),
        ("I have $1 million.", (800_000, 1_000_000)),
        ("From $600k to $700K.", (600_000, 700_000)),
        ("$750,000 at most, rather $650k", (650_000, 750_000)),
        ("$650k with a $5,000 deposit", (520_000, 650_000)),
        ("Zillow says $950k. I would spend $1.1M.", (880_000, 1_100_000)),
    ],
)
def test_budget_is_read(message: str, expected: tuple[int, int]):
    assert parse_budget([message]) == BudgetRange(*expected)


@pytest.mark.parametrize(
    "message", ["", "no idea", "650", "My rent is $2,400.", "Zillow says $950k!", "3 bedrooms, 2 baths"]
)
def test_no_price_is_no_budget(message: str):
    assert parse_budget([message]) is None


def test_latest_budget_replaces_the_earlier():
    assert parse_budget(["$500k", "make it $700k", "with a garage"]) == BudgetRange(560_000, 700_000)


def test_budget_is_written_for_people():
    assert str(BudgetRange(600_000, 750_000)) == "$600,000–$750,000"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("3 bedrooms", Preferences(bedrooms=3)),
        ("a three-bedroom house", Preferences(bedrooms=3)),
        ("4 br, 2.5 ba", Preferences(bedrooms=4, bathrooms=2.5)),
        ("2 bath", Preferences(bathrooms=2)),
        ("a Garage and a yard", Preferences(features=("garage", "yard"))),
        ("near Terra Vista or etiwanda", Preferences(areas=("Etiwanda", "Terra Vista"))),
        ("something nice", Preferences()),
    ],
)
def test_wishes_are_read(message: str, expected: Preferences):
    assert parse_preferences([message]) == expected


def test_wishes_of_several_messages_add_up_and_the_latest_count_holds():
    wishes = parse_preferences(["3 bedrooms with a pool", "rather 4 bedrooms, in Haven"])
    assert wishes == Preferences(bedrooms=4, features=("pool",), areas=("Haven",))
    assert wishes.stated == 3


@pytest.mark.parametrize(
    ("urgency", "expected"),
    [
        (75, "immediate"),
        (74, "3_months"),
        (50, "3_months"),
        (49, "6_months"),
        (30, "6_months"),
        (29, "browsing"),
    ],
)
def test_urgency_level_starts_at_its_bound(urgency: float, expected: str):
    assert urgency_level(urgency) == expected

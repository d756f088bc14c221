"""Scores, and what follows from them."""

import pytest

from tests.jorge.fixtures import READY_BUYER
from tests.jorge.scoring import (
    BuyerIntent,
    SellerIntent,
    buyer_temperature,
    classify,
    commitment,
    score_buyer,
    score_seller,
    seller_temperature,
)


@pytest.mark.parametrize(
    ("message", "pillars"),
    [
        ("Hello there.", (50, 50, 50, 50)),
        ("We are behind on payments.", (85, 50, 50, 50)),
        ("I am just browsing.", (20, 50, 50, 50)),
        ("It has to go asap.", (50, 90, 50, 50)),
        ("Eventually, perhaps.", (50, 20, 50, 50)),
        ("We sell it as-is.", (50, 50, 85, 50)),
        ("It is turnkey.", (50, 50, 20, 50)),
        ("The comps are higher.", (50, 50, 50, 85)),
        ("Relocating in 30 days, a fixer, what is the market value?", (85, 90, 85, 85)),
    ],
)
def test_seller_pillars_come_from_phrases(message: str, pillars: tuple[float, ...]):
    profile = score_seller([message])
    assert (profile.motivation, profile.timeline, profile.condition, profile.price) == pillars


def test_urgent_words_win_over_hesitant_ones():
    assert score_seller(["I was not sure, but now there is a divorce."]).motivation == 85


def test_frs_is_the_weighted_sum_of_the_pillars():
    assert SellerIntent(100, 0, 0, 0).frs == pytest.approx(35)
    assert SellerIntent(0, 100, 0, 0).frs == pytest.approx(30)
    assert SellerIntent(0, 0, 100, 0).frs == pytest.approx(20)
    assert SellerIntent(0, 0, 0, 100).frs == pytest.approx(15)


@pytest.mark.parametrize(
    ("frs", "expected"),
    [(75, "Hot"), (74.9, "Warm"), (50, "Warm"), (49.9, "Lukewarm"), (25, "Lukewarm"), (24.9, "Cold")],
)
def test_class_starts_at_its_bound(frs: float, expected: str):
    assert classify(frs) == expected


@pytest.mark.parametrize(("level", "qualified"), [(80, True), (50, True), (40, False), (10, False)])
def test_warm_and_hot_sellers_are_qualified(level: float, qualified: bool):
    assert SellerIntent(level, level, level, level).is_qualified is qualified


@pytest.mark.parametrize(
    ("frs", "pcs", "expected"),
    [(40, 35, "hot"), (40, 34.9, "warm"), (50, 0, "warm"), (30, 19.9, "cold"), (0, 0, "cold")],
)
def test_seller_temperature_is_that_of_the_sum(frs: float, pcs: float, expected: str):
    assert seller_temperature(frs, pcs) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], 0.0),
        (["one two three four five"], 31 + 0.15 * 20),
        (["word " * 25], 31 + 15),
        (["word " * 90], 31 + 15),
        (["why?"], 31 + 0.15 * 4 + 5),
        (["? ? ? ? ? ?"], 31 + 0.15 * 24 + 20),
        (["please call"], 31 + 0.15 * 8 + 20),
        (["one two", "one two three four"], 31 + 0.15 * 12),
    ],
)
def test_commitment_weighs_words_questions_and_contact(messages: list[str], expected: float):
    assert commitment(messages) == pytest.approx(expected)


def test_phrases_start_with_a_word():
    assert commitment(["It typically recalls smartphones"]) == commitment(["It mostly makes telephones"])


def test_buyer_total_weighs_three_groups_of_three():
    assert BuyerIntent(90, 90, 90, 0, 0, 0, 0, 0, 0).total == pytest.approx(36)
    assert BuyerIntent(0, 0, 0, 90, 90, 90, 0, 0, 0).total == pytest.approx(31.5)
    assert BuyerIntent(0, 0, 0, 0, 0, 0, 90, 90, 90).total == pytest.approx(22.5)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (75, "hot"),
        (74.9, "warm"),
        (50, "warm"),
        (49.9, "lukewarm"),
        (35, "lukewarm"),
        (34.9, "cold"),
        (20, "cold"),
        (19.9, "ice_cold"),
    ],
)
def test_buyer_temperature_starts_at_its_bound(total: float, expected: str):
    assert buyer_temperature(total) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "budget"),
        ({"budget_clarity": 50}, "timeline"),
        ({"budget_clarity": 80, "timeline": 60}, "preferences"),
        ({"budget_clarity": 80, "timeline": 60, "preference_clarity": 65}, "decision_makers"),
        ({"timeline": 90, "preference_clarity": 90, "authority": 90}, "budget"),
        (
            {"budget_clarity": 80, "timeline": 60, "preference_clarity": 65, "authority": 60},
            "property_search",
        ),
    ],
)
def test_next_step_is_the_first_thing_unclear(known: dict[str, float], expected: str):
    assert BuyerIntent(**known).next_step == expected


@pytest.mark.parametrize(
    ("readiness", "urgency", "qualified"), [(50, 50, True), (49, 90, False), (90, 49, False)]
)
def test_buyer_needs_means_and_motivation(readiness: float, urgency: float, qualified: bool):
    profile = BuyerIntent(
        financial_readiness=readiness, urgency=urgency, timeline=urgency, consequence_awareness=urgency
    )
    assert profile.is_qualified is qualified


@pytest.mark.parametrize(
    ("message", "field", "score"),
    [
        ("I'm pre-approved.", "financing", 90),
        ("I am getting preapproved.", "financing", 55),
        ("We are not yet pre-approved.", "financial_readiness", 55),
        ("I'm paying cash.", "budget_clarity", 70),
        ("I'm paying cash.", "financing", 40),
        ("I have $600k.", "budget_clarity", 80),
        ("Up to $600k.", "budget_clarity", 90),
        ("It has to be soon.", "urgency", 60),
        ("Before the school year.", "timeline", 60),
        ("My lease ends.", "consequence_awareness", 90),
        ("Three bedrooms with a pool in Haven.", "preference_clarity", 85),
        ("I want a bargain.", "market_realism", 15),
        ("My husband and I agree.", "authority", 90),
        ("I need to ask my parents.", "authority", 15),
        ("Just browsing.", "urgency", 10),
    ],
)
def test_buyer_scores_come_from_phrases(message: str, field: str, score: float):
    assert getattr(score_buyer([message]), field) == score


def test_buyer_who_says_it_all_is_hot():
    assert score_buyer([READY_BUYER]).temperature == "hot"


def test_buyer_who_says_nothing_is_cold_but_not_refused():
    assert score_buyer([]) == BuyerIntent()
    assert BuyerIntent().temperature == "cold"

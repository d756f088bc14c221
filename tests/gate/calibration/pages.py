"""The replay's figures as a picture and as a page of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair
import vl_convert

COLUMNS = ("false alarms", "+5 %", "+10 %", "+20 %")
COLOURS = {
    "our screen": "#0b5cad",
    "our screen, each metric alone": "#7fb2e5",
    "t-test, window 64": "#c2410c",
    "Q3 + k·IQR of the last 30 changes": "#8a6d00",
    "ratio of the last run": "#6b7280",
}


def draw(figures: Mapping[str, Any]) -> str:
    """The curves as SVG: runs with a false alarm across, share of +10 % changes seen upwards."""
    rows = [
        {"rule": name, "false": 100 * point["false alarms"], "seen": 100 * point["+10 %"]}
        for name, curve in figures["curves"].items()
        if name in COLOURS
        for point in curve
    ]
    labels = _apart([[row for row in rows if row["rule"] == name][-1] for name in COLOURS])
    scale = altair.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    base = altair.Chart(altair.Data(values=rows)).encode(
        x=altair.X(
            "false:Q",
            title="runs of unchanged code with a false alarm (%)",
            scale=altair.Scale(domain=[0, 40]),
        ),
        y=altair.Y("seen:Q", title="+10 % changes seen (%)", scale=altair.Scale(domain=[0, 100])),
        color=altair.Color("rule:N", scale=scale, legend=None),
    )
    goals = altair.Data(values=[{"false": rate} for rate in (3, 10, 25)])
    chart = altair.layer(
        altair.Chart(goals).mark_rule(color="#d1d5db", strokeDash=[4, 3]).encode(x="false:Q"),
        base.mark_line(strokeWidth=2.5),
        altair.Chart(altair.Data(values=labels))
        .mark_text(align="left", dx=6, fontSize=12)
        .encode(
            x="false:Q", y="seen:Q", text="rule:N", color=altair.Color("rule:N", scale=scale, legend=None)
        ),
    ).properties(
        width=520,
        height=380,
        title=f"{figures['runs']:,} recorded CI runs, one metric at a time made 10 % slower",
        padding={"left": 10, "top": 10, "bottom": 10, "right": 10},
    )
    chart = chart.configure(background="white").configure_axis(labelFontSize=12, titleFontSize=13)
    return vl_convert.vegalite_to_svg(chart.configure_title(fontSize=14).to_dict(), vl_version="5.21") + "\n"


def _apart(ends: list[dict[str, Any]], gap: float = 4.5) -> list[dict[str, Any]]:
    """Labels at the ends of the curves, moved down where they would lie on each other."""
    placed: list[dict[str, Any]] = []
    for row in sorted(ends, key=lambda row: -row["seen"]):
        highest = placed[-1]["seen"] - gap if placed else 100.0
        placed.append({**row, "seen": min(row["seen"], highest)})
    return placed


def page(figures: Mapping[str, Any], others: Sequence[str], ours: str) -> str:
    """The tables and what they mean."""
    equal = figures["equal"]
    rates = list(equal[ours])
    native = [[label, *_cells(row)] for label, row in figures["native"].items()]
    at_equal = [
        [name, f"{float(rate):.0%}".replace("%", " %"), f"{row['parameter']:.3g}", *_cells(row)[1:]]
        for rate in rates
        for name, row in ((name, equal[name][rate]) for name in equal)
    ]
    against = []
    for rate in rates:
        best = max(others, key=lambda name: equal[name][rate]["+10 %"])
        we, they = equal[ours][rate]["+10 %"], equal[best][rate]["+10 %"]
        against.append(
            [_percent(float(rate)), _percent(we), f"{_percent(they)} ({best})", f"{we / they:.2f}"]
        )
    projects = [
        [
            name,
            str(row["runs"]),
            str(row["tests"]),
            _percent(row["ours"]),
            _percent(row["best other"]),
            f"{_percent(row['carried over']['false alarms'])} / {_percent(row['carried over']['+10 %'])}",
            f"{_percent(row['strict']['false alarms'])} / {_percent(row['strict']['+20 %'])}",
        ]
        for name, row in figures["projects"].items()
    ]
    return TEXT.format(
        runs=f"{figures['runs']:,}",
        tests=f"{figures['tests']:,}",
        against=_table(["runs with a false alarm", "our screen", "best other rule", "times"], against),
        native=_table(["rule, as it is used", *COLUMNS], native),
        equal=_table(["rule", "false alarms", "parameter", *COLUMNS[1:]], at_equal),
        projects=_table(
            ["project", "runs", "tests", "ours", "best other", "bound of the others", "strict"], projects
        ),
    )


def _cells(row: Mapping[str, float]) -> list[str]:
    return [_percent(row[column]) for column in COLUMNS]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TEXT = """\
<!-- written by: python -m tests.gate.calibration histories -->

# What history alone can see

{runs} recorded CI runs of public projects, {tests} tests of one metric in one run
([data and sources](../../tests/gate/data/ci-histories/README.md)). A rule sees the last 20 runs (64 or 30
where it says so) and judges the next one. An alarm is false unless the following five runs stay up: the value
lay over the earlier centre, and their median keeps half of that shift. Then one metric of the new run is made
5, 10 or 20 % slower: is it seen? The product's own function is asked, not a copy of it.

![share of +10 % changes seen against the rate of runs with a false alarm](histories.svg)

## Compared where rules cry wolf equally often (+10 %)

{against}

## As they are used

{native}

Strict is what `gate check --no-confirm` uses: all metrics share a nominal rate of 2 % of runs with a false
alarm. Liberal only decides what is measured again first; each metric has its own fixed bound. The tolerance
of the policy (10 % by default) comes on top of both and is left out here.

## Every rule at equal false alarms

The parameter is the ratio, the multiple of the t-test's bound, the k of k·IQR, or the multiple of our bound.

{equal}

## One project at a time

*Ours* and *best other*: +10 % seen at 10 % of that project's runs with a false alarm. *Bound of the others*:
the multiple of our bound that gives 10 % on all other projects, used on this one: false alarms / +10 % seen.
*Strict*: false alarms / +20 % seen.

{projects}

## What it means

- Most of the gain comes from the other metrics of the same run: compare "our screen" with "each metric
  alone". A machine that is slow today is slow for all of them, and how far each follows is learned from its
  history.
- The price: a change that slows *everything* looks like a slow machine, above all where metrics always moved
  together. One metric at a time is changed here, so this price is not in the tables. History cannot tell the
  two apart; only base beside head on one machine can.
- Below 1.5 % of runs with a false alarm nothing on stored history sees much, and the t-test with its long
  window sees a little more than ours: what is left there are rare, large leaps that no other metric shares.
- False alarms are judged from the history itself. Some are real changes that were taken back within five
  runs; they count against every rule alike.
- Metrics are quite different from each other: a bound that gives 10 % elsewhere gives something else on a new
  project (column *bound of the others*). pyuvsim has nine runs to judge and shows nothing but that;
  risinglight has none.
- Structure and constants of the screen were looked at on all projects first; between close variants gab and
  rune decided.
- Tried, no clear gain: averages that favour young runs, the mean of the others instead of their median, a
  standard deviation as the scale, windows of 30. Clearly worse: MAD as the scale, correcting for slow
  machines only.
"""

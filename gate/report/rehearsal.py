"""The cases of `gate selftest` -> terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.policy import Policy
from gate.report.text import log_line
from gate.selftest import Case, SelftestError, exit_code, selftest
from gate.verdict import EXIT_CODES

_LAST: Final = {
    0: ("the gate turned red for every fault and stayed green without one", "green"),
    1: ("the gate did not say what it must; do not rely on it before that is fixed", "bold red"),
    3: ("nothing is blind, but not everything could be checked", "yellow"),
}


def print_cases(cases: Sequence[Case], console: Console, *, quiet: bool = False) -> None:
    """The table, then what it means in one line; quiet: only that line."""
    if not quiet:
        table = Table(
            "Case", "Expected", "The gate said", "Exit", "", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        table.columns[0].overflow = table.columns[1].overflow = table.columns[2].overflow = "fold"
        table.columns[2].ratio = 1
        table.columns[4].no_wrap = True
        for case in cases:
            word, style = _word(case)
            code = "-" if case.exit_code is None else str(case.exit_code)
            cells = (case.name, case.expected, case.said)
            table.add_row(*(Text(log_line(cell)) for cell in cells), code, Text(word, style=style))
        console.print(table)
        console.print()
    text, style = _LAST[exit_code(list(cases))]
    seconds = sum(case.seconds for case in cases)
    checked = sum(case.ok is not None for case in cases)
    line = f"selftest: {text} ({checked} of {len(cases)} cases, {seconds:.0f} s)"
    console.print(Text(line, style=style), soft_wrap=True)


def _word(case: Case) -> tuple[str, str]:
    """How a case ended, and in which colour."""
    if case.ok is None:
        return "not checked", "yellow"
    if case.ok:
        return "ok", "green"
    return ("BLIND" if case.exit_code == 0 else "WRONG"), "bold red"


def rehearse_with_progress(policy: Policy, thresholds: Path, console: Console, *, quiet: bool) -> int:
    """Run the selftest, show how far it is and what came out; the exit code."""
    cases: list[Case] = []

    def listen(line: str) -> None:
        if not quiet and line.startswith(_HEADLINE):
            console.print(Text(log_line(line)), soft_wrap=True)
        elif not quiet and line.strip():
            console.print(Text(f"  {log_line(line)}", style="dim"), overflow="ellipsis", no_wrap=True)

    try:
        selftest(policy, thresholds, listen, cases.append)
    except SelftestError as error:
        for line in str(error).splitlines():
            console.print(Text(log_line(line), style="magenta"), soft_wrap=True)
        return EXIT_CODES["error"]
    if not quiet:
        console.print()
    print_cases(cases, console, quiet=quiet)
    return exit_code(cases)


_HEADLINE: Final = "selftest: "

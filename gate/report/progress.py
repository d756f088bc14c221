"""Progress of running suites on a terminal or in a log."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from gate.report.text import log_line, one_line
from gate.runner import SuiteResult
from pytest_regression_gate.protocol import Progress

_LOG_EVERY: Final = 5.0
"""Seconds between two lines about a running suite in a log."""
_TAIL: Final = 15


@dataclass(frozen=True)
class ProgressDisplay:
    """Shows how far suites are, and how each one ended: a bar on a terminal, a line now and then in a log.

    Args:
        console: where.
        quiet: show nothing but what went wrong.
    """

    console: Console
    quiet: bool = False

    @contextmanager
    def running(self, suite: str) -> Generator[Callable[[Progress], None]]:
        """While the block runs, show the events of a suite that are given to what this yields."""
        if self.quiet:
            yield lambda _: None
        elif self.console.is_terminal:
            with Bars(*_COLUMNS, console=self.console, transient=True) as bars:
                yield _move(bars, bars.add_task("starting", total=None, suite=suite))
        else:
            yield _log_lines(suite, self.console)

    def say(self, line: str) -> None:
        """Show a line."""
        if not self.quiet:
            self.console.print(log_line(line), soft_wrap=True, highlight=False, markup=False)

    def ended(self, result: SuiteResult) -> None:
        """Show how a suite ended."""
        if result.problem:
            line = f"{result.suite}: {result.problem}; see {result.log}"
            self.console.print(line, style="magenta", soft_wrap=True, highlight=False, markup=False)
            log = result.log.read_text(errors="replace") if result.log.is_file() else ""
            for text in log.splitlines()[-_TAIL:]:
                line = log_line(f"  {text}")
                self.console.print(line, style="dim", soft_wrap=True, highlight=False, markup=False)
        else:
            self.say(f"{result.suite}: ran in {result.seconds:.1f} s, report in {result.report}")


_COLUMNS: Final = (
    TextColumn("{task.fields[suite]}"),
    BarColumn(bar_width=20),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("left"),
    TimeRemainingColumn(),
    TextColumn("[dim]{task.description}", table_column=None),
)


def _move(bars: Bars, task: TaskID) -> Callable[[Progress], None]:
    def listen(event: Progress) -> None:
        if event.total is not None:
            bars.update(task, total=event.total)
        if event.started is not None:
            bars.update(task, description=escape(one_line(event.started.rpartition("::")[2][:40])))
        if event.finished is not None:
            bars.advance(task)
        if event.waiting is not None:
            bars.update(task, description=escape(one_line(event.waiting)))

    return listen


def _log_lines(suite: str, console: Console) -> Callable[[Progress], None]:
    """Lines for a log: not more than one in a few seconds, whatever the number of tests."""
    begun = said = time.monotonic()
    total = done = 0

    def listen(event: Progress) -> None:
        nonlocal said, total, done
        total = event.total or total
        done += event.finished is not None
        now = time.monotonic()
        if event.waiting is not None:
            line = log_line(f"{suite}: {event.waiting}")
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if event.started is None or now - said < _LOG_EVERY:
            return
        said = now
        left = f", about {(now - begun) / done * (total - done):.0f} s left" if done else ""
        text = f"{suite}: {done}/{total} tests, {now - begun:.0f} s{left}; now {event.started}"
        console.print(log_line(text), soft_wrap=True, highlight=False, markup=False)

    return listen

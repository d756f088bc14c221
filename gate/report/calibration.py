"""What `gate calibrate` learnt -> terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.diagnostics.calibration import Calibration
from gate.noise import Noise
from gate.report.text import log_line
from gate.units import format_value

_SEES = (
    "Noise: how far unchanged code moves from run to run (robust sd). Sees: the smallest worsening that is "
    "seen 95 times in 100, by history alone, and by base beside head on one machine within the default "
    "budget; the latter is estimated from the noise. A busy machine shows its own noise: trust what is "
    "proposed only if the machine was as quiet as it will be when it judges."
)


def print_calibration(result: Calibration, console: Console, *, quiet: bool = False) -> None:
    """Noise by metric, worst first; then what to change. Quiet: only what to change."""
    if result.table and not quiet:
        console.print(_table(result.table))
        console.print()
        console.print(Text(_SEES, style="dim"))
    for line in (*result.refused, *result.unstable):
        console.print(Text(log_line(line), style="magenta"), soft_wrap=True)
    if len(result.runs) < 2:
        text = f"{len(result.runs)} clean run{'s' * (len(result.runs) != 1)}: noise needs two at the least"
        console.print(Text(text, style="yellow"), soft_wrap=True)
        return
    console.print()
    if not result.proposals:
        console.print("Every limit and tolerance lies outside the noise.")
        return
    number = len(result.proposals)
    text = f"{number} metric{'s' * (number != 1)} with a limit or tolerance inside the noise:"
    console.print(Text(text, style="yellow"), soft_wrap=True)
    console.print()
    console.print(Text("metrics:"), soft_wrap=True)
    for proposal in result.proposals:
        for reason in proposal.reasons:
            console.print(Text(f"  # {log_line(reason)}", style="dim"), soft_wrap=True)
        console.print(Text(f"  {log_line(proposal.yaml)}"), soft_wrap=True)


def _table(noises: Sequence[Noise]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("Metric", overflow="fold", ratio=1)
    for title in ("Median", "Noise", "History\nsees", "Base/head\nsees", "Tolerance"):
        table.add_column(title, justify="right", no_wrap=True)
    for noise in noises:
        table.add_row(
            Text(log_line(noise.name)),
            Text(log_line(format_value(noise.centre, noise.unit))),
            _percent(noise.noise, "-"),
            _percent(noise.screen, "-"),
            _percent(noise.confirm, "-"),
            _percent(noise.tolerance, "off"),
        )
    return table


def _percent(share: float | None, nothing: str) -> str:
    if share is None:
        return nothing
    percent = 100 * share
    return f"{percent:,.0f} %" if percent >= 9.95 else f"{percent:.1f} %"

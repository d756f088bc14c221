"""`python -m tests.gate.calibration PART`: measure one part and write its figures below docs/calibration.

`histories` replays recorded CI histories, `machine [MINUTES [KIND...]]` tries the confirmation on this
machine and goes on where the last call stopped, `page` writes docs/calibration.md from what it left.
"""

import sys
from pathlib import Path

from tests.gate.calibration import histories, machine, summary

DIRECTORY = Path("docs/calibration")


def main(arguments: list[str]) -> int:
    """Run the part that was named."""
    match arguments:
        case ["histories"]:
            histories.main(DIRECTORY)
        case ["machine"]:
            machine.main(DIRECTORY, 60)
        case ["machine", minutes, *kinds]:
            machine.main(DIRECTORY, float(minutes), kinds)
        case ["page"]:
            summary.main(DIRECTORY)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m tests.gate.calibration PART [DIR]`: measure one part, write its figures below DIR."""

import sys
from pathlib import Path

from tests.gate.calibration import histories

PARTS = {"histories": histories.main}


def main() -> int:
    """Run the part that was named."""
    if len(sys.argv) not in {2, 3} or sys.argv[1] not in PARTS:
        print(f"usage: python -m tests.gate.calibration {{{','.join(PARTS)}}} [DIR]", file=sys.stderr)
        return 2
    PARTS[sys.argv[1]](Path(sys.argv[2] if len(sys.argv) == 3 else "docs/calibration"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

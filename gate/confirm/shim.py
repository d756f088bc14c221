"""Starts one side of a comparison: without address randomisation, gone with its parent; then the command.

Run as `python shim.py PARENT COMMAND`; everything it sets survives the exec. What the system
does not allow is left out: the comparison is then noisier, not wrong.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Final

_ADDR_NO_RANDOMIZE: Final = 0x0040000
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Prepare this process and become the command."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None, use_errno=True)
            libc.personality(_ADDR_NO_RANDOMIZE)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != int(sys.argv[1]):  # it was gone before
                os._exit(1)
    os.execv("/bin/sh", ["sh", "-c", sys.argv[2]])


if __name__ == "__main__":
    main()

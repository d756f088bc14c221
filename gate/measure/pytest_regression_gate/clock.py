"""The machine's clocks as they are when pytest starts: a test that freezes time does not stop them."""

import time


class Clock:
    """Clocks for durations.

    freezegun puts its own functions in the place of these in every module that holds them. It does not
    look into classes.
    """

    perf_counter = staticmethod(time.perf_counter)
    perf_counter_ns = staticmethod(time.perf_counter_ns)
    process_time = staticmethod(time.process_time)

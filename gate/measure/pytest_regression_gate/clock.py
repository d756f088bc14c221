"""The machine's clocks and threads as they are when pytest starts, whatever a test puts in their place."""

import _thread
import time


class Clock:
    """Clocks for durations.

    freezegun puts its own functions in the place of these in every module that holds them. It does not
    look into classes.
    """

    perf_counter = staticmethod(time.perf_counter)
    perf_counter_ns = staticmethod(time.perf_counter_ns)
    process_time = staticmethod(time.process_time)


class Threads:
    """Threads of the machine. gevent's run only while the block waits for something."""

    start = staticmethod(_thread.start_new_thread)
    lock = staticmethod(_thread.allocate_lock)

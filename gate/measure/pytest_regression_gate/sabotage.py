"""What `gate selftest` adds in its throw-away copy: real changes for the worse.

To the end of a test file, so that it holds before the first test runs; or to a function of the project.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

from pytest_regression_gate.clock import Clock
from pytest_regression_gate.load import drive
from pytest_regression_gate.metrics import join_name, split_name
from pytest_regression_gate.recorder import Measure

MESSAGE: Final = "gate selftest made this test fail"


def slower(subject: str, milliseconds: float) -> None:
    """Every call of a measured operation takes so much longer, in CPU time too."""
    call, load = Measure.__call__, Measure.load

    def slow_call(self: Measure, name: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return call(self, name, _delayed(func, milliseconds) if _is(name, subject) else func, *args, **kwargs)

    async def slow_load(self: Measure, name: str, request: Callable[..., Any], **options: Any) -> Any:
        # Users wait for each other on one core: what each request costs more, each one waits for.
        share = milliseconds / options["users"]
        return await load(self, name, _delayed(request, share) if _is(name, subject) else request, **options)

    setattr(Measure, "__call__", slow_call)  # noqa: B010 - a type checker refuses the assignment
    setattr(Measure, "load", slow_load)  # noqa: B010


def forget(*subjects: str) -> None:
    """Nothing is recorded any more under these names; the operation itself still works."""
    call, load, add = Measure.__call__, Measure.load, Measure._add  # pyright: ignore[reportPrivateUsage]

    def plain_call(self: Measure, name: str, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs) if _is(name, *subjects) else call(self, name, func, *args, **kwargs)

    async def plain_load(self: Measure, name: str, request: Callable[..., Any], **options: Any) -> Any:
        if not _is(name, *subjects):
            return await load(self, name, request, **options)
        return await drive(request, options["users"], options["requests"], options.get("repeat", 1))

    def add_others(self: Measure, name: str, labels: dict[str, Any], **values: Any) -> None:
        base, own = split_name(name)
        if not _is(join_name(base, own | {key: str(value) for key, value in labels.items()}), *subjects):
            add(self, name, labels, **values)

    setattr(Measure, "__call__", plain_call)  # noqa: B010
    setattr(Measure, "load", plain_load)  # noqa: B010
    setattr(Measure, "_add", add_others)  # noqa: B010


def fail(module: dict[str, Any], path: str) -> None:
    """One test raises.

    Args:
        module: the globals of the test file.
        path: `test_name` or `TestClass::test_name`, without parameters.
    """
    *classes, name = path.split("::")
    owner: Any = None
    for part in classes:
        owner = getattr(owner, part) if owner is not None else module[part]
    test = getattr(owner, name) if owner is not None else module[name]

    @functools.wraps(test)
    def failing(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError(MESSAGE)

    if owner is not None:
        setattr(owner, name, failing)
    else:
        module[name] = failing


def refuse() -> NoReturn:
    """Raise, in place of what a function of the project does."""
    raise AssertionError(MESSAGE)


def _is(name: str, *subjects: str) -> bool:
    return join_name(*split_name(name)) in subjects


def _delayed(func: Callable[..., Any], milliseconds: float) -> Callable[..., Any]:
    """The same function, sync or async, that computes for so much longer."""

    def slow(*args: Any, **kwargs: Any) -> Any:
        result = func(*args, **kwargs)
        if inspect.isawaitable(result):
            return _delayed_await(result, milliseconds)
        spin(milliseconds)
        return result

    return slow


async def _delayed_await(awaitable: Awaitable[Any], milliseconds: float) -> Any:
    result = await awaitable
    spin(milliseconds)
    return result


def spin(milliseconds: float) -> None:
    """Compute for so much longer."""
    end = Clock.perf_counter_ns() + milliseconds * 1e6
    while Clock.perf_counter_ns() < end:
        pass

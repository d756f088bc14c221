"""The services of one side while its tests run."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gate.services.serving import Place, ServiceError, Serving, serving
from gate.sides.side import LaunchError, Side


@contextmanager
def services_of(side: Side, seed: int, notes: Path | None = None) -> Generator[Serving]:
    """Run what a side's tests need, from its own tree.

    Args:
        side: whose.
        seed: of hashes and layout, as for its tests.
        notes: the file in which its processes note what they reach; None: they do not.

    Raises:
        LaunchError: a service does not get ready.
    """
    place = Place(side.root, side.name, side.environment(seed, notes), side.moved)
    with ExitStack() as stack:
        try:
            services = stack.enter_context(serving(side.services, place))
        except ServiceError as error:
            raise LaunchError(side.name, f"the {side.name} side {error}") from None
        yield services

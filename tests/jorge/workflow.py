"""The workflow of a bot as a LangGraph: steps one after the other, then one of several endings."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from langgraph.graph import END, START, StateGraph

from tests.jorge.state import Conversation, Update

S = TypeVar("S", bound=Conversation)
Node: TypeAlias = Callable[[S], Awaitable[Update]]


def _updated(state: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, **update}


def _in_the_loop(route: Callable[[S], str]) -> Callable[[S], Awaitable[str]]:
    """LangGraph hands a plain function to a thread; event loop and thread then wait for each other."""

    async def awaited(state: S) -> str:
        return route(state)

    return awaited


_ONE_CHANNEL: Any = Annotated[dict[str, Any], _updated]
"""The whole state. With a channel per field LangGraph copies two dozen of them before every branch."""


class Workflow(Generic[S]):
    """A compiled graph. A node leaves its input alone and returns the fields that it changes.

    Args:
        steps: run in this order.
        route: after the last step, the name of the ending that comes next, or `END`.
        endings: one of them, or none, is run.
    """

    def __init__(self, steps: Sequence[Node[S]], route: Callable[[S], str], endings: Sequence[Node[S]]):
        graph = StateGraph(_ONE_CHANNEL)
        for node in (*steps, *endings):
            graph.add_node(node, input_schema=_ONE_CHANNEL)
        names = [START, *(step.__name__ for step in steps)]
        for before, after in pairwise(names):
            graph.add_edge(before, after)
        graph.add_conditional_edges(names[-1], _in_the_loop(route))
        for ending in endings:
            graph.add_edge(ending.__name__, END)
        self._graph = graph.compile()

    async def run(self, state: S) -> S:
        """Send a state through it."""
        return (await self._graph.ainvoke(state, version="v2")).value

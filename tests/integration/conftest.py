"""Fixtures of this suite."""

from tests.jorge.fixtures import bots, simulation

__all__ = ["bots", "simulation"]

"""Fixtures of this suite."""

from tests.jorge.fixtures import bots, client, delayed, simulation

__all__ = ["bots", "client", "delayed", "simulation"]

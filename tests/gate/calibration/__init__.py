"""Measures how good the gate is: `python -m tests.gate.calibration PART`."""

"""What the gate says to GitHub and asks of it: comment, check run, waivers.

The verdict never depends on whether GitHub answers.
"""

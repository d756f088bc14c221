"""The service this repository gates: three real-estate chat bots behind one API.

Lead, seller and buyer bot are LangGraph workflows over three external services (Claude, GHL, MLS).
Only the transports of those services are simulated, so every measurement runs the bots' own code.
"""

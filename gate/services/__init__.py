"""Services that suites need beside them: each side of a comparison, and each run, has its own."""

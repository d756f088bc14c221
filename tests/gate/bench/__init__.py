"""What the gate costs: when it has been on for a year (`make bench`), and suites of others (`packages`)."""

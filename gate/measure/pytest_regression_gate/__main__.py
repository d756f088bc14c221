"""`python -m pytest_regression_gate` is `gate`, wherever the installation has put it."""

from pytest_regression_gate.launcher import main

if __name__ == "__main__":
    main()

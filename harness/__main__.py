"""`python -m harness` is the command `turngap`."""

from harness.cli import main

if __name__ == "__main__":
    main()

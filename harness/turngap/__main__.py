"""`python -m turngap` is the command `turngap`."""

from turngap.cli import main

if __name__ == "__main__":
    main()

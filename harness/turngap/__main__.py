"""`python -m turngap` is the command `turngap`."""

from turngap.cli.app import main

if __name__ == "__main__":
    main()

"""`python -m monitor` is `driftwarden`."""

from monitor.cli import main

if __name__ == "__main__":
    main()

"""The commands by room; a command imports what it needs when it runs, so that `--help` is instant."""

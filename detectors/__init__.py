"""Pure numerics, arrays in and frozen results out: never reads a file, a clock, a global generator or a logger."""

"""The tests: a file for each module, the traps, the programs."""

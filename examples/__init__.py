"""Small programs, one idea each. Every file stands by itself and can be run."""

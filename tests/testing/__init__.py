"""Tests of `reactor.testing`."""

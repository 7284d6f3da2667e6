"""Readers of raw benchmark files; one file a source."""

"""Supernet search: one loop for every weight-sharing method and space."""

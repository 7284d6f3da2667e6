"""The tables and figures of the papers; one file a paper."""

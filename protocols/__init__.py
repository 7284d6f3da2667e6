"""Method-neutral runs; one file a protocol."""

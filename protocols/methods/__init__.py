"""Search methods; one file a method."""

"""Image data as arrays: one file a data set."""

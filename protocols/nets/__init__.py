"""Networks in torch: one library of operations, one file a search space."""

"""How a trained supernet becomes one architecture: one file a rule."""

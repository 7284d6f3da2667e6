"""Tables and figures in the papers' layouts, measured beside published."""

"""Where data comes from: one small protocol, one file a warehouse."""

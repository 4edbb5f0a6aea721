"""How models of each framework are trained on, saved and loaded: one small protocol, one file a framework."""

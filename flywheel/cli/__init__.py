"""The `flywheel` command, one file a subcommand."""

"""Run the command line as `python -m flywheel`."""

from flywheel.cli.main import main

main()

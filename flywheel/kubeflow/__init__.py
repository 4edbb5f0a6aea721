"""What a cluster is asked for: compiling, submitting, schedules."""

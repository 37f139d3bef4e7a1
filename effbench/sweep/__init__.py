"""Many runs: the command, the order of work, what is logged, what is shown."""

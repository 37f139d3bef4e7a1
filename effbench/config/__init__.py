"""From the command line to a plan: with the doors, the only place that knows Hydra."""

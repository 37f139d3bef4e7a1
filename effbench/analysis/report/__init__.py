"""The report's page: one HTML file with its own figure, which needs neither a server nor JavaScript."""

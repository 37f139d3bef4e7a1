"""What will run: stages, steps, chains, recipes, points and their keys."""

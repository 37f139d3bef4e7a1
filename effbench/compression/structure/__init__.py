"""What changes the layers of a network: which there are, how wide they are, how they run."""

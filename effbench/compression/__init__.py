"""What is done to a network, without any data: constraints on its tensors, edits of its structure."""

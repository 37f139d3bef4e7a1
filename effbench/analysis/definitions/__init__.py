"""What a saturation point is: one class a definition (`methods.METHODS` names them), and why it chose, in words."""

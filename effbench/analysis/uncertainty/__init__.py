"""How sure an answer is: other examples, other seeds, and whom a loss falls on."""

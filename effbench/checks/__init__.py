"""What every room may use: fields of dataclasses checked by their types, an exception in one line."""

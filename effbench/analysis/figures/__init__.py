"""What is drawn with matplotlib."""

"""What to keep of a long sequence."""

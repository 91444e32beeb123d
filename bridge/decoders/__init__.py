"""Processes that decode images, so that an image can crash none but its own."""

"""Processes that decode images, so that an image can crash only its own decoder."""

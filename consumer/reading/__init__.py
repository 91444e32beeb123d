"""Reads predictions and prints what was found in each image, one line for each."""

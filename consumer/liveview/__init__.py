"""The live view: a local page that shows images and their outcomes as they come."""

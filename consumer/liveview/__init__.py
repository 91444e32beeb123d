"""The live view: a local page that shows images and their answers as they come."""

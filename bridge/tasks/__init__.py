"""Tasks: each turns the output tensors of a batch into one answer for each image. Pure."""

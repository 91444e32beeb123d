"""What a model's outputs mean: each task turns a batch's tensors into answers. Pure."""

"""Makes a model repository that Triton serves from a PyTorch network."""

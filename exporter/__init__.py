"""From a PyTorch ResNet to a model repository that Triton serves."""

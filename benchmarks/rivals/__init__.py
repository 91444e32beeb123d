"""What others would use in place of the bridge, each as its own documentation does it best."""

"""Reading predictions: what each image was found to be, a line each."""

"""Code that the commands of several packages share."""

"""What the commands of several packages share."""

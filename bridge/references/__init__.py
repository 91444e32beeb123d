"""Images that a message only refers to: which images those are, and how they are fetched."""

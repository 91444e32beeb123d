"""Images that a message only refers to: finding out which, and fetching them."""

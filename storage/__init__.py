"""Object storage: which objects may be fetched, and fetching them."""

"""Object storage: which objects may be fetched, and how they are fetched."""

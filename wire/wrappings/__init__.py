"""Images that arrive inside something else: JSON, base64, a structured CloudEvent."""

"""What an event says: uploads, removals, and the messages that name them. Pure Python, no AWS."""

"""Which source is edited to which target, and the true edits of these requests."""

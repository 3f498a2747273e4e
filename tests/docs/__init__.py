"""Whether the documentation says what the application does."""

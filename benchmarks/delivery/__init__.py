"""The webhook engine beside a bare sender: how fast, how soon, how idle, how fair, and how it bears its own past."""

"""Names of people and countries, as they are compared."""

import unicodedata


def fold_name(name: str) -> str:
    """The name without case and accents: `zoe` for Zoë, whether the accent is a character of its own or not."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()

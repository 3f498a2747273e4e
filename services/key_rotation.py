"""Exchanging ENCRYPTION_KEY: everything that is sealed is sealed anew under its first key."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from core.crypto import CannotDecrypt, Sealer
from repositories.keyring import HASH_KEY_PURPOSE
from repositories.sealed_values import Place, SealedValue, SealedValueRepository
from services.vault import card_purpose
from services.webhook_secrets import AccountSecrets, EndpointSecrets


def _of_card(value: SealedValue) -> str:
    return card_purpose(value.owner_id, value.token_id)


_PURPOSES: Mapping[Place, Callable[[SealedValue], str]] = {
    Place.KEYRING: lambda _: HASH_KEY_PURPOSE,
    Place.USERS: lambda value: AccountSecrets.purpose(value.id),
    Place.CARD_TOKENS: _of_card,
    Place.CARDS: _of_card,
    Place.PAYMENTS: _of_card,
    Place.WEBHOOK_ENDPOINTS: lambda value: EndpointSecrets.purpose(value.id),
}
assert _PURPOSES.keys() == set(Place)


@dataclass(frozen=True, slots=True)
class Progress:
    """What one batch came to."""

    place: Place
    documents: int
    """How many were looked at."""
    renewed: int
    """How many sealed values were sealed anew; all others are under the newest key already."""
    unreadable: int
    """How many no key of ENCRYPTION_KEY opens. They stay as they are."""


class KeyRotation:
    """May be stopped anywhere and run again, by several at once, and beside processes that serve.

    Nothing escapes it that was sealed before: cards are copied from a token or a saved card to a payment, never back,
    so the originals come first, and whoever copies one renews it (`CardVault.renewed`). Every process must have begun
    with the new key in its list, since one that does not know it goes on to seal under the old one.
    """

    def __init__(self, sealed_values: SealedValueRepository, sealer: Sealer):
        self._sealed_values = sealed_values
        self._sealer = sealer

    async def total(self) -> int:
        """About how many documents `rotate` will look at."""
        return sum([await self._sealed_values.count_documents(place) for place in Place])

    async def rotate(self) -> AsyncIterator[Progress]:
        """Seal anew what is under an older key, batch by batch."""
        for place in Place:
            async for documents, values in self._sealed_values.batches(place):
                changes: list[tuple[SealedValue, bytes]] = []
                unreadable = 0
                for value in values:
                    try:
                        renewed = self._sealer.renewed(value.sealed, _PURPOSES[place](value))
                    except CannotDecrypt:
                        unreadable += 1
                        continue
                    if renewed != value.sealed:
                        changes.append((value, renewed))
                yield Progress(place, documents, await self._sealed_values.replace(place, changes), unreadable)

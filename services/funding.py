"""Where a payment's money comes from: a card that was typed, a token, a saved card, and whose it is."""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import NotFound
from domain.cards import StoredCard
from schemas.payments import ChargeFields
from services.caller import Caller
from services.cards import Cards
from services.challenges import Challenges
from services.customers import Customers
from services.vault import CardVault

_PAYING = "payments"
"""What every charge claims a token for, so that it can no longer be saved as a card."""


@dataclass(frozen=True, slots=True)
class Source:
    """The card that pays (None: the payment simply succeeds), and the customer it belongs to."""

    card: StoredCard | None = None
    customer_id: str | None = None
    customer_name: str = ""
    challenge_url: str | None = None
    """Where 3-D Secure asks the cardholder, where the card's issuer wants that."""


class Funding:
    def __init__(self, vault: CardVault, cards: Cards, customers: Customers, challenges: Challenges):
        self._vault = vault
        self._cards = cards
        self._customers = customers
        self._challenges = challenges

    async def source(
        self,
        caller: Caller,
        request: ChargeFields,
        customer_id: str | None,
        payment_id: str,
        base_url: Callable[[], str],
    ) -> Source:
        """What this charge is paid with. Which charge uses a token up, the insert of the payment decides.

        Raises NotFound, CardTokenUsed, CardTokenExpired.
        """
        card, customer_name = None, ""
        if request.card_id is not None:
            saved = await self._cards.get(caller, request.card_id)
            if customer_id not in (None, saved.customer_id):
                raise NotFound(f"Card '{request.card_id}' not found.")
            customer_id, card = saved.customer_id, self._vault.renewed(caller.account_id, saved.card)
        if customer_id is not None:
            customer_name = (await self._customers.get(caller, customer_id)).name
        if request.card is not None:
            card = self._vault.seal(caller.account_id, request.card.details(), payment_id)
        elif request.card_token is not None:
            # Last, so that nearly every refusal leaves the token as it was.
            card = await self._cards.claim(caller, request.card_token, _PAYING)
        asks = card is not None and card.challenges
        return Source(card, customer_id, customer_name, self._challenges.url(base_url(), payment_id) if asks else None)

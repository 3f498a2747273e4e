"""Customers, as clients send and see them."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict

from core.clock import rfc3339
from domain import countries
from domain.customers import Customer
from schemas.common import NOT_BLANK, Metadata, Moment, RequestModel, ResponseModel, example
from schemas.users import Email

CustomerName = Annotated[str, Field(min_length=1, max_length=200, pattern=NOT_BLANK, examples=["Grace Hopper"])]
Phone = Annotated[
    str,
    Field(
        min_length=1,
        max_length=50,
        examples=["020 7946 0018"],
        json_schema_extra={"format": "phone"},
        description="A possible number: with + and its country's code, or as it is dialled within `country`",
    ),
]
Country = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        examples=["GB"],
        json_schema_extra={"format": "country"},
        description="ISO 3166-1 alpha-2 or alpha-3 code, or English name; stored as alpha-2",
    ),
    AfterValidator(countries.alpha2),
]
Description = Annotated[str, Field(max_length=1000, examples=["Prefers invoices by post"])]
_EXAMPLE: JsonDict = {
    "name": "Grace Hopper",
    "email": "grace@example.com",
    "phone": "020 7946 0018",
    "country": "United Kingdom",
    "description": "Prefers invoices by post",
    "metadata": {"crmId": "C-17"},
}


class CustomerRequest(RequestModel):
    """A whole customer, to make one or to replace one."""

    model_config = ConfigDict(json_schema_extra=example(_EXAMPLE))

    name: CustomerName
    email: Email | None = None
    phone: Phone | None = None
    country: Country | None = None
    description: Description | None = None
    metadata: Metadata | None = None

    def fingerprint_source(self) -> dict[str, Any]:
        """What was asked for, in one form for each meaning: `germany` is `DE`, and null is absent."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class CustomerPatch(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"phone": "+44 20 7946 0999", "description": None}))

    # A name cannot be cleared, so null is no value of it; the default is never read (see changes).
    name: CustomerName = Field(default_factory=str)
    email: Email | None = None
    phone: Phone | None = None
    country: Country | None = None
    description: Description | None = None
    metadata: Metadata | None = None

    def changes(self) -> dict[str, Any]:
        """Only what was sent: null clears a field, an absent one stays."""
        return self.model_dump(exclude_unset=True)


class CustomerQuery(RequestModel):
    name: str | None = Field(
        None, min_length=1, max_length=200, description="How the name begins, whatever its case and accents"
    )
    email: str | None = Field(None, min_length=1, max_length=254, description="The whole address, in any case")
    phone: str | None = Field(
        None, min_length=1, max_length=50, description="The whole number with its country's code, however it is typed"
    )
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class CustomerOut(ResponseModel):
    id: str = Field(examples=["cus_06gztrpz170we29n8r9na1k3t0"])
    owner_id: str
    name: str
    email: str | None
    phone: str | None = Field(description="In E.164", examples=["+442079460018"])
    phone_as_typed: str | None = Field(examples=["020 7946 0018"])
    country: str | None = Field(description="ISO 3166-1 alpha-2", examples=["GB"])
    description: str | None
    metadata: dict[str, str]
    created_at: Moment
    updated_at: Moment


class CustomerPage(ResponseModel):
    customers: list[CustomerOut]
    total_customers: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(description="True where there are more than 1,000")
    has_more: bool
    next_cursor: str | None


def customer_view(customer: Customer) -> dict[str, Any]:
    """A customer as the API shows them: the fields of CustomerOut, ready for JSON."""
    return {
        "id": customer.id,
        "ownerId": customer.owner_id,
        "name": customer.name,
        "email": customer.email,
        "phone": customer.phone,
        "phoneAsTyped": customer.phone_as_typed,
        "country": customer.country,
        "description": customer.description,
        "metadata": dict(customer.metadata or {}),
        "createdAt": rfc3339(customer.created_at),
        "updatedAt": rfc3339(customer.updated_at),
    }

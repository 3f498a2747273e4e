"""The floor: what one insert a request costs in this stack, and nothing else.

A plain FastAPI route parses the body that a charge has and makes one Motor insert of it: no authentication, no
idempotency, no event, no further index. Whoever writes a payment API the plain way cannot be faster than this.
"""

import os
from typing import Any

from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo.write_concern import WriteConcern

from schemas.payments import ChargeRequest

app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

_client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(os.environ["MONGODB_URI"])
_payments: AsyncIOMotorCollection[dict[str, Any]] = _client[os.environ["MONGODB_DB"]].get_collection(
    "payments", write_concern=WriteConcern(w="majority")
)


@app.post("/api/v1/payments/charge", status_code=201)
async def charge(body: ChargeRequest) -> dict[str, str]:
    # The amount as an integer: BSON cannot hold Python's Decimal.
    document = body.model_dump(exclude={"payment_amount"}, exclude_none=True)
    inserted = await _payments.insert_one({**document, "amount_minor": body.amount_minor, "status": "pending"})
    return {"id": str(inserted.inserted_id), "status": "pending"}

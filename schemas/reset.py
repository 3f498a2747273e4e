"""Emptying a server's database."""

from pydantic import ConfigDict, Field

from schemas.common import RequestModel, ResponseModel, example


class ResetRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"database": "mock_psp"}))

    database: str = Field(max_length=64, description="The name of the server's database (MONGODB_DB)")


class ResetOut(ResponseModel):
    message: str = Field("The database is empty but for its system_admins and the audit log.")
    deleted: int = Field(description="Documents", examples=[314])

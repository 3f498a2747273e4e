"""Answers that are bytes already."""

from fastapi import Response

from services.idempotency import Answer


def answered(answer: Answer) -> Response:
    """The first answer to a request, or its repetition, which says that it is one."""
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, headers, "application/json")


def json_answer(body: bytes) -> Response:
    return Response(body, media_type="application/json")

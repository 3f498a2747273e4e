"""Answers that services hand over as bytes."""

from fastapi import Response

from services.idempotency import Answer


def answer_response(answer: Answer) -> Response:
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, headers, "application/json")


def json_response(body: bytes) -> Response:
    return Response(body, media_type="application/json")

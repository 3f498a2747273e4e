"""The errors that services raise. Each class owns its status and its code; one handler renders them all."""

from typing import Any, ClassVar


class PspError(Exception):
    """An answer to the client that is not a success. `str(error)` is the sentence the client reads."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, message: str | None = None, *, headers: dict[str, str] | None = None):
        super().__init__(message or self.message)
        self.headers = headers or {}


class BadRequest(PspError):
    status = 400
    code = "bad_request"
    message = "The request cannot be carried out."


class EmailTaken(BadRequest):
    code = "email_taken"
    message = "User with this email already exists."


class HttpMalformed(BadRequest):
    code = "http_malformed"
    message = "Invalid HTTP request received."


class HostUnknown(BadRequest):
    code = "host_unknown"
    message = "This service is not known by the name in the Host header."


class OriginRefused(BadRequest):
    code = "origin_refused"
    message = "Pages of this origin may not send this request."


class Unauthorized(PspError):
    status = 401
    code = "unauthorized"
    message = "Invalid or expired token."

    def __init__(self, message: str | None = None, *, headers: dict[str, str] | None = None):
        # RFC 9110, section 11.6.1: a 401 names a scheme that would be accepted.
        super().__init__(message, headers={"WWW-Authenticate": "Bearer", **(headers or {})})


class MetricsTokenInvalid(Unauthorized):
    code = "invalid_metrics_token"
    message = "Invalid or missing metrics token."


class TokenMissing(Unauthorized):
    code = "authorization_missing"
    message = "Authorization header missing."


class TokenMalformed(Unauthorized):
    code = "authorization_malformed"
    message = "Invalid authorization header format."


class TokenInvalid(Unauthorized):
    code = "invalid_token"
    message = "Invalid or expired token."


class ApiKeyInvalid(Unauthorized):
    code = "invalid_api_key"
    message = "Invalid or missing X-API-Key. Access denied."


class PaymentKeyInvalid(Unauthorized):
    code = "invalid_payment_key"
    message = "Invalid X-Payment-Key. Access denied."


class PaymentKeyExpired(Unauthorized):
    code = "payment_key_expired"
    message = "The payment key has expired or was revoked."


class LoginFailed(Unauthorized):
    code = "invalid_credentials"
    message = "Invalid email or password."


class SignatureInvalid(Unauthorized):
    code = "invalid_signature"
    message = "Invalid webhook signature"


class Forbidden(PspError):
    status = 403
    code = "forbidden"
    message = "Access denied."


class WrongPassword(Forbidden):
    code = "wrong_password"
    message = "The current password is wrong."


class NotFound(PspError):
    status = 404
    code = "not_found"
    message = "Not Found"


class MethodNotAllowed(PspError):
    status = 405
    code = "method_not_allowed"
    message = "Method Not Allowed"


class InvalidState(PspError):
    status = 409
    code = "invalid_state"
    message = "The object is not in a state that allows this."


class WrongDatabase(PspError):
    status = 409
    code = "wrong_database"
    message = "This server's database has another name. Nothing was deleted."


class AmountExceeded(PspError):
    status = 409
    code = "amount_exceeded"
    message = "The amount is more than there is."


class PaymentKeyUsedUp(PspError):
    status = 409
    code = "payment_key_used_up"
    message = "The payment key has been used as often as it may be."


class CardTokenUsed(PspError):
    status = 409
    code = "card_token_used"
    message = "The card token was already used."


class CardTokenExpired(PspError):
    status = 409
    code = "card_token_expired"
    message = "The card token has expired. Make a new one."


class TooManyAttempts(PspError):
    status = 429
    code = "too_many_attempts"
    message = "Too many failed attempts. Wait as long as Retry-After says."


class TooManyEndpoints(PspError):
    status = 409
    code = "too_many_endpoints"
    message = "An account has at most 50 webhook endpoints. Delete one first."


class TooManyApiKeys(PspError):
    status = 409
    code = "too_many_api_keys"
    message = "An account has at most 20 API keys. Revoke one first."


class TooManyResendJobs(PspError):
    status = 409
    code = "too_many_resend_jobs"
    message = "An account has at most 5 resend jobs under way. Cancel one, or wait until one is completed."


class LastSystemAdmin(PspError):
    status = 409
    code = "last_system_admin"
    message = "The last system_admin cannot be removed."


class Contention(PspError):
    status = 409
    code = "contention"
    message = "The object is being changed by too many requests at once. Try again."


class BodyTooLarge(PspError):
    status = 413
    code = "body_too_large"
    message = "The request body is larger than 64 KiB."


class UrlTooLong(PspError):
    status = 414
    code = "url_too_long"
    message = "The URL is longer than 16 KiB."


class UnsupportedMediaType(PspError):
    status = 415
    code = "unsupported_media_type"
    message = "Unsupported media type. Send the body as application/json."


class InvalidRequest(PspError):
    """One or more fields are wrong. `detail` is FastAPI's list in place of a sentence."""

    status = 422
    code = "validation_error"
    message = "The request is not valid."

    def __init__(self, problems: list[dict[str, Any]]):
        super().__init__()
        self.problems = problems


class IdempotencyKeyReused(PspError):
    status = 422
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was already used with a different request."


class RateLimited(PspError):
    status = 429
    code = "rate_limited"
    message = "Too many requests. Wait as long as Retry-After says."


class HeadersTooLarge(PspError):
    status = 431
    code = "headers_too_large"
    message = "The request has more than 100 headers, or more than 128 KiB of them."


class Unavailable(PspError):
    status = 503
    code = "unavailable"
    message = "The service is busy. Try again in a moment."
    retry_after_s: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, headers: dict[str, str] | None = None):
        super().__init__(message, headers={"Retry-After": str(self.retry_after_s), **(headers or {})})


class NotReady(Unavailable):
    code = "not_ready"
    message = "The service is not ready."


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    message = "The database does not answer. Nothing was changed; try again in a moment."


class OutcomeUnknown(Unavailable):
    code = "outcome_unknown"
    message = (
        "The database stopped answering while the request was under way; whether it was carried out is unknown. "
        "Repeat it with the same Idempotency-Key."
    )


class SecretUnreadable(Unavailable):
    code = "secret_unreadable"
    message = (
        "The webhook secret cannot be opened with any key that the service has. "
        "Exchange it with an overlap of 0 days, or try again when the key is back."
    )
    retry_after_s = 60  # somebody has to bring the key back


class ConfigurationError(Exception):
    """The process cannot start. The message is one sentence that says what is wrong and what to do."""


class DatabaseDown(ConfigurationError):
    """MongoDB cannot be reached or started; the settings may well be right."""

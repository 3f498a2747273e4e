"""Phone numbers in one form (ITU-T E.164), however they were typed."""

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult


class PhoneInvalid(ValueError):
    """Not a possible phone number; the message says why."""


def e164(text: str, country: str | None) -> str:
    """`+442079460018` for `020 7946 0018` in `GB`. Without a country the number begins with + and its country's code.

    Possible means that a number may have this length there, not that anybody has it: number plans change, and a
    customer with a number that was given out last week is not to be refused. An extension is left out, and a number
    without its area code is refused, because neither can stand in E.164. Raises PhoneInvalid.
    """
    try:
        number = phonenumbers.parse(text, country)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise PhoneInvalid(
                "a phone number begins with + and a country's code, unless the country is given"
            ) from None
        raise PhoneInvalid("not a phone number") from None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise PhoneInvalid("not a possible phone number: it is too short or too long for its country")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)

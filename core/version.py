"""Which version this is; `CHANGELOG.md` says what it brings."""

VERSION = "1.0.0"

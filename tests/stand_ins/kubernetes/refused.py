"""What an API server answers instead."""


class Refused(Exception):
    def __init__(self, status, message, causes=(), reason=""):
        super().__init__(message)
        self.status, self.message, self.causes = status, message, list(causes)
        self.reason = reason or _REASONS.get(status, "Invalid")


_REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    415: "UnsupportedMediaType",
    503: "ServiceUnavailable",
}

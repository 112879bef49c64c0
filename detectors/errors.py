"""What detectors raise."""


class DetectorError(Exception):
    """Base of every error of this room."""


class DetectorInputError(DetectorError, ValueError):
    """An array cannot be judged; the message names the offending value."""

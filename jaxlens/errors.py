"""Errors that say which argument was wrong, its value, what is legal and what to do."""


class UnknownLayerError(LookupError):
    """A layer name that the model does not have."""


class UnknownLabelError(LookupError, ValueError):
    """A label that no output of the model has, or that several have."""


class AssumedWarning(UserWarning):
    """Something that changes numbers was not said and had to be assumed: preprocessing, or the size of the images."""


class ImageTooSmallError(ValueError):
    """An image that some layer on the way reduces to nothing."""


class WeightsError(ValueError):
    """A weights file that is damaged, of the wrong kind, or not the one it claims to be."""


class DownloadError(WeightsError):
    """A file that could not be had, was cut short, or is not the published one."""


class ImageFileError(OSError, ValueError):
    """An image file that is damaged, too large, of another format, or of numbers whose range is unknown."""


class DatasetError(ValueError):
    """A folder of images that is empty or not laid out as one folder per class."""


class ConversionError(WeightsError):
    """A state dict whose tensors do not match the network's, one by one."""


class NonFiniteError(FloatingPointError):
    """Every task of a render became NaN or infinite; `result` holds the last good images."""

    def __init__(self, message: str, result: object):
        super().__init__(message)
        self.result = result


class NonFiniteWarning(RuntimeWarning):
    """Some tasks of a render, or the attributions of some images, became NaN or infinite; the others went on. Or weights
    that were loaded are, or what a PyTorch network that was imported returned for the inputs it was tried with."""


class IncompleteWarning(RuntimeWarning):
    """The attributions of some images do not add up to the difference in score that they are to explain."""


class GradientRuleError(ValueError):
    """A function that a gradient rule cannot honour: it has no ReLU, or something the rule does not know.

    `unknown` names the primitives it does not know; it is empty where no ReLU was found.
    """

    def __init__(self, message: str, unknown: tuple[str, ...] = ()):
        super().__init__(message)
        self.unknown = unknown


class UnsupportedError(ValueError):
    """A network with a function in it that a method has no rule for."""


class UnsupportedOperatorError(NotImplementedError):
    """A use of an operator that has no equivalent here: an option, a shape, a data-dependent size."""

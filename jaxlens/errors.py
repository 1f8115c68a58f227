"""Errors and warnings: they name the argument, its value, what is legal and what to do."""


class UnknownLayerError(LookupError):
    """The model has no layer of this name."""


class UnknownLabelError(LookupError, ValueError):
    """No output of the model has this label, or several have it."""


class AssumedWarning(UserWarning):
    """Preprocessing or the size of the images was not given and had to be assumed."""


class ImageTooSmallError(ValueError):
    """A layer reduces images of this size to nothing."""


class WeightsError(ValueError):
    """A weights file is damaged, of the wrong kind, or not the one it claims to be."""


class DownloadError(WeightsError):
    """A file could not be downloaded, was cut short, or is not the published one."""


class ImageFileError(OSError, ValueError):
    """An image file is damaged, too large, of another format, or of an unknown value range."""


class DatasetError(ValueError):
    """A folder of images is empty, or not laid out as one folder per class."""


class ConversionError(WeightsError):
    """The tensors of a state dict do not match those of the network; the message lists them."""


class NonFiniteError(FloatingPointError):
    """Every task of a render became NaN or infinite.

    Attributes:
        result: the last good images.
    """

    def __init__(self, message: str, result: object):
        super().__init__(message)
        self.result = result


class NonFiniteWarning(RuntimeWarning):
    """Some numbers are NaN or infinite, and so is what depends on them.

    They are of some tasks of a render or the attributions of some images (the others went on), of
    loaded weights, or of the outputs of an imported PyTorch network for the inputs it was tried
    with.
    """


class IncompleteWarning(RuntimeWarning):
    """The attributions of some images do not add up to the difference in score they explain."""


class GradientRuleError(ValueError):
    """A gradient rule cannot be applied: it finds no ReLU, or something it does not know.

    Attributes:
        unknown: the names of the primitives that the rule does not know; empty if the error is that
            no ReLU was found.
    """

    def __init__(self, message: str, unknown: tuple[str, ...] = ()):
        super().__init__(message)
        self.unknown = unknown


class UnsupportedError(ValueError):
    """A network contains a function for which a method has no rule."""


class UnsupportedOperatorError(NotImplementedError):
    """An operator is used with an option, shape or data-dependent size that has no equivalent."""

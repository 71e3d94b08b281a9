"""The harmless classes that training programs pickle beside the weights.

A file may hold PyTorch's version as an object of its own class, scores as NumPy's numbers, or the whole configuration
of its run as OmegaConf objects. The weights need none of them, so no such object is ever made: each of these names, and
no other, gives something in its place.
"""

from __future__ import annotations


class StandIn:
    """Takes the place of an object that is not made."""


NUMBERS = ("float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_DTYPES = (
    "Bool Byte Bytes CLongDouble Complex128 Complex64 DateTime64 Float16 Float32 Float64 Int Int16 Int32 Int64 Int8 "
    "Long LongDouble LongLong Object Short Str String TimeDelta64 UByte UInt UInt16 UInt32 UInt64 UInt8 ULong "
    "ULongLong UShort Void"
)
NUMPY = {
    "numpy": (
        *("bool", "bool_", "bytes_", "clongdouble", "complex64", "complex128", "datetime64", "dtype", "longdouble"),
        *("ndarray", "object_", "record", "recarray", "str_", "timedelta64", "void"),
        *NUMBERS,
    ),
    "numpy.dtypes": tuple(f"{name}DType" for name in _DTYPES.split()),
    **dict.fromkeys(("numpy.ma", "numpy.ma.core"), ("MaskedArray", "_mareconstruct")),
    # What makes its arrays and numbers; NumPy 1 and 2 name the modules differently.
    **dict.fromkeys(("numpy._core.multiarray", "numpy.core.multiarray"), ("_reconstruct", "scalar")),
    **dict.fromkeys(("numpy._core.numeric", "numpy.core.numeric"), ("_frombuffer",)),
    **dict.fromkeys(("numpy.rec", "numpy._core.records", "numpy.core.records"), ("recarray", "record")),
    # The states of its random numbers.
    "numpy.random._pickle": ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"),
    "numpy.random._mt19937": ("MT19937",),
    "numpy.random._pcg64": ("PCG64", "PCG64DXSM"),
    "numpy.random._philox": ("Philox",),
    "numpy.random._sfc64": ("SFC64",),
    "numpy.random.bit_generator": ("SeedSequence", "__pyx_unpickle_SeedSequence"),
}
# Classes that a configuration names, or a state; Lightning had its callbacks as the keys of theirs once.
_OPTIMIZERS = "ASGD Adadelta Adagrad Adam AdamW Adamax LBFGS NAdam RAdam RMSprop Rprop SGD SparseAdam"
TORCH = {
    "torch._C": ("Generator",),
    "torch._utils": ("_rebuild_sparse_tensor", "_rebuild_tensor_v3"),
    "torch.optim": ("Adafactor", "Muon", *_OPTIMIZERS.split()),
    **{f"torch.optim.{name.lower()}": (name,) for name in _OPTIMIZERS.split()},
    "torch.optim.lr_scheduler": (
        *("ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR"),
        *("ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR"),
        *("ReduceLROnPlateau", "SequentialLR", "StepLR"),
    ),
    "torch.serialization": ("_get_layout",),
    "torch.torch_version": ("TorchVersion",),
}
LIGHTNING = {
    f"{package}.{module}": names
    for package in ("lightning.pytorch", "pytorch_lightning")
    for module, names in {
        "callbacks.early_stopping": ("EarlyStopping",),
        "callbacks.lr_monitor": ("LearningRateMonitor",),
        "callbacks.model_checkpoint": ("ModelCheckpoint",),
        "callbacks.stochastic_weight_avg": ("StochasticWeightAveraging",),
        "callbacks.timer": ("Timer",),
        "trainer.states": ("RunningStage", "TrainerFn", "TrainerStatus"),
    }.items()
}
_NODES = "Any Boolean Bytes Enum Float Integer InterpolationResult Path String"
OBJECTS = {
    **NUMPY,
    **TORCH,
    **LIGHTNING,
    "argparse": ("Namespace",),
    # Types that a configuration names as those of its values; containers themselves need no name in a pickle.
    "builtins": (
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "long", "object"),
        *("range", "set", "slice", "str", "tuple", "type", "xrange", "Ellipsis"),
    ),
    "collections": ("ChainMap", "Counter", "UserDict", "UserList", "deque"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "functools": ("partial",),
    "ml_collections.config_dict.config_dict": ("ConfigDict", "FieldReference", "FrozenConfigDict"),
    "omegaconf.base": ("ContainerMetadata", "Metadata", "SCMode", "UnionNode"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": tuple(f"{kind}Node" for kind in _NODES.split()),
    "packaging._structures": ("InfinityType", "NegativeInfinityType"),
    "packaging.version": ("Version", "_Version"),
    "pathlib": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "types": ("SimpleNamespace",),
    "typing": ("Any", "Dict", "List", "Optional", "Tuple", "Union"),
    "uuid": ("UUID",),
}
DICTIONARIES = {
    "addict.addict": ("Dict",),
    "collections": ("defaultdict",),
    "easydict": ("EasyDict",),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning.pytorch.utilities.parsing": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "munch": ("DefaultMunch", "Munch"),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
    "yacs.config": ("CfgNode",),
}

# Dotted names in a pickle: of objects, and of subclasses of `dict`, which are filled after they are made.
HARMLESS_OBJECTS, HARMLESS_DICTIONARIES = (
    frozenset(f"{module}.{name}" for module, names in names_of.items() for name in names)
    for names_of in (OBJECTS, DICTIONARIES)
)

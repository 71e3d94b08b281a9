"""The harmless classes that training programs pickle beside the weights.

A file may hold PyTorch's version as an object of its own class, scores as NumPy's numbers, or the whole configuration
of its run as OmegaConf objects. The weights need none of them, so no such object is ever made: each of these names, and
no other, gives something in its place.
"""

from __future__ import annotations


class StandIn:
    """Takes the place of an object that is not made."""


NUMBERS = ("float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
NUMPY = {
    "numpy": ("bool", "bool_", "bytes_", "dtype", "ndarray", "str_", *NUMBERS),
    # What makes its arrays and numbers; NumPy 1 and 2 name the module differently.
    **dict.fromkeys(("numpy._core.multiarray", "numpy.core.multiarray"), ("_reconstruct", "scalar")),
    "numpy.dtypes": ("BoolDType", *(f"{name.title().replace('Uint', 'UInt')}DType" for name in NUMBERS)),
}
OBJECTS = {
    **NUMPY,
    "argparse": ("Namespace",),
    # Types that a configuration names as those of its values; containers themselves need no name in a pickle.
    "builtins": ("bool", "bytes", "dict", "float", "int", "list", "object", "str", "tuple", "long"),
    "datetime": ("date", "datetime", "timedelta", "timezone"),
    "ml_collections.config_dict.config_dict": ("ConfigDict", "FieldReference", "FrozenConfigDict"),
    "omegaconf.base": ("ContainerMetadata", "Metadata", "SCMode", "UnionNode"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": (
        "AnyNode",
        "BooleanNode",
        "BytesNode",
        "EnumNode",
        "FloatNode",
        "IntegerNode",
        "InterpolationResultNode",
        "PathNode",
        "StringNode",
    ),
    "pathlib": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "torch.torch_version": ("TorchVersion",),
    "typing": ("Any", "Dict", "List", "Optional", "Tuple", "Union"),
}
DICTIONARIES = {
    "collections": ("defaultdict",),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning.pytorch.utilities.parsing": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
}

# Dotted names in a pickle: of objects, and of subclasses of `dict`, which are filled after they are made.
HARMLESS_OBJECTS, HARMLESS_DICTIONARIES = (
    frozenset(f"{module}.{name}" for module, names in names_of.items() for name in names)
    for names_of in (OBJECTS, DICTIONARIES)
)

"""What can go wrong with a registered model: one line each, the offending name or file in it."""


class RegistryError(Exception):
    """Base class of everything the registry raises."""


class ModelNotFound(RegistryError):
    """No such model, alias or version, or the reference cannot be read."""


class RegistryUnreachable(RegistryError):
    """The tracking server or its database does not answer now."""


class ArtifactRefused(RegistryError):
    """The artifact is not a checkpoint that is safe to load."""

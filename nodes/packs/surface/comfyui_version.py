"""The version of the interface that packs meet here."""

__version__ = "0.3.64"

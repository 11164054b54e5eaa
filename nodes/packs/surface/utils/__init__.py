"""Names that packs import from `utils`."""

"""Names that packs import from `app`."""

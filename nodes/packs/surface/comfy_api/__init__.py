"""Names that packs import from `comfy_api`."""

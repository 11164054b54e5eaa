"""Names that packs import from `app.frontend_management`. What they stand for is done by the server itself."""

from nodes.packs.absent_names import names_of

globals().update(names_of("app.frontend_management"))

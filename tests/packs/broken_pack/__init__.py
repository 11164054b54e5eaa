"""A pack that cannot be imported: it wants a name that its host does not have."""

from comfy.utils import a_name_that_nobody_offers

NODE_CLASS_MAPPINGS = {"NeverThere": a_name_that_nobody_offers}

"""The first file of an environment, out of what its application's repository says: facts in, text out."""

from core.first_settings.decision import first_settings
from core.first_settings.document import FirstSettings
from core.first_settings.facts import Asked, Repository

__all__ = ["Asked", "FirstSettings", "Repository", "first_settings"]

"""Is today's data normal? Profiles of spans, what is usual in a project's own history, and what is not."""

from flywheel.profiles.alarms import Finding, examine
from flywheel.profiles.history import Entry, History
from flywheel.profiles.measure import profile_of
from flywheel.profiles.profile import Column, Profile
from flywheel.profiles.settings import Settings

__all__ = ["Column", "Entry", "Finding", "History", "Profile", "Settings", "examine", "profile_of"]

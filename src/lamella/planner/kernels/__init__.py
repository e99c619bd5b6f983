"""Templates: from a group to the loops of one kernel, or of a few.

Read first: `templates.templates_of` (which template serves a group), `nest.Nest`, `rows`.
"""

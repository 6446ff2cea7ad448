"""A run in the formats of other projects, written by their own libraries: optional parts, imported when they are asked for."""

"""From a YAML declaration to the ordered list of trials. Pure."""

"""The chart, rendered by the real helm; one module a template, and one for what runs through all of them."""
